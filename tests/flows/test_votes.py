"""Raters' votes for soft labels: whose they are, what they are for, and never for the test part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from features.releases.emotionlines_release import CLASSES
from flows.protocol import Protocol, read_protocol, split_work
from flows.votes import votes_work
from tests.flows.made import utterance, utterances
from warehouse import Artifact, Request, Warehouse
from warehouse.errors import InvalidField
from warehouse.schema import LABELS, VOTES
from warehouse.tables import read_table, write_rows

RULES: dict[str, Any] = {
    "id": "mine", "reader": "made", "title": "t", "labels": {"hap": "happy", "exc": "happy", "sad": "sad"},
    "votes": {"Happiness": "happy", "Excited": "happy", "Sadness": "sad"}, "voters": "E*",
    "test": "split = 'test'", "dev": "split = 'dev'",
}  # fmt: skip


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


def judged(
    lake: Warehouse, judgements: Sequence[tuple[str, str, str]], scheme: str = "emotion", numbers: bool = False
) -> Artifact:
    """Labels (utterance id, rater, value); with numbers the value is one."""
    rows = [
        {"utterance_id": name, "scheme": scheme, "rater": rater, "value": value,
         "number": float(value) if numbers else None}
        for name, rater, value in judgements
    ]  # fmt: skip
    request = Request("labels", "made", 1, {"judged": [list(one) for one in judgements], "scheme": scheme})
    return lake.materialize(request, lambda folder: write_rows(folder / "labels.parquet", rows, LABELS))


def counted(lake: Warehouse, labels: Sequence[Artifact], **changes: Any) -> dict[str, dict[str, int]]:
    """Utterance id -> class -> votes, of three utterances of each part that are all summed up as 'hap'."""
    rows = [utterance(f"{part}{n}", split=part) for part in ("train", "dev", "test") for n in range(3)]
    summary = judged(lake, [(row["utterance_id"], "summary", "hap") for row in rows])
    protocol = Protocol(**RULES | changes)
    split = lake.perform(split_work(protocol, "all", ["all"], [utterances(lake, rows)], [summary, *labels]))
    made = lake.perform(votes_work(protocol, split, [summary, *labels]))
    found: dict[str, dict[str, int]] = {}
    for row in read_table(made.path("votes.parquet"), VOTES).to_pylist():
        found.setdefault(row["utterance_id"], {})[row["label"]] = row["n_votes"]
    return found


def test_each_rater_has_a_vote_for_every_class_named(lake: Warehouse) -> None:
    said = [
        ("train0", "E1", "Happiness"), ("train0", "E2", "Sadness"), ("train0", "E3", "Excited"),
        ("train1", "E1", "Happiness"), ("train1", "E1", "Excited"),  # one class in two words
        ("train2", "E1", "Happiness"), ("train2", "E1", "Sadness"),  # two classes
        ("dev0", "E1", "Frustration"), ("dev0", "E2", "Sadness"),  # one of them no class here
        ("dev1", "E1", "Frustration"),
    ]  # fmt: skip
    assert counted(lake, [judged(lake, said)]) == {
        "train0": {"happy": 2, "sad": 1}, "train1": {"happy": 1}, "train2": {"happy": 1, "sad": 1}, "dev0": {"sad": 1},
    }  # fmt: skip


def test_neither_the_summary_nor_other_raters_nor_the_test_part_have_a_vote(lake: Warehouse) -> None:
    said = [("train0", "E1", "Sadness"), ("train0", "F1", "Happiness"), ("test0", "E1", "Happiness")]
    assert counted(lake, [judged(lake, said)]) == {"train0": {"sad": 1}}
    assert counted(lake, [judged(lake, said)], voters="*") == {"train0": {"happy": 1, "sad": 1}}


def test_other_test_votes_give_the_same_bytes(lake: Warehouse, tmp_path: Path) -> None:
    """So no fit cites anything that depends on them."""
    digests = set()
    for number, value in enumerate(("Happiness", "Sadness")):
        own = Warehouse(tmp_path / str(number), create=True)
        labels = [judged(own, [("train0", "E1", "Sadness"), ("test0", "E1", value)])]
        counted(own, labels)
        digests |= {artifact.digest for artifact in own.artifacts("votes")}
    assert len(digests) == 1


def test_votes_may_be_counted_already(lake: Warehouse) -> None:
    """As EmotionLines has them, whose raters have no names and speak the summary's words."""
    happy = judged(lake, [("train0", "votes", "3"), ("train1", "votes", "0")], "emotion/hap", numbers=True)
    sad = judged(lake, [("train0", "votes", "2"), ("train1", "votes", "5")], "emotion/sad", numbers=True)
    found = counted(lake, [happy, sad], votes={}, voters="*")
    assert found == {"train0": {"happy": 3, "sad": 2}, "train1": {"sad": 5}}
    teacher = read_protocol("teacher5")
    assert set(teacher.votes or teacher.labels) <= set(CLASSES), "the words of EmotionLines' votes"


def test_nobody_voted(lake: Warehouse) -> None:
    sentence = r"protocol 'mine': field 'voters' is 'E\*', but no such rater gave any utterance that is learned from"
    for said in ([], [("test0", "E1", "Happiness")], [("train0", "E1", "Frustration")]):
        with pytest.raises(InvalidField, match=sentence):
            counted(lake, [judged(lake, said)])
    assert lake.artifacts("votes") == []


@pytest.mark.parametrize(
    "name", ["iemocap4-loso5", "iemocap4-speaker10", "iemocap4-cmd-a", "iemocap4-cmd-b", "sandbox4-loso5"]
)
def test_the_words_of_iemocaps_raters_have_the_classes_of_its_summaries(name: str) -> None:
    """A rater's word begins with the summary's code: 'Neutral state' and 'neu'."""
    protocol = read_protocol(name)
    codes: Mapping[str, str] = protocol.labels
    assert {word[:3].lower(): label for word, label in protocol.votes.items()} == codes
    assert protocol.voters == "E*"
