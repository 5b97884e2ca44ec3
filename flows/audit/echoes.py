"""Which of some texts are said again among many others: in the same words, or most of their 4-grams by one of these.

What is the same and what is near is as in `flows.similarity`, which also says by whom, one reference at a time. Here
nobody asks by whom, so all references of a batch are looked at together, as arrays of numbers: words are numbered by
the texts' own vocabulary, pairs of words by their pairs, and 4-grams by two pairs, so that nothing is found by a hash
that could meet another's: hashes only tell what need not be looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flows.audit.places import Places
from flows.audit.wordings import SPACE, Numbers, bytes_of, column, numbers_of, ranges, wordings, words_in
from flows.similarity import CONTAINED, LEAST_WORDS, N

_MOST_PAIRS = 1 << 20
"""(text, reference that holds one of its grams) pairs that are counted together."""

_MOST_KEPT = 262_144
"""References of which more is asked than their hashes, at a time."""

_MOST_BITS = 26
"""Of the hash that is looked up first: it takes a byte for each of its values."""

Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Said:
    """Of each text, by whom a reference with the same words was learned from, and by whom one with most of its grams:
    the bit of each learner."""

    same: Numbers
    near: Numbers


class Echoes:
    """Some texts that any number of references can be held against, batch by batch: memory grows with the texts and a
    batch, never with all references.

    Args:
        texts: as they are written, in any order, also twice. One without words is never said again.
        least, least_words: as `flows.similarity.Texts` takes them.

    Example:
        >>> texts = pa.array(["Well, I never said that to you!", "No."])
        >>> references = pa.array(["no", "I never said that to her", "no"]), np.array([1, 2, 4])
        >>> found = Echoes(texts).among([references], np.array([7, 7]))
        >>> found.same.tolist(), found.near.tolist()
        ([0, 5], [2, 0])
    """

    def __init__(
        self, texts: pa.Array | pa.ChunkedArray, least: float = CONTAINED, least_words: int = LEAST_WORDS
    ) -> None:
        coded = wordings(texts).dictionary_encode()
        self._wording, self._wording_of = coded.dictionary, numbers_of(coded.indices)
        n_words = np.bincount(words_in(self._wording)[1], minlength=len(self._wording))
        self._has_words, self._long = n_words > 0, np.flatnonzero(n_words >= max(least_words, N))
        own, text = words_in(self._wording.take(column(self._long)))
        coded = own.dictionary_encode()
        self._words = coded.dictionary
        word = numbers_of(coded.indices)
        self._pairs = Places(_once(self._word_pairs(word, text)[1]))
        text, keys = self._keys(word, text)
        known = _once(keys)
        self._grams, n_grams = Places(known), len(known)
        pairs = _once(text * n_grams + np.searchsorted(known, keys))
        self._gram = pairs % max(n_grams, 1)
        self._size = np.bincount(pairs // max(n_grams, 1), minlength=len(self._long)).astype(np.int64)
        self._begin = np.cumsum(self._size) - self._size
        few = np.floor(self._size * least)
        self._need = np.maximum(np.where(few / self._size >= least, few, few + 1), 1).astype(np.int64)
        self._shift = np.uint64(64 - min((n_grams + len(self._wording)).bit_length() + 5, _MOST_BITS))
        self._may_be = np.zeros((2, 1 << (64 - int(self._shift))), np.bool_)  # by hash: a text, a gram of a long one
        for kind, whole in enumerate((self._wording, self._wording.take(column(self._long)))):
            for start in range(0, len(whole), _MOST_KEPT):
                self._may_be[kind, _hashes(whole.slice(start, _MOST_KEPT))[kind] >> self._shift] = True

    def among(self, references: Iterable[tuple[pa.Array, Numbers]], asked: Numbers) -> Said:
        """Who learned from a reference that says one of the texts again.

        Args:
            references: in batches, texts and of each the bits of those who learned from it.
            asked: of each text, the bits of those about whom is asked; of others nothing is said.
        """
        same, near = (np.zeros(len(self._wording), np.int64) for _ in range(2))
        wanted = np.zeros(len(self._wording), np.int64)
        np.bitwise_or.at(wanted, self._wording_of, asked)
        for wording, whose in _together(self._possible(*reference) for reference in references):
            place = _numbered(wording, self._wording)
            np.bitwise_or.at(same, place[place >= 0], whose[place >= 0])
            near[self._long] |= same[self._long]
            self._enter_near(wording, np.where(place < 0, whose, 0), wanted, near)
        same[~self._has_words] = 0
        self._enter_near(self._wording, same, wanted, near)  # each of those that are known, once, however often said
        return Said(same[self._wording_of] & asked, near[self._wording_of] & asked)

    def _possible(self, references: pa.Array, whose: Numbers) -> tuple[pa.LargeStringArray, Numbers]:
        """The wordings of those that could say a text again, by hashes that several may have: the rest do not."""
        wording = wordings(references)
        texts, grams, first = _hashes(wording)
        at = np.flatnonzero(self._may_be[1][grams >> self._shift])
        n_grams = np.bincount(np.searchsorted(first, at, side="right") - 1, minlength=len(wording))
        least = self._need.min(initial=N)
        own = np.flatnonzero(self._may_be[0][texts >> self._shift] | (n_grams >= least))
        return wording.take(column(own)), whose[own]

    def _enter_near(self, wording: pa.LargeStringArray, whose: Numbers, wanted: Numbers, near: Numbers) -> None:
        """Enters in `near` (wording -> bits) who, of those about whom is asked, learned from one with enough grams."""
        own = np.flatnonzero(whose)
        if not len(self._long) or not len(own):
            return
        words, place = words_in(wording.take(column(own)))
        place, keys = self._keys(_numbered(words, self._words), place)
        gram = self._grams.of(keys)
        found = near[self._long]
        self._find(place[gram >= 0], gram[gram >= 0], whose[own], wanted[self._long], found)
        near[self._long] = found

    def _word_pairs(self, word: Numbers, text: Numbers) -> tuple[Numbers, Numbers]:
        """Where two known words follow each other in one text, and a number for the two."""
        known = word >= 0
        at = np.flatnonzero(known[:-1] & known[1:] & (text[:-1] == text[1:]))
        return at, word[at] * len(self._words) + word[at + 1]

    def _keys(self, word: Numbers, text: Numbers) -> tuple[Numbers, Numbers]:
        """Of every 4-gram whose pairs are known, the place of its text and a number."""
        at, pairs = self._word_pairs(word, text)
        pair = np.full(len(word), -1)
        pair[at] = self._pairs.of(pairs)
        at = np.flatnonzero((pair[:-3] >= 0) & (pair[2:-1] >= 0) & (text[:-3] == text[3:]))
        return text[at], pair[at] * len(self._pairs) + pair[at + 2]

    def _find(self, place: Numbers, gram: Numbers, whose: Numbers, wanted: Numbers, found: Numbers) -> None:
        """Enters in `found` (long text -> bits) whose references hold enough of it, of those that are wanted.

        Args:
            place, gram: a reference and a gram that it holds.
            whose: by reference.
        """
        n_grams = len(self._grams)
        held = np.zeros(n_grams, np.bool_)
        held[gram] = True
        most = np.add.reduceat(held[self._gram], self._begin, dtype=np.int64)  # that one reference could hold
        texts = np.flatnonzero((wanted & ~found != 0) & (most >= self._need))
        if not len(texts):
            return
        size, need, missing = self._size[texts], self._need[texts], (wanted & ~found)[texts]
        own = self._gram[ranges(self._begin[texts], size)]
        held[:] = False
        held[own] = True
        place, gram = place[held[gram]], gram[held[gram]]
        holder, gram, whose = _distinct(_once(place * n_grams + gram), whose, n_grams, int(need.min()))
        order = np.argsort(gram, kind="stable")
        holder, begin = holder[order], np.searchsorted(gram[order], np.arange(n_grams + 1))
        n_holders = begin[own + 1] - begin[own]
        n_of_text = np.add.reduceat(n_holders, np.cumsum(size) - size)
        done, first_gram = np.cumsum(n_of_text), np.concatenate([[0], np.cumsum(size)])
        start = 0
        while start < len(texts):
            before = int(done[start - 1]) if start else 0
            stop = max(start + 1, int(np.searchsorted(done, before + _MOST_PAIRS, side="right")))
            some = slice(first_gram[start], first_gram[stop])
            text = np.repeat(np.arange(stop - start), n_of_text[start:stop])
            held_by = holder[ranges(begin[own[some]], n_holders[some])]
            is_wanted = whose[held_by] & missing[start:stop][text] != 0
            text, held_by = _enough(text[is_wanted], held_by[is_wanted], need[start:stop], len(whose))
            np.bitwise_or.at(found, texts[start:stop][text], whose[held_by])
            start = stop


# -- inside ----------------------------------------------------------------------------------------------------------


def _numbered(values: pa.Array, known: pa.Array) -> Numbers:
    """The place of each among what is known, -1 of what is not."""
    found = pc.index_in(values, known)
    if not found.null_count:
        return numbers_of(found)
    bits = np.frombuffer(found.buffers()[0], np.uint8)
    is_known = np.unpackbits(bits, count=found.offset + len(found), bitorder="little")[found.offset :]
    return np.where(is_known, numbers_of(found), -1)


def _together(
    kept: Iterable[tuple[pa.LargeStringArray, Numbers]],
) -> Iterator[tuple[pa.LargeStringArray, Numbers]]:
    """Few from each of many batches as many in a few."""
    waiting: list[tuple[pa.LargeStringArray, Numbers]] = []
    for one in kept:
        waiting.append(one)
        if sum(len(whose) for _, whose in waiting) >= _MOST_KEPT:
            yield pa.concat_arrays([texts for texts, _ in waiting]), np.concatenate([whose for _, whose in waiting])
            waiting = []
    if waiting:
        yield pa.concat_arrays([texts for texts, _ in waiting]), np.concatenate([whose for _, whose in waiting])


def _hashes(wording: pa.LargeStringArray) -> tuple[Hashes, Hashes, Numbers]:
    """A hash of each, whatever the order of its words; of every word but the last three a hash of it and the three
    behind it, whose text soever these are of; and which word is the first of each."""
    offsets, letters = bytes_of(wording)
    ends = np.flatnonzero(letters == SPACE) + 1
    begins = np.concatenate([[0], ends])[:-1].astype(np.int64)
    length = ends - begins
    eights = np.lib.stride_tricks.sliding_window_view(np.concatenate([letters, np.zeros(16, np.uint8)]), 8)
    word = (eights[begins].view("<u8")[:, 0] & _FIRST[np.minimum(length, 8)]) * _ODD
    long = np.flatnonzero(length > 8)
    word[long] += eights[begins[long] + 8].view("<u8")[:, 0] & _FIRST[np.minimum(length[long] - 8, 8)]
    word += length.astype(np.uint64)
    word *= _ODD
    word ^= word >> np.uint64(32)
    first = np.searchsorted(ends, offsets - offsets[0], side="right")
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(word)])[first]
    pair = word[:-1] * _ODD + word[1:]
    return np.diff(sums) * _ODD, (pair[:-2] * _ODD + pair[2:]) * _ODD, first[:-1]


_ODD = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)
"""Number of bytes -> a mask of so many, the first ones."""


def _distinct(pairs: Numbers, whose: Numbers, n_grams: int, least: int) -> tuple[Numbers, Numbers, Numbers]:
    """A reference and a gram that it holds, of references that hold at least so many, and whose each reference is; of
    those that hold the same ones, as of a phrase that everybody says, one that is everybody's.

    Args:
        pairs: reference × n_grams + gram, in order.
    """
    gram = np.ascontiguousarray(pairs % n_grams)
    references, n_held = _runs(pairs // n_grams)
    is_enough = n_held >= least
    gram, n_held = gram[np.repeat(is_enough, n_held)], n_held[is_enough]
    ends = np.concatenate([[0], np.cumsum(n_held)]).astype(np.int64) * gram.itemsize
    parts = [None, pa.py_buffer(ends), pa.py_buffer(gram)]
    coded = pa.Array.from_buffers(pa.large_binary(), len(n_held), parts).dictionary_encode()
    merged = np.zeros(len(coded.dictionary), np.int64)
    np.bitwise_or.at(merged, numbers_of(coded.indices), whose[references[is_enough]])
    offsets, content = bytes_of(coded.dictionary)
    n_held = np.diff(offsets) // gram.itemsize
    return np.repeat(np.arange(len(n_held)), n_held), np.frombuffer(content.tobytes(), np.int64), merged


def _enough(text: Numbers, reference: Numbers, need: Numbers, n_references: int) -> tuple[Numbers, Numbers]:
    """Each text and each reference that it meets as often as it needs.

    Args:
        text, reference: that meet, texts in order.
        need: by text.
    """
    keys = text * n_references + reference
    if len(need) * n_references <= 4 * len(keys):  # many among few: counting takes less than sorting
        counted = np.bincount(keys, minlength=len(need) * n_references).reshape(len(need), n_references)
        found, n_times = np.flatnonzero(counted), counted[counted > 0]
    else:
        found, n_times = _runs(np.sort(keys))
    found = found[n_times >= need[found // max(n_references, 1)]]
    return found // max(n_references, 1), found % max(n_references, 1)


def _runs(values: Numbers) -> tuple[Numbers, Numbers]:
    """Each of some values in order, once, and how often it is there."""
    begins = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]])[: len(values)])
    return values[begins], np.diff(begins, append=len(values))


def _once(values: Numbers) -> Numbers:
    """Each value once, in order: as `np.unique`, which looks each up first where sorting takes less."""
    return _runs(np.sort(values))[0]
