"""A sound table has its counts told; each thing that can be wrong with one is found alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from features.corpora.table import Table
from features.releases.table_check import ANOMALIES

ROWS = "path,text,speaker,label,from_s\n0.wav,well,a,calm,0\n1.wav,no,b,loud,0.5\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(2):
        soundfile.write(tmp_path / f"{number}.wav", np.full(16_000, 0.1, np.float32), 16_000)
    (tmp_path / "clips.csv").write_text(ROWS, encoding="utf-8")
    return tmp_path


READER = Table(file="clips.csv", start_s="from_s")


def test_a_sound_table_is_counted(root: Path) -> None:
    findings = READER.check(root)
    assert findings.is_clean and findings.anomalies == []
    assert {count.what: count.found for count in findings.counts} == {
        "utterances": 2, "rows that cannot be treated": 0, "recordings": 2, "speakers": 2, "minutes": 0,
        "label 'calm'": 1, "label 'loud'": 1,
    }  # fmt: skip
    assert not READER.check(root, {"utterances": 3}).is_clean


def _changed(old: str, new: str) -> Callable[[Path], None]:
    return lambda root: (root / "clips.csv").write_text(ROWS.replace(old, new), encoding="utf-8") and None


def _unnameable(root: Path) -> None:
    open(os.path.join(os.fsencode(root), b"b\xf6se.wav"), "wb").close()


TRAPS: list[tuple[str, Callable[[Path], None], str]] = [
    ("malformed_table", lambda root: (root / "clips.csv").unlink(), "the table 'clips.csv' is not at"),
    ("malformed_table", _changed("speaker", "who"), "row 1 has no column 'speaker'"),
    ("untreatable_row", lambda root: (root / "1.wav").unlink(), "there is no file 1.wav"),
    ("untreatable_row", lambda root: (root / "1.wav").write_bytes(b"RIFF") and None, "1.wav cannot be decoded"),
    ("untreatable_row", _changed("loud,0.5", "loud,7"), "the span [7.0, 1.0] s is empty"),
    ("misnamed_file", _unnameable, "its name is not UTF-8: rename it"),
    ("no_speaker", _changed("no,b", "no,"), "1 of 2 utterances have no speaker"),
    ("no_label", _changed("loud", ""), "1 of 2 utterances have no label"),
    ("no_text", _changed("well", ""), "1 of 2 utterances have no text"),
]


@pytest.mark.parametrize(("name", "plant", "problem"), TRAPS, ids=[problem for _, _, problem in TRAPS])
def test_each_trap_is_found_alone(root: Path, name: str, plant: Callable[[Path], None], problem: str) -> None:
    plant(root)
    findings = READER.check(root)
    (anomaly,) = findings.anomalies
    assert anomaly.name == name and problem in anomaly.problem
    assert findings.is_clean == anomaly.known == (name.startswith("no_") or name == "misnamed_file")


def test_every_name_has_a_trap_and_columns_that_are_not_there_are_not_missed(root: Path) -> None:
    assert {name for name, _, _ in TRAPS} == ANOMALIES.keys()
    (root / "clips.csv").write_text("path\n0.wav\n", encoding="utf-8")
    assert Table(file="clips.csv", text="", speaker="", label="").check(root).anomalies == []
