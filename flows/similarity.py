"""Texts that repeat other texts: for each of a few, the one of many that holds most of its 4-grams, exactly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from features.plugin import normalised_words

N = 4
"""Words of a gram."""

LEAST_WORDS = 6
"""Shorter texts are not compared: everybody says them."""

CONTAINED = 0.5
"""The share of a text's grams that makes another one its near-duplicate."""

_MOST_PAIRS = 1 << 18
"""(gram, reference) pairs that are kept until they are counted."""

Words = tuple[str, ...]

K = TypeVar("K", int, str, tuple[str, str])
"""What a reference is called; of two that are as near, the one of the lesser name counts."""


@dataclass(frozen=True)
class Nearest(Generic[K]):
    """The reference that holds the largest share of a text's grams: its name and that share."""

    reference: K
    containment: float


@dataclass(frozen=True)
class Repeats(Generic[K]):
    """What some texts repeat: their words -> the first reference of the same words, and -> the nearest."""

    same: Mapping[Words, K]
    near: Mapping[Words, Nearest[K]]


def words_of(text: str) -> Words:
    """The words that are compared: upper case, without punctuation."""
    return tuple(normalised_words(text))


def grams(words: Words) -> list[Words]:
    """The distinct 4-grams, in order."""
    return list(dict.fromkeys(_windows(words)))


def _windows(words: Words) -> Iterable[Words]:
    return zip(*[words[i:] for i in range(N)], strict=False)


class Texts:
    """A few texts, found by their grams, that any number of references can be held against.

    Each reference is looked at once and let go: memory grows with the texts and what is found, never with the
    references, which may be tens of millions from a stream. References that hold the same of the grams are as near to
    every text, so only the first of them is counted: a phrase that everybody says costs little.

    Args:
        texts: as `words_of` gives them. One without words repeats nothing.
        least: the share of a text's distinct 4-grams that a near-duplicate holds.
        least_words: of a text that is looked for by its grams; a reference may be of any length.

    Example:
        >>> said, read = words_of("Well, I never said that to you!"), ["no", "I never said that to her"]
        >>> Texts([said]).among(enumerate(map(words_of, read))).near[said]
        Nearest(reference=1, containment=0.5)
    """

    def __init__(self, texts: Iterable[Words], least: float = CONTAINED, least_words: int = LEAST_WORDS) -> None:
        self._texts = dict.fromkeys(words for words in texts if words)
        self._long = [words for words in self._texts if len(words) >= max(least_words, N)]
        self._least = least
        self._number: dict[Words, int] = {}
        own = [[self._number.setdefault(gram, len(self._number)) for gram in grams(words)] for words in self._long]
        self._sizes = np.array([len(one) for one in own], np.int64)
        self._ends = np.cumsum(self._sizes)
        self._grams = np.fromiter(chain.from_iterable(own), np.int64)

    def among(self, references: Iterable[tuple[K, Words]]) -> Repeats[K]:
        """For every text that has one, the first reference of the same words, and the one that holds the largest share
        of its grams, if that is at least `least`; of several that hold as many, the first.

        Args:
            references: (name, words), in any order: 'first' is by name.
        """
        same: dict[Words, K] = {}
        best: dict[int, tuple[int, K]] = {}
        held: dict[tuple[int, ...], K] = {}
        n_pairs = 0
        texts, number = self._texts, self._number
        for name, words in references:
            if words in texts and (words not in same or name < same[words]):
                same[words] = name
            if shared := {number[gram] for gram in _windows(words) if gram in number}:
                those = tuple(sorted(shared))
                if those not in held:
                    held[those] = name
                    n_pairs += len(those)
                elif name < held[those]:
                    held[those] = name
                if n_pairs >= _MOST_PAIRS:
                    self._count(held, best)
                    held, n_pairs = {}, 0
        self._count(held, best)
        near = {self._long[text]: Nearest(name, n / int(self._sizes[text])) for text, (n, name) in best.items()}
        return Repeats(same, near)

    def _count(self, held: Mapping[tuple[int, ...], K], best: dict[int, tuple[int, K]]) -> None:
        """Enters in `best` (text -> number of its grams, reference) what is nearer than what stands there."""
        if not held:
            return
        references = sorted(held.items(), key=itemgetter(1))
        gram = np.fromiter(chain.from_iterable(those for those, _ in references), np.int64)
        place = np.repeat(np.arange(len(references)), [len(those) for those, _ in references])
        order = np.argsort(gram, kind="stable")
        held_by, begin = place[order], np.searchsorted(gram[order], np.arange(len(self._number) + 1))
        is_held = (np.diff(begin) > 0)[self._grams]
        most = np.add.reduceat(is_held, self._ends - self._sizes, dtype=np.int64)  # that one reference could hold
        for text in np.flatnonzero((most > 0) & (most / self._sizes >= self._least)).tolist():
            own = self._grams[self._ends[text] - self._sizes[text] : self._ends[text]]
            n, first = _most_frequent(np.concatenate([held_by[begin[g] : begin[g + 1]] for g in own]), len(references))
            name, (n_known, known) = references[first][1], best.get(text, (0, None))
            if n / len(own) >= self._least and (n > n_known or (n == n_known and known is not None and name < known)):
                best[text] = (n, name)


def _most_frequent(places: NDArray[np.int64], n_places: int) -> tuple[int, int]:
    """How often the most frequent place occurs, and the place: the first of equals."""
    if len(places) * 8 < n_places:  # few among many: counting all of them would take longer
        found, n_times = np.unique(places, return_counts=True)
        return int(n_times.max()), int(found[n_times.argmax()])
    counted = np.bincount(places)
    return int(counted.max()), int(counted.argmax())
