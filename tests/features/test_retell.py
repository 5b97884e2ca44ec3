from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile

from features.extract import feature_schema
from features.extractors.mfcc import Mfcc
from features.extractors.waveform import Waveform
from features.inventory import input_id, row_identity
from features.plugin import FeatureSpec
from features.retell import (
    Answers,
    is_text,
    is_wave,
    label_works,
    own_id,
    retold_row,
    sound_works,
    text_works,
    wave_works,
)
from features.rows import failure_row
from tests.flows.made import labels, utterance, utterances
from warehouse import Artifact, Request, Warehouse
from warehouse.schema import FAILURES, FILES, LABELS, UTTERANCES, audio_id, text_id
from warehouse.tables import array_cells, read_table, write_rows

STEP = "extractors.made"


@dataclasses.dataclass(frozen=True)
class Made:
    version: ClassVar[int] = 1
    needs: str = "audio"


TEXT = FeatureSpec("token", ("byte", "dim"), 1, "uint8")
WAVE = FeatureSpec("sample", ("sample",), 1, "float32", hop_s=1 / 16_000)


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


def answered(
    lake: Warehouse, arrays: Mapping[str, np.ndarray], spec: FeatureSpec, failed: Mapping[str, str] | None = None,
    attempt: int = 0, needs: str = "audio",
) -> Artifact:  # fmt: skip
    """An artifact with these rows of output 'own', and failures: input id -> reason."""
    params = {"plugin": row_identity(STEP, Made(needs)), "ids": [*arrays], "attempt": attempt}
    request = Request("features", STEP, 1, params)

    def write(folder: Path) -> None:
        rows = [{"input_id": name} | array_cells("own", array) for name, array in arrays.items()]
        write_rows(folder / "features.parquet", rows, feature_schema({"own": spec}))
        lost = [failure_row(STEP, "x", reason, name) for name, reason in (failed or {}).items()]
        write_rows(folder / "failures.parquet", lost, FAILURES)

    return lake.materialize(request, write)


def as_bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8).reshape(-1, 1)


def unit(lake: Warehouse, *rows: dict[str, Any], name: str = "u") -> tuple[Artifact, Artifact]:
    """A unit's record of raw files and its utterances."""
    files = [{"path": row["path"], "n_bytes": 1, "sha256": row["recording_id"]} for row in rows]
    request = Request("raw", "made", 1, {"unit": name})
    recorded = lake.materialize(request, lambda f: write_rows(f / "files.parquet", files, FILES))
    return recorded, utterances(lake, rows, name)


def spoken(name: str, **columns: Any) -> dict[str, Any]:
    return utterance(f"here-{name}", corpus="here", attributes={"scene": "1"}, **columns)


def read(artifact: Artifact, kind: str = "utterances") -> list[dict[str, Any]]:
    schema = {"utterances": UTTERANCES, "failures": FAILURES, "labels": LABELS, "files": FILES}[kind]
    return read_table(artifact.path(f"{kind}.parquet"), schema).to_pylist()


def test_everything_else_is_as_in_the_source() -> None:
    row = spoken("a-b", speaker_id="ann", session="3", turn=7)
    told = retold_row(row, "there", {"voice": "x"}, text="new")
    assert told == row | {
        "utterance_id": "there-a-b", "corpus": "there", "text": "new",
        "attributes": {"scene": "1", "source": "here-a-b", "voice": "x"},
    }  # fmt: skip
    again = retold_row(told, "anywhere", {})
    assert again["utterance_id"] == "anywhere-a-b" and again["attributes"]["source"] == "there-a-b"
    assert own_id(again["utterance_id"], "anywhere") == own_id("here-a-b", "here") == "a-b"


def test_what_is_text_and_what_is_a_wave() -> None:
    assert is_text(TEXT) and not is_wave(TEXT)
    exact = Waveform("float32").outputs()["wave"]
    assert is_wave(exact) and not is_text(exact)
    for other in (Waveform().outputs(), Mfcc().outputs()):
        assert not any(is_text(spec) or is_wave(spec) for spec in other.values())


def test_words_are_those_of_the_rows_and_what_has_none_says_why(lake: Warehouse) -> None:
    rows = [spoken(name) for name in ("heard", "hushed", "failed", "odd", "lost")]
    rows.append(spoken("silent", audio_id="", start_s=0.0, end_s=0.0))
    heard, hushed, failed, odd, lost, _ = (row["audio_id"] for row in rows)
    broken = np.array([[0xFF]], np.uint8)
    made = [
        answered(lake, {heard: as_bytes("  E\u0302tre  là\n"), odd: broken, "another": as_bytes("no")}, TEXT),
        answered(lake, {hushed: as_bytes("")}, TEXT, {failed: "the clip is empty"}),
    ]
    own = unit(lake, *rows)
    [work] = text_works("told", {"u": own}, Answers(STEP, Made(), "own", made), "fr")
    artifact = lake.perform(work)
    found = {row["utterance_id"]: row for row in read(artifact)}
    assert {name: (row["text"], row["verbatim"], row["text_id"]) for name, row in found.items()} == {
        "told-heard": ("Être là", "Être là", text_id("Être là")), "told-hushed": ("", "", text_id("")),
    }  # fmt: skip
    assert {row["language"] for row in found.values()} == {"fr"}
    failures = {row["utterance_id"]: (row["reason"], row["input_id"]) for row in read(artifact, "failures")}
    assert failures.pop("here-odd")[0].startswith("its text for 'told' is not UTF-8: 'utf-8' codec can't decode")
    assert failures == {
        "here-failed": ("it could not be told again for 'told': the clip is empty", failed),
        "here-lost": ("it could not be told again for 'told': nothing came of it", lost),
        "here-silent": ("it could not be told again for 'told': it has no sound", ""),
    }
    assert artifact.request.inputs == {
        "raw": (own[0].digest,), "source": (own[1].digest,), "features": tuple(sorted(a.digest for a in made)),
    }  # fmt: skip


