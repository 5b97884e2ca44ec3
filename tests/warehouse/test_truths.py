"""Which truth judges which predictions, where a corrected label has left two for one split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.warehouse.small_lake import SmallLake, small_lake
from warehouse import Artifact
from warehouse.schema import PREDICTIONS, TRUTH
from warehouse.truths import label_of, truth_of, truths_of


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    return small_lake(tmp_path / "small")


def corrected(small: SmallLake, labels: Sequence[Artifact]) -> Artifact:
    """Another truth of the same split, which says that u1 is sad."""
    rows = [{"utterance_id": "u1", "part": "test", "label": "sad"}]
    inputs = {"split": [small.named["split"]], "labels": labels}
    rules = {"scheme": "emotion", "rater": "summary"}
    return small.rows("corrected", "truth", "flows.truth", {"truth": (rows, TRUTH)}, inputs, rules=rules)


def test_the_truth_of_current_labels_counts_and_of_those_the_newest(small: SmallLake) -> None:
    assert truth_of(small.lake, small.predictions) == small.named["truth"]
    gone = corrected(small, [small.utterances])  # of labels that no corpus points at
    assert truth_of(small.lake, small.predictions) == small.named["truth"]
    everything = {a.digest for a in small.lake.artifacts()}
    assert truths_of(small.lake.artifacts(), everything)[small.predictions.key] == gone
    assert truths_of(small.lake.artifacts(), set())[small.predictions.key] == gone
    newer = corrected(small, [small.named["labels main"]])
    assert truth_of(small.lake, small.predictions) == newer


def test_predictions_made_from_others_have_the_truth_of_these(small: SmallLake) -> None:
    row = {
        "utterance_id": "u1", "part": "test", "predicted": "sad", "classes": ["happy", "sad"],
        "probabilities": [0.4, 0.6],
    }  # fmt: skip
    tables = {"predictions": ([row], PREDICTIONS)}
    mean = small.rows("mean", "predictions", "flows.average", tables, {"predictions": [small.predictions]})
    alone = small.rows("alone", "predictions", "made", tables, {})
    assert truth_of(small.lake, mean) == small.named["truth"] and truth_of(small.lake, alone) is None


def test_a_label_is_followed_to_what_its_corpus_says(small: SmallLake) -> None:
    truth = small.named["truth"]
    label, way = label_of(small.lake, truth, "u1")
    assert label == "happy"
    assert way == [
        ("truth", truth.key, "u1: happy"), ("labels", small.named["labels main"].key, "summary: emotion happy")
    ]  # fmt: skip
    assert label_of(small.lake, truth, "v1") == label_of(small.lake, None, "u1") == (None, [])
