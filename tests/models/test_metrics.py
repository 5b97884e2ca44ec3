from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from models.metrics import bootstrap_interval, scores
from warehouse.errors import UnknownName

CLASSES = ["a", "b", "c", "d"]


@given(st.lists(st.tuples(st.sampled_from(CLASSES), st.sampled_from(CLASSES)), min_size=1, max_size=40))
def test_scores_agree_with_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    gold, predicted = [g for g, _ in pairs], [p for _, p in pairs]
    found = scores(gold, predicted, CLASSES)
    expected = {
        "accuracy": sk.accuracy_score(gold, predicted),
        "uar": sk.recall_score(gold, predicted, labels=sorted(set(gold)), average="macro"),
        "wf1": sk.f1_score(gold, predicted, labels=CLASSES, average="weighted", zero_division=0),
        "macro_f1": sk.f1_score(gold, predicted, average="macro", zero_division=0),
    }
    for name in CLASSES:
        here, there = [g == name for g in gold], [p == name for p in predicted]
        expected[f"f1/{name}"] = sk.f1_score(here, there, zero_division=0)
        expected[f"ovr_weighted_f1/{name}"] = sk.f1_score(here, there, average="weighted", zero_division=0)
    assert found == pytest.approx(expected, abs=1e-12)


def test_ovr_weighted_f1_flatters_a_class_that_is_never_predicted() -> None:
    found = scores(["a"] * 10 + ["b"] * 90, ["b"] * 100, ["a", "b"])
    assert found["f1/a"] == 0
    assert found["ovr_weighted_f1/a"] == pytest.approx(0.9 * 2 * 0.9 / 1.9)


def test_a_name_that_is_no_class() -> None:
    with pytest.raises(UnknownName, match="no class 'aa'"):
        scores(["a"], ["aa"], ["a", "b"])


@pytest.mark.parametrize("metric", ["accuracy", "uar", "wf1", "macro_f1", "f1/a", "ovr_weighted_f1/b"])
def test_the_interval_is_that_of_drawing_utterances(metric: str) -> None:
    rng = np.random.default_rng(0)
    gold = rng.choice(["a", "b", "c"], size=200)
    predicted = np.where(rng.random(200) < 0.7, gold, rng.choice(["a", "b", "c"], size=200))
    low, high = bootstrap_interval(gold.tolist(), predicted.tolist(), metric, n=2000)
    drawn = []
    for _ in range(400):
        rows = rng.integers(200, size=200)
        drawn.append(scores(gold[rows].tolist(), predicted[rows].tolist(), ["a", "b", "c"])[metric])
    assert (low, high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=0.02)
    assert low < scores(gold.tolist(), predicted.tolist(), ["a", "b", "c"])[metric] < high


def test_the_interval_depends_on_the_seed_alone() -> None:
    gold, predicted = list("aabbab" * 5), list("abbbaa" * 5)
    assert bootstrap_interval(gold, predicted, "uar") == bootstrap_interval(gold, predicted, "uar")
    assert bootstrap_interval(gold, predicted, "uar") != bootstrap_interval(gold, predicted, "uar", seed=1)


def test_perfect_predictions_have_no_width() -> None:
    assert bootstrap_interval(list("abab"), list("abab"), "accuracy") == (1.0, 1.0)


def test_an_unknown_metric() -> None:
    with pytest.raises(UnknownName, match="no metric 'uarr'; did you mean 'uar'"):
        bootstrap_interval(["a"], ["a"], "uarr")
