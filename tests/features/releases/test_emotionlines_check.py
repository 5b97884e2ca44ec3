"""The strict check of EmotionLines on a tree of the published size, and every trap."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from features.check import Findings
from features.corpora.emotionlines import EmotionLines
from features.releases.emotionlines_check import ANOMALIES, PUBLISHED
from features.sandbox import emotionlines
from features.sandbox.traps.emotionlines import TRAPS

PROBLEMS = {
    "missing_part": "'friends.dev.json' is not there (looked 3 folders deep)",
    "joint_file": "it joins the three splits, so it holds MELD's test text: it is not read",
    "misnamed_file": "its name is not UTF-8: rename it",
    "malformed_file": "it is no JSON (Unterminated string",
    "malformed_row": "it has not the texts speaker, utterance, emotion, annotation",
    "empty_dialogue": "it has no utterance",
    "unknown_emotion": "its emotion is the unknown 'happy'",
    "malformed_votes": "its votes '50000' are not one digit for each of 7 classes",
    "votes_sum": "its votes are 6, not 5",
    "majority_differs": "it is 'fear', but its votes say 'neutral'",
    "mojibake": "1 utterances have Windows-1252 signs as control characters",
    "broken_text": "its text holds the character U+0081",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("emotionlines") / emotionlines.FOLDER
    emotionlines.write(root)
    return root


def test_a_tree_of_the_published_size_is_clean(root: Path) -> None:
    findings = EmotionLines().check(root)
    assert [count for count in findings.counts if count.difference or count.expected is None] == []
    assert findings.anomalies == [] and findings.is_clean
    assert json.loads(json.dumps(findings.as_json()))["clean"] is True
    emotions = [n for what, n in PUBLISHED.items() if "utterances" not in what and "dialogues" not in what]
    assert sum(emotions) == PUBLISHED["utterances"] == 14_503


def test_the_counts_are_those_of_the_public_list(real: Path) -> None:
    listed = json.loads((real / "expected_counts.json").read_text())["emotionlines_friends"]
    by_split = {f"{what}, {split}": n for what in ("utterances", "dialogues") for split, n in listed[what].items()}
    assert {"utterances": sum(listed["utterances"].values()), **by_split, **listed["emotion_total"]} == PUBLISHED


TOLD_ONLY = {"mojibake", "misnamed_file"}
"""What every published file has, and what nobody reads."""


@pytest.mark.parametrize("name", TRAPS)
def test_a_planted_trap_is_found_and_nothing_else(name: str, root: Path, tmp_path: Path) -> None:
    tree = Path(shutil.copytree(root, tmp_path / "EmotionLines"))
    TRAPS[name](tree)
    findings: Findings = EmotionLines().check(tree)
    (anomaly,) = findings.anomalies
    assert anomaly.name == name and PROBLEMS[name] in anomaly.problem
    assert anomaly.known == (name in TOLD_ONLY)
    assert findings.is_clean == (name in TOLD_ONLY)
    assert str(tree) not in repr(findings)


def test_every_anomaly_has_its_trap() -> None:
    assert TRAPS.keys() == ANOMALIES.keys() == PROBLEMS.keys()
