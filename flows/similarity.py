"""Texts that repeat other texts: for each of many, the one that holds most of its 4-grams, exactly and in seconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.plugin import normalised_words

N = 4
"""Words of a gram."""

LEAST_WORDS = 6
"""Shorter texts are not compared: everybody says them."""

CONTAINED = 0.5
"""The share of a text's grams that makes another one its near-duplicate."""

Words = tuple[str, ...]


@dataclass(frozen=True)
class Nearest:
    """The reference that holds the largest share of a text's grams: its position and that share."""

    reference: int
    containment: float


def words_of(text: str) -> Words:
    """The words that are compared: upper case, without punctuation."""
    return tuple(normalised_words(text))


def near_duplicates(
    texts: Sequence[Words], references: Iterable[Words], least: float = CONTAINED, least_words: int = LEAST_WORDS
) -> dict[int, Nearest]:
    """For every text that has one, the reference that holds at least the share `least` of its distinct 4-grams.

    Of several that hold as many, it is the first. A text with fewer than `least_words` words has none; a reference may
    be of any length. Texts are found through the positions of their grams, so only references that share one are ever
    looked at; memory grows with what is shared, not with the references, which may come from a stream.

    Args:
        texts, references: as `words_of` gives them.

    Returns:
        position of the text -> its nearest reference.

    Example:
        >>> texts = [words_of("Well, I never said that to you!")]
        >>> near_duplicates(texts, [words_of("no"), words_of("I never said that to her")])
        {0: Nearest(reference=1, containment=0.5)}
    """
    long = {position: words for position, words in enumerate(texts) if len(words) >= max(least_words, N)}
    number: dict[Words, int] = {}
    grams_of: dict[Words, NDArray[np.int64]] = {}
    for words in long.values():
        if words not in grams_of:
            grams_of[words] = np.array([number.setdefault(gram, len(number)) for gram in grams(words)])
    holders = _Holders(number, references)
    nearest = {words: holders.nearest(own, least) for words, own in grams_of.items()}
    return {position: found for position, words in long.items() if (found := nearest[words]) is not None}


def grams(words: Words) -> list[Words]:
    """The distinct 4-grams, in order."""
    return list(dict.fromkeys(zip(*(words[i:] for i in range(N)), strict=False)))


class _Holders:
    """gram -> the references that hold it, as one array of references sorted by gram, and where each gram begins."""

    def __init__(self, number: dict[Words, int], references: Iterable[Words]) -> None:
        pairs = np.fromiter(_shared(number, references), dtype=np.dtype((np.int64, 2)))
        self._references, self._place = np.unique(pairs[:, 1], return_inverse=True)
        order = np.argsort(pairs[:, 0], kind="stable")
        self._held_by = self._place[order]
        self._begin = np.searchsorted(pairs[order, 0], np.arange(len(number) + 1))

    def nearest(self, own: NDArray[np.int64], least: float) -> Nearest | None:
        holding = np.concatenate([self._held_by[self._begin[g] : self._begin[g + 1]] for g in own])
        if not len(holding):
            return None
        if len(holding) * 8 < len(self._references):  # few among many: counting all of them would take longer
            places, n_held = np.unique(holding, return_counts=True)
        else:
            n_held = np.bincount(holding)
            places = np.arange(len(n_held))
        best = int(n_held.argmax())  # the first of equals
        containment = int(n_held[best]) / len(own)
        return Nearest(int(self._references[places[best]]), containment) if containment >= least else None


def _shared(number: dict[Words, int], references: Iterable[Words]) -> Iterator[tuple[int, int]]:
    """(gram, reference) for every gram that a text has too; of equal references the first."""
    seen: set[Words] = set()
    for position, words in enumerate(references):
        own = [number[gram] for gram in grams(words) if gram in number]
        if own and words not in seen:
            seen.add(words)
            yield from ((gram, position) for gram in own)


def same_words(texts: Sequence[Words], references: Iterable[Words]) -> dict[int, int]:
    """Position of a text -> the first reference of the same words. A text without words has none."""
    wanted = {words for words in texts if words}
    first: dict[Words, int] = {}
    for position, words in enumerate(references):
        if words in wanted:
            first.setdefault(words, position)
    return {position: first[words] for position, words in enumerate(texts) if words in first}
