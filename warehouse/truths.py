"""Which truth judges which predictions: truths lie apart from the splits that fits and predictions cite."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from warehouse.artifact import Artifact

if TYPE_CHECKING:
    from warehouse.store import Warehouse


def truths_of(artifacts: Iterable[Artifact], current: Collection[str]) -> dict[str, Artifact]:
    """Key of predictions -> the truth of their split, for those that have one. Predictions made from others, as a mean
    is, have the truth of these.

    A split stays what it was when a test label is corrected, and then has two truths. The one whose labels are those
    of the corpora as last ingested counts; of several, the newest.

    Args:
        artifacts: of the lake, oldest first.
        current: digests of the labels of the corpora as last ingested.
    """
    known = list(artifacts)
    truths = [a for a in known if a.request.kind == "truth"]
    truths.sort(key=lambda a: set(a.request.inputs.get("labels", ())) <= set(current))
    of_split = {a.request.inputs["split"][0]: a for a in truths}  # the last counts
    predictions = [a for a in known if a.request.kind == "predictions"]
    by_digest = {a.digest: a for a in predictions}

    def split_of(one: Artifact) -> str:
        inputs = one.request.inputs
        made_from = [by_digest[digest] for digest in inputs.get("predictions", ()) if digest in by_digest]
        return inputs["split"][0] if "split" in inputs else split_of(made_from[0]) if made_from else ""

    found = ((a.key, of_split.get(split_of(a))) for a in predictions)
    return {key: truth for key, truth in found if truth}


def truth_of(warehouse: Warehouse, predictions: Artifact) -> Artifact | None:
    """The truth that judges some predictions, as `truths_of` chooses it."""
    current = {digest for ref in warehouse.refs("corpora").values() for digest in ref["labels"]}
    return truths_of(warehouse.artifacts(), current).get(predictions.key)


def label_of(
    warehouse: Warehouse, truth: Artifact | None, utterance_id: str
) -> tuple[str | None, list[tuple[str, str, str]]]:
    """The class of an utterance in a truth, and the way to it: (what, key, note) of the truth and of the labels that
    it was made from, as their corpus has them. None and no way where the truth does not have it."""
    own = [("utterance_id", "=", utterance_id)]
    rows = pq.read_table(truth.path("truth.parquet"), filters=own).to_pylist() if truth else []
    if truth is None or not rows:
        return None, []
    way = [("truth", truth.key, f"{utterance_id}: {rows[0]['label']}")]
    rules = truth.request.params.get("rules", {})
    for digest in truth.request.inputs.get("labels", ()):
        for labels in warehouse.with_digest(digest)[:1]:
            told = [
                f"{row['scheme']} {row['value']}"
                for row in pq.read_table(labels.path("labels.parquet"), filters=own).to_pylist()
                if row["rater"] == rules["rater"] and (rules.get("value") or row["scheme"] == rules["scheme"])
            ]
            way += [("labels", labels.key, f"{rules['rater']}: {', '.join(told)}")] * bool(told)
    return rows[0]["label"], way
