"""The names of a score. Everything is computed from the confusion matrix, for one set of predictions or a thousand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from warehouse.errors import UnknownName


def scores(labels: Sequence[str], predicted: Sequence[str], classes: Sequence[str]) -> dict[str, float]:
    """Every metric of a set of predictions.

    `accuracy`; `uar`, the mean recall over the classes that occur among the labels; `wf1`, the mean F1 weighted by
    the number of labels; `macro_f1`, the mean F1 over the classes that occur among labels or predictions;
    `f1/<class>`; `ovr_weighted_f1/<class>`, the F1 of {class, rest} weighted by the number of labels, which is about
    the share of the rest for a classifier that never predicts the class. A quotient of nothing by nothing is 0.

    Args:
        labels, predicted: one per utterance, at least one, each among the classes.

    Raises:
        UnknownName: a label or a prediction is not among the classes.

    Example:
        >>> result = scores(["a", "a", "b"], ["a", "b", "b"], ["a", "b"])
        >>> result["uar"], round(result["f1/a"], 3)
        (0.75, 0.667)
    """
    matrix = _confusion(labels, predicted, classes)
    return {name: float(value) for name, value in from_confusions(matrix, classes).items()}


def bootstrap_interval(
    labels: Sequence[str], predicted: Sequence[str], metric: str, n: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """The 95 % interval of a metric over utterances drawn with replacement, by percentiles.

    Drawing utterances and counting their confusions is drawing the counts from a multinomial: that is what is done.

    Args:
        metric: a name of `scores`; the classes are those that occur.

    Raises:
        UnknownName: no such metric.
    """
    classes = sorted({*labels, *predicted})
    matrix = _confusion(labels, predicted, classes)
    draws = np.random.default_rng(seed).multinomial(len(labels), matrix.ravel() / len(labels), size=n)
    values = from_confusions(draws.reshape(n, *matrix.shape), classes)
    if metric not in values:
        raise UnknownName("metric", metric, values)
    low, high = np.percentile(values[metric], [2.5, 97.5])
    return float(low), float(high)


def _confusion(labels: Sequence[str], predicted: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """[n_classes, n_classes]: labels down, predictions across."""
    for name in (*labels, *predicted):
        if name not in classes:
            raise UnknownName("class", name, classes)
    position = {name: i for i, name in enumerate(classes)}
    matrix = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for label, prediction in zip(labels, predicted, strict=True):
        matrix[position[label], position[prediction]] += 1
    return matrix


def from_confusions(matrix: NDArray, classes: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """The metrics of confusion matrices [..., n_classes, n_classes], labels down and predictions across: each [...]."""
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    n_labels, n_predicted = matrix.sum(-1), matrix.sum(-2)
    n = n_labels.sum(-1)
    f1 = _ratio(2 * hits, n_labels + n_predicted)
    rest_hits = n[..., None] - n_labels - n_predicted + hits
    rest_f1 = _ratio(2 * rest_hits, 2 * n[..., None] - n_labels - n_predicted)
    one_versus_rest = _ratio(f1 * n_labels + rest_f1 * (n[..., None] - n_labels), n[..., None])
    found = {
        "accuracy": _ratio(hits.sum(-1), n),
        "uar": _ratio(_ratio(hits, n_labels).sum(-1), (n_labels > 0).sum(-1)),
        "wf1": _ratio((f1 * n_labels).sum(-1), n),
        "macro_f1": _ratio(f1.sum(-1), (n_labels + n_predicted > 0).sum(-1)),
    }
    found |= {f"f1/{name}": f1[..., i] for i, name in enumerate(classes)}
    return found | {f"ovr_weighted_f1/{name}": one_versus_rest[..., i] for i, name in enumerate(classes)}


def _ratio(above: NDArray, below: NDArray) -> NDArray[np.float64]:
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.zeros(below.shape), where=below > 0)
