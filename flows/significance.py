"""Whether two models differ by more than chance: paired tests on the utterances that both were tested on.

What makes chance is which utterances were tested, or which groups of them: utterances of one speaker are alike, and who
asks whether a difference would be found with other speakers draws speakers. Nothing else does: no other training, no
other labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.metrics import from_confusions
from warehouse.errors import UnknownName

N_DRAWS = 10_000
_BLOCK = 500  # draws at once: so many that numpy is busy, so few that they fit into memory

Word = tuple[int, str, str]
"""One prediction: its seed, the label, and what was predicted."""

Said = Mapping[str, tuple[Word, ...]]
"""Utterance -> what a model predicted for it, by seed: once for each, or more often where folds share test parts."""


@dataclass(frozen=True)
class Difference:
    """A metric of two models, the first less the second, its 95 % interval, and how likely one so far from 0 is where
    there is none."""

    first: float
    second: float
    low: float
    high: float
    p: float

    @property
    def value(self) -> float:
        return self.first - self.second


def paired_bootstrap(
    first: Said, second: Said, metric: str, classes: Sequence[str], n: int = N_DRAWS, seed: int = 0,
    groups: Mapping[str, str] | None = None,
) -> Difference:  # fmt: skip
    """A metric of two models, and what their difference becomes on utterances drawn with replacement.

    An utterance is drawn with everything that both models said of it. A model's figure is, as in a report, the mean
    over its seeds of the metric of all folds' predictions together: folds are pooled, seeds are averaged, and the same
    utterance predicted by five seeds is one utterance. The interval is that of percentiles; p is twice the share of
    draws in which the difference is not on the side of 0 where most are, so it is below 0.05 about where the interval
    leaves 0 out. Drawing utterances is drawing how often each pattern of labels and predictions occurs from a
    multinomial, which is what is done.

    Groups are drawn whole, with all their utterances, where they are given. Few of them agree by chance more often than
    their draws show: p is never below what so many fair coins that all fall alike would have, 2 to the power of 1 less
    the number of groups.

    Args:
        first, second: of the same utterances.
        metric: a name of `models.metrics.scores`.
        classes: all that are labels or predictions.
        groups: utterance -> its group, such as its speaker.

    Raises:
        UnknownName: no such metric.

    Example:
        >>> right, wrong = {"u": ((0, "a", "a"),)}, {"u": ((0, "a", "b"),)}
        >>> paired_bootstrap(right, wrong, "accuracy", ["a", "b"]).value
        1.0

    Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 15; groups: Davison & Hinkley,
    Bootstrap Methods and their Application, 1997, section 3.8 (its first strategy).
    """
    pairs = [(first[utterance_id], second[utterance_id]) for utterance_id in sorted(first)]
    if groups is None:
        patterns = Counter(pairs)
        pairs, units, counts = list(patterns), list(range(len(patterns))), np.array(list(patterns.values()))
    else:
        number = {name: place for place, name in enumerate(sorted({groups[utterance_id] for utterance_id in first}))}
        units, counts = [number[groups[utterance_id]] for utterance_id in sorted(first)], np.ones(len(number), np.int64)
    cells = [_cells([pair[side] for pair in pairs], units, classes) for side in (0, 1)]
    n_units = int(counts.sum())
    figure, other = (float(_values(counts[None], own, metric, classes)[0]) for own in cells)
    chance = np.random.default_rng(seed)
    drawn = []
    for begin in range(0, n, _BLOCK):
        draws = chance.multinomial(n_units, counts / n_units, size=min(_BLOCK, n - begin))
        values = [_values(draws, own, metric, classes) for own in cells]
        drawn.append(values[0] - values[1])
    differences = np.round(np.concatenate(drawn), 12)  # a tie is one, whatever the last bits of two sums are
    low, high = np.percentile(differences, [2.5, 97.5])
    rarer = min((differences <= 0).sum(), (differences >= 0).sum())
    least = 0.0 if groups is None else 2.0 ** (1 - n_units)
    return Difference(figure, other, float(low), float(high), min(1.0, max(least, float(2 * (rarer + 1) / (n + 1)))))


def mcnemar(first: Said, second: Said) -> tuple[int, int, float]:
    """McNemar's exact test: on how many utterances each model is right and the other is not, and how likely a division
    so uneven is where both are right equally often.

    With several seeds, the model that is right in more of its predictions has the utterance, and an equal number says
    nothing. Of the model with more seeds only the first count, as many as the other has: one prediction is all right
    or all wrong, and held against the mean of five it would not have the utterance as often by chance.

    Args:
        first, second: of the same utterances.

    Returns:
        Utterances that the first model has, those that the second has, and p.

    Example:
        >>> mcnemar({"u": ((0, "a", "a"),), "v": ((0, "b", "a"),)}, {"u": ((0, "a", "b"),), "v": ((0, "b", "a"),)})
        (1, 0, 1.0)

    Source: McNemar, Note on the sampling error of the difference between correlated proportions, 1947; exact as a sign
    test, by the binomial distribution.
    """
    from scipy.stats import binomtest  # here: it takes half a second to import

    leads = [
        sum(_is_right(word) - _is_right(other) for word, other in zip(words, second[utterance_id], strict=False))
        for utterance_id, words in first.items()
    ]
    n_first, n_second = sum(lead > 0 for lead in leads), sum(lead < 0 for lead in leads)
    n = n_first + n_second
    return n_first, n_second, float(binomtest(n_first, n).pvalue) if n else 1.0


def _is_right(word: Word) -> bool:
    return word[1] == word[2]


def _cells(said: Sequence[tuple[Word, ...]], units: Sequence[int], classes: Sequence[str]) -> NDArray[np.float64]:
    """[unit, seed, class, class]: what each unit, a pattern or a group, adds to the confusion matrix of each seed."""
    seeds = {seed: number for number, seed in enumerate(sorted({seed for words in said for seed, _, _ in words}))}
    position = {name: number for number, name in enumerate(classes)}
    cells = np.zeros((max(units) + 1, len(seeds), len(classes), len(classes)))
    for unit, words in zip(units, said, strict=True):
        for seed, label, predicted in words:
            cells[unit, seeds[seed], position[label], position[predicted]] += 1
    return cells


def _values(
    draws: NDArray[np.int64], cells: NDArray[np.float64], metric: str, classes: Sequence[str]
) -> NDArray[np.float64]:
    """[draw]: the mean over seeds of a metric, where each pattern occurs as often as drawn."""
    found = from_confusions(np.tensordot(draws.astype(np.float64), cells, axes=1), classes)
    if metric not in found:
        raise UnknownName("metric", metric, found)
    return found[metric].mean(axis=-1)
