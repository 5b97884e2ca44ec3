"""IEMOCAP at its true size, from end to end: the check, the reader, the classes and folds of the papers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from features.corpora.iemocap import Iemocap
from features.plugin import RawFile
from features.releases.iemocap_counts import NO_ALIGNMENT, SESSIONS
from features.sandbox import full_iemocap
from warehouse.errors import Untreatable
from warehouse.hashing import digest, file_digest

pytestmark = pytest.mark.slow  # `test_iemocap` and `releases/test_iemocap_check` ask the same of the miniature

FOUR = {"neu": "neutral", "hap": "happy", "exc": "happy", "ang": "angry", "sad": "sad"}
CMD = {"a": FOUR | {"fru": "angry", "sur": "happy"}, "b": FOUR | {"fru": "sad", "sur": "happy"}}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("full") / "IEMOCAP_full_release"
    full_iemocap.write(root)
    return root


@pytest.fixture(scope="module")
def files(root: Path) -> dict[str, dict[str, RawFile]]:
    """Only sounds are hashed for real: 30,000 alignments need no digest here."""
    return {
        unit: {
            path: RawFile(path, 0, file_digest(root / path) if path.endswith(".wav") else digest(path))
            for path in paths
        }
        for unit, paths in Iemocap().units(root).items()
    }  # fmt: skip


@pytest.fixture(scope="module")
def utterances(root: Path, files: dict[str, dict[str, RawFile]]) -> list[dict[str, Any]]:
    """Every utterance with the emotion of its summary."""
    found = []
    for unit, own in files.items():
        rows = Iemocap().read(root, unit, own, "iemocap")
        assert not rows.failures
        emotions = {
            row["utterance_id"]: row["value"]
            for row in rows.labels if (row["scheme"], row["rater"]) == ("emotion", "summary")
        }  # fmt: skip
        found += [row | {"emotion": emotions[row["utterance_id"]]} for row in rows.utterances]
    return found


def test_the_strict_check_finds_nothing_but_the_two_known_absences(root: Path) -> None:
    findings = Iemocap().check(root)
    assert [count for count in findings.counts if count.difference or count.expected is None] == []
    assert findings.is_clean
    assert {a.where.rpartition("/")[2] for a in findings.anomalies} == NO_ALIGNMENT
    assert {a.name for a in findings.anomalies} == {"missing_alignment"}


def test_every_utterance_is_read(utterances: list[dict[str, Any]]) -> None:
    assert len(utterances) == 10_039
    assert len({row["recording_id"] for row in utterances}) == 10_039
    assert len({row["speaker_id"] for row in utterances}) == 10
    assert len({row["dialogue_id"] for row in utterances}) == 151
    for dialogue in {row["dialogue_id"] for row in utterances}:
        own = sorted(row["turn"] for row in utterances if row["dialogue_id"] == dialogue)
        assert own == list(range(len(own)))


def test_the_four_classes_and_their_folds(utterances: list[dict[str, Any]]) -> None:
    own = [row for row in utterances if row["emotion"] in FOUR]
    assert Counter(FOUR[row["emotion"]] for row in own) == {"neutral": 1708, "happy": 1636, "angry": 1103, "sad": 1084}
    per_session = Counter(row["session"] for row in own)
    assert [per_session[str(number)] for number in SESSIONS] == [1085, 1023, 1151, 1031, 1241]
    assert [len(own) - per_session[str(number)] for number in SESSIONS] == [4446, 4508, 4380, 4500, 4290]
    assert Counter(row["speaker_id"] for row in own) == {
        "Ses01F": 528, "Ses01M": 557, "Ses02F": 481, "Ses02M": 542, "Ses03F": 522, "Ses03M": 629,
        "Ses04F": 528, "Ses04M": 503, "Ses05F": 590, "Ses05M": 651,
    }  # fmt: skip
    assert sum(row["attributes"]["marker_wearer"] != row["speaker_id"][-1] for row in own) == 2750
    assert sum(row["text"] == "" for row in own) == 29


@pytest.mark.parametrize(("reading", "angry", "sad"), [("a", 2952, 1084), ("b", 1103, 2933)])
def test_both_readings_of_cmd(reading: str, angry: int, sad: int, utterances: list[dict[str, Any]]) -> None:
    found = Counter(CMD[reading][row["emotion"]] for row in utterances if row["emotion"] in CMD[reading])
    assert found == {"neutral": 1708, "happy": 1743, "angry": angry, "sad": sad}
    assert found.total() == 7487


def test_every_alignment_but_two_is_read(root: Path, files: dict[str, dict[str, RawFile]]) -> None:
    found = [pair for unit, own in files.items() for pair in Iemocap().intervals(root, unit, own, "iemocap")]
    assert len(found) == 10_039
    refused = {name.removeprefix("iemocap-"): str(why) for name, why in found if isinstance(why, Untreatable)}
    assert refused == dict.fromkeys(NO_ALIGNMENT, "there is no wdseg, phseg, syseg of this name")
