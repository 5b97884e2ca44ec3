"""Paired tests: against themselves, against counts by hand, against a planted difference."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.significance import Said, mcnemar, paired_bootstrap
from models.metrics import scores
from warehouse.errors import UnknownName

CLASSES = ["angry", "calm", "sad"]


def said(seed: int, n: int, accuracy: float, n_seeds: int = 1) -> Said:
    """The same labels for all; each prediction is right with this probability, else any other class."""
    labels = [CLASSES[i] for i in np.random.default_rng(0).integers(3, size=n)]
    rng = np.random.default_rng([seed, 7])
    found = {}
    for number, label in enumerate(labels):
        others = [name for name in CLASSES if name != label]
        predicted = [label if rng.random() < accuracy else str(rng.choice(others)) for _ in range(n_seeds)]
        found[f"u{number}"] = tuple((s, label, one) for s, one in enumerate(predicted))
    return found


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 60), st.integers(1, 3), st.sampled_from(["uar", "accuracy", "f1/sad"]))
def test_a_model_against_itself(seed: int, n: int, n_seeds: int, metric: str) -> None:
    own = said(seed, n, 0.6, n_seeds)
    found = paired_bootstrap(own, own, metric, CLASSES, n=200)
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert mcnemar(own, own) == (0, 0, 1.0)


def test_the_figures_are_the_pooled_ones_averaged_over_seeds() -> None:
    own, other = said(1, 200, 0.7, n_seeds=3), said(2, 200, 0.5)
    found = paired_bootstrap(own, other, "uar", CLASSES, n=10)

    def uar(words: Said, seed: int) -> float:
        pairs = [(label, predicted) for some in words.values() for s, label, predicted in some if s == seed]
        return scores(*map(list, zip(*pairs, strict=True)), CLASSES)["uar"]

    assert found.first == pytest.approx(np.mean([uar(own, seed) for seed in range(3)]))
    assert found.second == pytest.approx(uar(other, 0))


def test_a_planted_difference_is_found_and_one_of_chance_is_not() -> None:
    better, worse, alike = said(1, 600, 0.75), said(2, 600, 0.6), said(3, 600, 0.75)
    for metric in ("uar", "accuracy"):
        found = paired_bootstrap(better, worse, metric, CLASSES)
        assert 0 < found.low < found.value < found.high and found.p < 0.001
        turned = paired_bootstrap(worse, better, metric, CLASSES)
        assert turned.value == -found.value and turned.high < 0
        chance = paired_bootstrap(better, alike, metric, CLASSES)
        assert chance.low < 0 < chance.high and chance.p > 0.05
    assert mcnemar(better, worse)[2] < 0.001 and mcnemar(better, alike)[2] > 0.05


def test_the_interval_is_that_of_drawing_utterances_one_by_one() -> None:
    own, other = said(1, 80, 0.7), said(2, 80, 0.6)
    found = paired_bootstrap(own, other, "accuracy", CLASSES)
    leads = np.array([(own[u][0][1] == own[u][0][2]) - (other[u][0][1] == other[u][0][2]) for u in own], dtype=float)
    drawn = np.random.default_rng(9).choice(leads, size=(20_000, len(leads))).mean(axis=1)
    assert (found.low, found.high) == pytest.approx(np.percentile(drawn, [2.5, 97.5]).tolist(), abs=0.015)


def test_p_and_the_interval_tell_the_same() -> None:
    own = said(1, 150, 0.7)
    for seed in range(2, 22):
        found = paired_bootstrap(own, said(seed, 150, 0.6), "uar", CLASSES, n=2000)
        if not 0.045 < found.p < 0.055:
            assert (found.low > 0 or found.high < 0) == (found.p < 0.05)


def test_a_second_seed_with_the_same_predictions_makes_nobody_surer() -> None:
    one, other = said(1, 100, 0.7), said(2, 100, 0.6)
    twice = [{u: (*words, (1, *words[0][1:])) for u, words in some.items()} for some in (one, other)]
    assert paired_bootstrap(*twice, "uar", CLASSES) == paired_bootstrap(one, other, "uar", CLASSES)
    assert mcnemar(*twice) == mcnemar(one, other)


def test_the_same_draws_every_time_whatever_the_order() -> None:
    one, other = said(1, 100, 0.7), said(2, 100, 0.6)
    backwards = dict(reversed(one.items()))
    assert paired_bootstrap(one, other, "uar", CLASSES) == paired_bootstrap(backwards, other, "uar", CLASSES)
    assert paired_bootstrap(one, other, "uar", CLASSES) != paired_bootstrap(one, other, "uar", CLASSES, seed=1)


def test_a_group_of_each_utterance_is_drawing_utterances() -> None:
    own, other = said(1, 200, 0.7, n_seeds=2), said(2, 200, 0.6)
    alone = paired_bootstrap(own, other, "uar", CLASSES, groups={utterance_id: utterance_id for utterance_id in own})
    plain = paired_bootstrap(own, other, "uar", CLASSES)
    assert (alone.first, alone.second) == (plain.first, plain.second)
    assert (alone.low, alone.high, alone.p) == pytest.approx((plain.low, plain.high, plain.p), abs=0.01)


def test_the_interval_over_groups_is_that_of_drawing_whole_groups() -> None:
    own, other = said(1, 90, 0.7), said(2, 90, 0.6)
    group = {utterance_id: f"s{int(utterance_id[1:]) ** 2 % 11}" for utterance_id in own}  # of unequal sizes
    found = paired_bootstrap(own, other, "accuracy", CLASSES, groups=group)
    leads = {name: [] for name in group.values()}  # type: ignore[var-annotated]
    for one, name in group.items():
        leads[name].append((own[one][0][1] == own[one][0][2]) - (other[one][0][1] == other[one][0][2]))
    rng, drawn = np.random.default_rng(9), []
    for _ in range(10_000):
        some = [leads[name] for name in rng.choice(sorted(leads), size=len(leads))]
        drawn.append(sum(map(sum, some)) / sum(map(len, some)))
    assert (found.low, found.high) == pytest.approx(np.percentile(drawn, [2.5, 97.5]).tolist(), abs=0.015)


def test_speakers_of_whom_each_model_knows_some_better_are_no_reason_to_prefer_one() -> None:
    """Equal models: who draws utterances is sure of a difference where only other speakers would tell."""
    n_speakers, n_each, sure = 20, 30, {"utterances": 0, "speakers": 0}
    for case in range(60):
        rng = np.random.default_rng(case)
        sides: list[dict[str, tuple[tuple[int, str, str], ...]]] = [{}, {}]
        for speaker in range(n_speakers):
            for side, accuracy in zip(sides, rng.uniform(0.3, 0.9, size=2), strict=True):
                for number in range(n_each):
                    label = "sad" if number % 2 else "calm"
                    said_of = label if rng.random() < accuracy else "angry"
                    side[f"{speaker}-{number}"] = ((0, label, said_of),)
        speakers = {utterance_id: utterance_id.partition("-")[0] for utterance_id in sides[0]}
        for unit, groups in (("utterances", None), ("speakers", speakers)):
            sure[unit] += paired_bootstrap(*sides, "accuracy", CLASSES, n=500, groups=groups).p < 0.05
    assert sure["utterances"] > 20 and sure["speakers"] <= 7, sure


def test_few_groups_that_agree_say_no_more_than_as_many_coins() -> None:
    right, wrong = (said(1, 60, accuracy) for accuracy in (1.0, 0.0))
    for n in (1, 2, 5):
        groups = {utterance_id: str(int(utterance_id[1:]) % n) for utterance_id in right}
        assert paired_bootstrap(right, wrong, "accuracy", CLASSES, n=500, groups=groups).p == 2 / 2**n


def discordant(n_first: int, n_second: int, n_same: int) -> tuple[Said, Said]:
    places = ["first"] * n_first + ["second"] * n_second + ["both"] * n_same
    right, wrong = ((0, "sad", "sad"),), ((0, "sad", "calm"),)
    first = {f"u{i}": wrong if place == "second" else right for i, place in enumerate(places)}
    return first, {f"u{i}": wrong if place == "first" else right for i, place in enumerate(places)}


@pytest.mark.parametrize(("n_first", "n_second"), [(10, 2), (2, 10), (5, 5), (1, 0), (40, 25)])
def test_mcnemar_by_hand(n_first: int, n_second: int) -> None:
    n, less = n_first + n_second, min(n_first, n_second)
    expected = min(1.0, 2 * sum(comb(n, k) for k in range(less + 1)) / 2**n)
    found = mcnemar(*discordant(n_first, n_second, 30))
    assert found[:2] == (n_first, n_second) and found[2] == pytest.approx(expected)


def test_mcnemar_of_ten_against_two_is_the_textbooks() -> None:
    assert mcnemar(*discordant(10, 2, 100))[2] == pytest.approx(158 / 4096)


def test_an_utterance_is_of_the_model_that_is_right_more_often() -> None:
    def words(*right: bool) -> tuple[tuple[int, str, str], ...]:
        return tuple((seed, "sad", "sad" if one else "calm") for seed, one in enumerate(right))

    first = {"a": words(True, True, False), "b": words(True, False, False), "c": words(False, True, False)}
    second = {"a": words(True, False, False), "b": words(False, False, True), "c": words(True, True, False)}
    assert mcnemar(first, second)[:2] == (1, 1), "b is a tie"
    one = {"a": words(False), "b": words(True), "c": words(True)}
    assert mcnemar(first, one)[:2] == (1, 1), "only the first seed counts: a and c"


def test_equal_models_are_told_apart_in_about_one_of_twenty_cases() -> None:
    found = [mcnemar(said(seed, 300, 0.6), said(1000 + seed, 300, 0.6))[2] < 0.05 for seed in range(100)]
    assert sum(found) <= 11
    uneven = [mcnemar(said(seed, 100, 0.6, 3), said(1000 + seed, 100, 0.6))[2] < 0.05 for seed in range(100)]
    assert sum(uneven) <= 11


def test_a_metric_that_is_none() -> None:
    own = said(1, 5, 0.5)
    with pytest.raises(UnknownName, match="no metric 'uarr'; did you mean 'uar'"):
        paired_bootstrap(own, own, "uarr", CLASSES)
