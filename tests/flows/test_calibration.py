"""Calibration against scikit-learn, and where it is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from flows.calibration import N_BINS, calibration_table
from tests.flows.reported import CLASSES, prediction

Row = dict[str, Any]


def said(number: int, label: str | None, probabilities: list[float]) -> Row:
    row = prediction("m", "A", 0, number, label, CLASSES[int(np.argmax(probabilities))])
    return row | {"probabilities": probabilities}


def calibration(rows: list[Row]) -> Row:
    (found,) = calibration_table(pa.Table.from_pylist(rows), {"m": None})
    return found


def by_chance(seed: int, n: int, sharpness: float = 2.0) -> list[Row]:
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.normal(size=(n, 3))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return [said(i, CLASSES[rng.integers(3)], row.tolist()) for i, row in enumerate(shares)]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(12, 200))
def test_brier_and_bins_are_those_of_scikit_learn(seed: int, n: int) -> None:
    rows = by_chance(seed, n)
    found = calibration(rows)
    probabilities = np.array([row["probabilities"] for row in rows])
    labels = [row["label"] for row in rows]
    expected = brier_score_loss(labels, probabilities, labels=CLASSES, scale_by_half=False)
    assert found["brier"] == pytest.approx(expected)
    right = np.array([row["label"] == row["predicted"] for row in rows])
    accuracy, confidence = calibration_curve(right, probabilities.max(1), n_bins=N_BINS)
    assert [one["accuracy"] for one in found["bins"]] == pytest.approx(accuracy.tolist())
    assert [one["confidence"] for one in found["bins"]] == pytest.approx(confidence.tolist())
    assert sum(one["n"] for one in found["bins"]) == found["n"] == n
    assert all(one["low"] < one["confidence"] <= one["high"] for one in found["bins"])


def test_who_is_as_often_right_as_sure_has_no_calibration_error() -> None:
    rows: list[Row] = []
    for confidence, n_right in ((0.5, 5), (0.6, 6), (0.8, 8), (1.0, 10)):
        rest = (1 - confidence) / 2
        for number in range(10):
            label = CLASSES[0] if number < n_right else CLASSES[1]
            rows.append(said(len(rows), label, [confidence, rest, rest]))
    assert calibration(rows)["ece"] == pytest.approx(0, abs=1e-12)


def test_labels_drawn_from_the_probabilities_are_nearly_calibrated() -> None:
    rng = np.random.default_rng(3)
    rows = by_chance(3, 20_000)
    drawn = [row | {"label": CLASSES[rng.choice(3, p=row["probabilities"])]} for row in rows]
    assert calibration(drawn)["ece"] < 0.01 < 0.2 < calibration(rows)["ece"]


def test_who_is_always_sure_and_right_in_six_of_ten_is_off_by_four_tenths() -> None:
    rows = [said(n, CLASSES[0] if n % 10 < 6 else CLASSES[1], [1.0, 0.0, 0.0]) for n in range(50)]
    found = calibration(rows)
    assert found["ece"] == pytest.approx(0.4)
    assert found["brier"] == pytest.approx(0.4 * 2)
    assert found["bins"] == [{"low": 0.9, "high": 1.0, "n": 50, "confidence": 1.0, "accuracy": 0.6}]


def test_brier_at_best_at_worst_and_for_a_class_that_the_model_does_not_know() -> None:
    assert calibration([said(0, "angry", [1.0, 0.0, 0.0])])["brier"] == 0
    assert calibration([said(0, "sad", [1.0, 0.0, 0.0])])["brier"] == 2
    assert calibration([said(0, "bored", [1.0, 0.0, 0.0])])["brier"] == 2
    assert calibration([said(0, "bored", [0.5, 0.5, 0.0])])["brier"] == 1.5


def test_folds_and_seeds_are_together_and_only_labelled_test_rows_count() -> None:
    rows = by_chance(1, 40)
    spread = [row | {"fold": "AB"[n % 2], "seed": n % 3} for n, row in enumerate(rows)]
    others = [row | {"part": "dev"} for row in by_chance(2, 10)] + [said(99, None, [1.0, 0.0, 0.0])]
    assert calibration(spread + others) == calibration(rows)
    table = pa.Table.from_pylist([*rows, *[row | {"variant": "a"} for row in rows]])
    assert [row["variant"] for row in calibration_table(table, {"m": None, "none": None, "a": None})] == ["m", "a"]


@settings(max_examples=10, deadline=None)
@given(st.randoms())
def test_the_order_of_rows_changes_nothing(random: Any) -> None:
    rows = by_chance(4, 60)
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert calibration(shuffled) == calibration(rows)
