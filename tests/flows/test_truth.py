"""The truth of a split: the labels of its judged parts, asked for by what the split is asked for by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from flows.protocol import Protocol, split_work
from flows.truth import truth_work
from tests.flows.made import labels, utterance, utterances
from warehouse import Artifact, Request, Warehouse
from warehouse.errors import NoneInPart
from warehouse.schema import SELECTION, SPLIT, TRUTH
from warehouse.tables import read_table, write_rows

PARTS = ("train", "dev", "test")
RULES = Protocol(
    id="p", reader="made", title="t", labels={"hap": "happy", "sad": "sad"}, dev="split = 'dev'", test="split = 'test'"
)  # fmt: skip
NAMES = [f"{part}{n}" for part in PARTS for n in range(3)]


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


def made(lake: Warehouse, test: Sequence[str] = ("hap", "sad", "hap"), **more: Any) -> tuple[Artifact, Artifact]:
    """A split and its truth; the labels of test are given."""
    reading = utterances(lake, [utterance(name, split=name[:-1]) for name in NAMES])
    values = dict.fromkeys(NAMES, "sad") | dict(zip(NAMES[6:], test, strict=True))
    work = split_work(RULES, "all", ["all"], [reading], [labels(lake, values)], **more)
    split = lake.perform(work)
    return split, lake.perform(truth_work(work, split))


def told(truth: Artifact) -> dict[str, str]:
    rows = read_table(truth.path("truth.parquet"), TRUTH).to_pylist()
    return {row["utterance_id"]: row["label"] for row in rows}


def test_what_the_split_hides_the_truth_has(lake: Warehouse) -> None:
    split, truth = made(lake)
    rows = read_table(split.path("split.parquet"), SPLIT).to_pylist()
    assert {row["utterance_id"]: row["label"] for row in rows} == {
        name: None if name.startswith("test") else "sad" for name in NAMES
    }
    dev = dict.fromkeys(("dev0", "dev1", "dev2"), "sad")
    assert told(truth) == dev | {"test0": "happy", "test1": "sad", "test2": "happy"}
    assert truth.request.inputs == dict(split.request.inputs) | {"split": (split.digest,)}
    assert truth.request.params == dict(split.request.params) | {"split_version": split.request.version}


def test_another_order_of_test_labels_is_another_truth_of_the_same_split(lake: Warehouse) -> None:
    (split, truth), (other, corrected) = made(lake), made(lake, ("sad", "hap", "hap"))
    assert split.digest == other.digest and truth.digest != corrected.digest


def test_who_is_left_out_of_the_split_is_in_no_truth(lake: Warehouse) -> None:
    _, truth = made(lake, without=["dev1", "test2"])
    assert told(truth).keys() == {"dev0", "dev2", "test0", "test1"}


def test_where_test_is_dev_too_the_truth_is_of_test_alone(lake: Warehouse) -> None:
    split, truth = made(lake, select_on="test")
    assert split.request.params["select_on"] == "test"
    assert told(truth).keys() == {"test0", "test1", "test2"}
    with pytest.raises(NoneInPart, match=r"protocol 'p' puts none of 6 utterances into test \(fold 'all'\)"):
        made(lake, select_on="test", without=["test0", "test1", "test2"])


def test_the_truth_of_what_a_teacher_chose_is_what_the_teacher_said(lake: Warehouse) -> None:
    rows = [{"utterance_id": name, "label": "calm", "probability": 0.9} for name in NAMES[::2]]
    chosen = lake.materialize(
        Request("selection", "made", 1), lambda folder: write_rows(folder / "selection.parquet", rows, SELECTION)
    )
    split, truth = made(lake, selection=chosen)
    assert told(truth) == {"dev1": "calm", "test0": "calm", "test2": "calm"}
    assert truth.request.inputs["selection"] == split.request.inputs["selection"] == (chosen.digest,)