def test_without_a_language_it_is_the_sources(lake: Warehouse) -> None:
    row = spoken("a", language="en")
    made = [answered(lake, {input_id(row, "text"): as_bytes("ja")}, TEXT, needs="text")]
    [work] = text_works("told", {"u": unit(lake, row)}, Answers(STEP, Made("text"), "own", made))
    [told] = read(lake.perform(work))
    assert (told["language"], told["text"]) == ("en", "ja")


def test_an_attempt_that_succeeded_is_no_failure_any_more(lake: Warehouse) -> None:
    row = spoken("a")
    first = answered(lake, {}, TEXT, {row["audio_id"]: "out of memory"})
    second = answered(lake, {row["audio_id"]: as_bytes("yes")}, TEXT, attempt=1)
    [work] = text_works("told", {"u": unit(lake, row)}, Answers(STEP, Made(), "own", [first, second]))
    artifact = lake.perform(work)
    assert [told["text"] for told in read(artifact)] == ["yes"] and read(artifact, "failures") == []


def test_a_unit_is_told_again_when_it_changes_and_no_other_with_it(lake: Warehouse) -> None:
    """The keys say so: a unit cites its own utterances, and of the rows those that it needs."""
    rows = {name: spoken(name) for name in "abc"}
    made = {name: answered(lake, {row["audio_id"]: as_bytes(name)}, TEXT) for name, row in rows.items()}

    def keys(units: Mapping[str, tuple[str, ...]], *artifacts: Artifact) -> dict[str, str]:
        own = {name: unit(lake, *(rows[one] for one in members), name=name) for name, members in units.items()}
        works = text_works("told", own, Answers(STEP, Made(), "own", artifacts))
        return {work.request.params["unit"]: work.request.key for work in works}

    before = keys({"one": ("a",), "two": ("b",)}, made["a"], made["b"])
    after = keys({"one": ("a",), "two": ("b",), "three": ("c",)}, *made.values())
    assert {name: after[name] for name in before} == before


def sound(lake: Warehouse) -> tuple[Answers, dict[str, tuple[Artifact, Artifact]], dict[str, np.ndarray]]:
    """Two utterances of the same sound, one of another, one whose wave has nothing in it."""
    rows = [spoken("a"), spoken("b"), spoken("c"), spoken("d")]
    rows[1]["audio_id"] = rows[0]["audio_id"]
    rng = np.random.default_rng(0)
    waves = {
        rows[0]["audio_id"]: rng.normal(0, 1, 1_601).astype(np.float32),
        rows[2]["audio_id"]: rng.normal(0, 0.1, 8_000).astype(np.float32),
        rows[3]["audio_id"]: np.zeros(0, np.float32),
    }
    return Answers(STEP, Made(), "own", [answered(lake, waves, WAVE)]), {"u": unit(lake, *rows)}, waves


def test_sound_becomes_files_that_hold_it_to_the_bit(lake: Warehouse) -> None:
    answers, units, waves = sound(lake)
    recorded = {"u": lake.perform(wave_works("told", units, answers)["u"])}
    [work] = sound_works("told", units, answers, recorded)
    artifact = lake.perform(work)
    source = {row["utterance_id"]: row for row in read(units["u"][1])}
    found = read(artifact)
    assert [row["utterance_id"] for row in found] == ["told-a", "told-b", "told-c"]
    files = {file["path"]: file for file in read(recorded["u"], "files")}
    for row in found:
        wave = waves[source[dict(row["attributes"])["source"]]["audio_id"]]
        path = lake.root / "artifacts" / row["path"]
        assert soundfile.read(path, dtype="float32")[0].tobytes() == wave.tobytes()
        assert (row["start_s"], row["end_s"], row["channel"]) == (0.0, len(wave) / 16_000, "mix")
        assert files[row["path"]] == {
            "path": row["path"], "n_bytes": path.stat().st_size, "sha256": row["recording_id"]
        }  # fmt: skip
        assert row["audio_id"] == audio_id(row["recording_id"], 0.0, row["end_s"], "mix")
        assert row["text"] == source[dict(row["attributes"])["source"]]["text"]
    assert found[0]["audio_id"] == found[1]["audio_id"] != found[2]["audio_id"]
    reasons = [(row["utterance_id"], row["reason"]) for row in read(artifact, "failures")]
    assert reasons == [("here-d", "it could not be told again for 'told': nothing came of it")]
    assert artifact.request.inputs["raw"] == (recorded["u"].digest,)


def test_the_same_sound_gives_the_same_bytes_in_another_lake(lake: Warehouse, tmp_path: Path) -> None:
    digests = set()
    for own in (lake, Warehouse(tmp_path / "other", create=True)):
        answers, units, _ = sound(own)
        recorded = {"u": own.perform(wave_works("told", units, answers)["u"])}
        made = own.perform(sound_works("told", units, answers, recorded)[0])
        digests.add((recorded["u"].digest, made.digest))
    assert len(digests) == 1


def test_labels_are_those_of_what_is_told(lake: Warehouse) -> None:
    rows = [retold_row(spoken(name), "told", {}) for name in "ab"]
    own = utterances(lake, rows), labels(lake, {"here-a": "calm", "here-b": "loud", "here-c": "loud"})
    [work] = label_works("told", {"u": own})
    found = {(row["utterance_id"], row["value"], row["rater"]) for row in read(lake.perform(work), "labels")}
    assert found == {("told-a", "calm", "summary"), ("told-b", "loud", "summary")}
