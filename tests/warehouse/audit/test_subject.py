"""What references mean, and how those are refused that mean nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.warehouse.small_lake import MAIN, OTHER, SmallLake, small_lake
from warehouse.audit.errors import NoSuchNumber, NoSuchRow, UnknownSubject
from warehouse.audit.subject import Subject, places_of, subject_of
from warehouse.errors import AmbiguousReference, ArtifactNotFound
from warehouse.schema import FILES, METRICS


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    return small_lake(tmp_path / "lake")


def meant(small: SmallLake, reference: str) -> tuple[str, set[str]]:
    """What a reference means, and the names of its artifacts in the small lake."""
    names = {a.key: name for name, a in small.named.items()}
    found = subject_of(small.lake, reference)
    return found.what, {names[a.key] for a in found.artifacts}


def test_an_artifact_by_name_key_digest_and_beginnings(small: SmallLake) -> None:
    voice = small.named["voice main"]
    small.lake.set_ref("reports/small", {"artifact": voice.key})
    for reference in ("reports/small", voice.key, voice.digest, voice.key[:12], voice.digest[:12]):
        assert meant(small, reference) == ("artifact", {"voice main"}), reference


def test_an_utterance_in_every_reading(small: SmallLake) -> None:
    assert meant(small, "u1") == ("utterance", {"utterances main"})
    small.reading("main", [MAIN | {"text": "so it was", "text_id": "t2"}], version=2)
    found = subject_of(small.lake, "u1")
    assert [clip["text"] for clip in found.clips] == ["so it is", "so it was"]
    assert {MAIN["text_id"], "t2", MAIN["audio_id"]} <= found.input_ids
    assert {place["text"] for place in places_of(small.lake, found)} == {"so it is", "so it was"}


def test_a_raw_file_by_path_and_digest(small: SmallLake) -> None:
    sha256 = OTHER["recording_id"]
    for reference in ("wav/v1.wav", "other/wav/v1.wav", sha256, sha256[:12]):
        assert meant(small, reference) == ("file", {"raw other", "utterances other"}), reference
    found = subject_of(small.lake, "wav/v1.wav")
    assert found.utterance_ids == {"v1"}
    assert [(file["corpus"], file["path"]) for file in found.files] == [("other", "wav/v1.wav")]
    with pytest.raises(UnknownSubject):
        subject_of(small.lake, "main/wav/v1.wav")


def test_a_raw_file_by_where_it_lies(small: SmallLake, tmp_path: Path) -> None:
    ref = small.lake.ref("corpora/other") or {}
    small.lake.set_ref("corpora/other", ref | {"root": str(tmp_path / "other corpus")})
    reference = f"{tmp_path}/other corpus/wav/v1.wav"
    assert meant(small, reference) == ("file", {"raw other", "utterances other"})
    assert {place["file"] for place in places_of(small.lake, subject_of(small.lake, reference))} == {reference}
    small.lake.set_ref("corpora/other", ref | {"root": "sound"})
    assert meant(small, str(small.lake.root / "sound" / "wav" / "v1.wav"))[0] == "file"
    for elsewhere in (reference, str(tmp_path / "wav" / "v1.wav"), str(small.lake.root / "sound"), "/"):
        with pytest.raises(UnknownSubject):
            subject_of(small.lake, elsewhere)


def test_a_raw_file_whose_path_has_the_mark_of_a_row(small: SmallLake, tmp_path: Path) -> None:
    small.lake.set_ref("corpora/marked", {"root": str(tmp_path / "take #2")})
    path = "wav/a#1.wav"
    rows: list[dict[str, Any]] = [{"path": path, "n_bytes": 7, "sha256": "ab" * 32}]
    small.rows("raw marked", "raw", "features.raw", {"files": (rows, FILES)}, {}, corpus="marked", unit="all")
    for reference in (path, f"marked/{path}", f"{tmp_path}/take #2/{path}"):
        assert meant(small, reference) == ("file", {"raw marked"}), reference
    for reference in ("wav/a#2.wav", f"{tmp_path}/take #1/{path}"):
        with pytest.raises(ArtifactNotFound, match=reference.partition("#")[0]):
            subject_of(small.lake, reference)


def test_what_is_too_long_for_a_name(small: SmallLake) -> None:
    path = f"wav/{'x' * 300}.wav"
    rows: list[dict[str, Any]] = [{"path": path, "n_bytes": 7, "sha256": "ab" * 32}]
    small.rows("raw long", "raw", "features.raw", {"files": (rows, FILES)}, {}, corpus="long", unit="all")
    assert meant(small, path) == ("file", {"raw long"})
    with pytest.raises(UnknownSubject):
        subject_of(small.lake, "x" * 300)
    for row in (f"{'x' * 300}#u1", f"features/{'x' * 300}#u1", "/etc/passwd#u1"):
        with pytest.raises(ArtifactNotFound):
            subject_of(small.lake, row)


def test_a_file_that_is_no_recording_is_its_record(small: SmallLake) -> None:
    rows: list[dict[str, Any]] = [{"path": "labels.csv", "n_bytes": 7, "sha256": "ab" * 32}]
    small.rows("raw table", "raw", "features.raw", {"files": (rows, FILES)}, {}, corpus="table", unit="all")
    assert meant(small, "table/labels.csv") == meant(small, "ab" * 32) == ("file", {"raw table"})
    [place] = places_of(small.lake, subject_of(small.lake, "labels.csv"))
    assert place == {"file": "table/labels.csv", "where": f"sha256 {'ab' * 32}", "bytes": 7}


def test_a_row_by_utterance_and_by_input(small: SmallLake) -> None:
    key = small.predictions.key[:12]
    assert meant(small, f"{key}#v1") == ("row", {"predictions"})
    for row in ("u1", MAIN["audio_id"]):
        assert meant(small, f"features/voice#{row}") == ("row", {"voice main"})
    found = subject_of(small.lake, f"{small.named['words main'].key}#{MAIN['text_id']}")
    assert found.utterance_ids == {"u1", "v1"}, "they share it"
    for reference in (f"{key}#u77", f"features/voice#{MAIN['text_id']}"):
        with pytest.raises(NoSuchRow, match=r"has no row about '.*': give the id of an utterance or of an input"):
            subject_of(small.lake, reference)


def numbers(small: SmallLake) -> Subject:
    """Metrics with folds, seeds and parts, and the report on them."""
    rows = [
        {"protocol": "p", "variant": "v", "fold": fold, "seed": seed, "part": part, "metric": metric, "value": 0.5,
         "n_utterances": 1, "predictions": small.predictions.digest, "selected_on": "dev"}
        for fold in ("1", "2") for seed in (0, 1) for part in ("dev", "test") for metric in ("uar", "wf1")
    ]  # fmt: skip
    inputs = {"predictions": [small.predictions], "truths": [small.named["truth"]]}
    metrics = small.rows("many", "metrics", "flows.score", {"metrics": (rows, METRICS)}, inputs)
    report = small.make("report", "report", "flows.report", lambda f: (f / "r").touch(), {"metrics": [metrics]})
    small.lake.set_ref("reports/small", {"artifact": report.key, "metrics": metrics.key})
    return subject_of(small.lake, "reports/small#v/1/0/uar")


@pytest.mark.parametrize(
    ("words", "n"),
    [("v/uar", 4), ("v/1/uar", 2), ("v/1/0/uar", 1), ("v/1/0/dev/uar", 1), ("v/1/1/test/wf1", 1)],
)
def test_numbers_of_a_report(small: SmallLake, words: str, n: int) -> None:
    found = numbers(small)
    assert (found.what, {a.key for a in found.artifacts}) == (
        "number", {small.predictions.key, small.named["truth"].key},
    )  # fmt: skip
    assert found.metrics == small.named["many"]
    for named in ("reports/small", small.named["many"].key[:12]):
        rows = subject_of(small.lake, f"{named}#{words}").numbers
        assert len(rows) == n and {row["part"] for row in rows} == {"dev" if "dev" in words else "test"}


@pytest.mark.parametrize("words", ["v/3/uar", "w/uar", "uar", "v/1/0/test/x/uar", "", "v/1/0/UAR"])
def test_numbers_that_are_not_there_are_refused_with_those_that_are(small: SmallLake, words: str) -> None:
    numbers(small)
    sentence = "has no number '.*': write MODEL/FOLD/SEED/METRIC, .*there are: v/1/0/uar, v/1/0/wf1, .* and 2 more"
    with pytest.raises(NoSuchNumber, match=sentence):
        subject_of(small.lake, f"reports/small#{words}")


def test_what_is_nothing_is_refused_with_the_forms_that_there_are(small: SmallLake) -> None:
    sentence = r"name 'u77', and no utterance or raw file .*: give an artifact .*, ARTIFACT#ROW, an utterance id, or"
    with pytest.raises(UnknownSubject, match=sentence):
        subject_of(small.lake, "u77")
    for reference in ("", "' OR 1=1 --", "../../etc/passwd", "wav/%"):
        with pytest.raises(UnknownSubject):
            subject_of(small.lake, reference)
    firsts = [a.key[0] for a in small.lake.artifacts()]
    with pytest.raises(AmbiguousReference):
        subject_of(small.lake, max(set(firsts), key=firsts.count))
    with pytest.raises(ArtifactNotFound):
        subject_of(small.lake, "nothing#u1")
