"""How far probabilities can be believed: Brier score, expected calibration error, bins of a reliability diagram."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
import pyarrow as pa

N_BINS = 10


def calibration_table(predictions: pa.Table, protocols: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per variant, over the labelled test predictions of all folds and seeds together.

    `brier` is the mean, over predictions, of the squared distance between the probabilities and the certainty of the
    label, summed over classes: 0 at best, 2 at worst; a label that the model does not know had no probability.
    `confidence` is the probability of the predicted class. `ece`, the expected calibration error, is the mean over
    predictions of how far the share of right ones in their bin is from the mean confidence there. `bins` are ten of
    equal width, each without its lower edge; empty ones are left out.

    Args:
        predictions: the columns of `schema.PREDICTIONS` and `variant`; the dev part may be among them.
        protocols: variant -> anything; its order is that of the rows.

    Source: Brier, Verification of forecasts expressed in terms of probability, 1950; Guo et al., On calibration of
    modern neural networks, 2017, equation 3.
    """
    import pyarrow.compute as pc  # takes as long to import as a plan with nothing to do

    columns = ("variant", "label", "predicted", "classes", "probabilities")
    tested = predictions.filter((pc.field("part") == "test") & pc.field("label").is_valid())
    by_variant: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in tested.select(columns).to_pylist():
        by_variant[row["variant"]].append(row)
    return [_row(name, by_variant[name]) for name in protocols if name in by_variant]


def _row(variant: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    distances, confidences, hits = [], [], []
    for row in rows:
        of_class = dict(zip(row["classes"], row["probabilities"], strict=True))
        distances.append(sum(p * p for p in of_class.values()) - 2 * of_class.get(row["label"], 0.0) + 1)
        confidences.append(of_class[row["predicted"]])
        hits.append(float(row["label"] == row["predicted"]))
    places = np.searchsorted(np.linspace(0, 1, N_BINS + 1)[1:-1], confidences)
    bins = []
    for place in np.unique(places).tolist():
        own = np.flatnonzero(places == place)
        confidence, accuracy = fmean(confidences[i] for i in own), fmean(hits[i] for i in own)
        edges = {"low": place / N_BINS, "high": (place + 1) / N_BINS}
        bins.append(edges | {"n": len(own), "confidence": confidence, "accuracy": accuracy})
    ece = sum(one["n"] * abs(one["accuracy"] - one["confidence"]) for one in bins) / len(rows)
    return {"variant": variant, "n": len(rows), "brier": fmean(distances), "ece": ece, "bins": bins}
