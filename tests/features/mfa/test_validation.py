"""What MFA's validator really wrote (version 3.4.3), and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.mfa import invocation
from features.mfa.lexicon import read_lexicon
from features.mfa.staging import Stage, write_stage
from features.mfa.validation import read_findings, validate
from features.plugin import RATE_HZ, Clip
from tests.features.mfa.stand_in import write_stand_in

REPORTS = ("utf8_read_errors.csv", "missing_transcriptions.csv", "missing_features.csv", "utterance_oovs.txt")


def test_the_real_reports_name_every_clip_and_its_trouble(real: Path) -> None:
    assert read_findings(real / "mfa" / "failures" / "validate_oovs") == {
        "latin1": "MFA cannot decode its transcript",
        "nolab": "MFA finds no transcript of it",
        "zero_samples": "MFA gets no features from it",
        "short10ms": "MFA gets no features from it",
        "short50ms": "MFA gets no features from it",
        "brackets": "out of MFA's vocabulary: '<noise>', '[laugh]'",
        "oov": "out of MFA's vocabulary: 'zorblattish'",
        "number": "out of MFA's vocabulary: '1st', '2'",
    }


def test_find_oovs_says_the_same_of_words(real: Path) -> None:
    found = read_findings(real / "mfa" / "failures" / "find_oovs")
    whole = read_findings(real / "mfa" / "failures" / "validate_oovs")
    assert found.items() <= whole.items() and set(found) == {"brackets", "oov", "number"}


def test_without_reports_nothing_is_found(tmp_path: Path) -> None:
    assert read_findings(tmp_path) == {}


@given(st.sampled_from(REPORTS), st.text())
def test_any_report_is_read(tmp_path_factory: pytest.TempPathFactory, file: str, text: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "reports"  # all below it is looked at
    folder.mkdir(exist_ok=True)
    (folder / file).write_text(text, encoding="utf-8", errors="replace", newline="")
    found = read_findings(folder)
    assert all(isinstance(name, str) and finding for name, finding in found.items())
    (folder / file).unlink()


@pytest.mark.parametrize(("plan", "expected"), [
    ({}, {"u000001": "MFA gets no features from it"}),
    ({"validates_with": 1}, {"u000001": "MFA gets no features from it"}),
    ({"reports": {}}, {}),
])  # fmt: skip
def test_the_validator_is_called_as_it_is_known_to_run(
    tmp_path: Path, plan: dict[str, object], expected: dict[str, str]
) -> None:
    stand_in = write_stand_in(tmp_path / "stand_in", ["hello", "old"])
    stand_in.plan(**{"reports": {"missing_features.csv": {"old": "NAME,0.0,0.05"}}} | plan)
    stage = Stage(tmp_path / "stage")
    clips = [Clip(text, np.zeros(RATE_HZ, np.float32), text) for text in ("hello", "old")]
    write_stage(stage, clips, read_lexicon(stand_in.dictionary))
    assert validate(stand_in.command, stage, 20) == expected
    (call,) = stand_in.calls()
    told = ["validate", str(stage.corpus), str(stage.dictionary), "--ignore_acoustics", "--clean", "-q"]
    assert call["arguments"] == told and call["root"] == str(stage.root)


def test_a_validator_that_hangs_finds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invocation, "PATIENCE_S", 0.2)
    command = tmp_path / "mfa"
    command.write_text("#!/bin/sh\nsleep 60\n")
    command.chmod(0o755)
    stage = Stage(tmp_path / "stage")
    stage.root.mkdir(parents=True)
    assert validate(command, stage, 0.3) == {}
