"""Which of some texts are said again among many others: in the same words, or most of their 4-grams by one of these.

What is the same and what is near is as in `flows.similarity`, which also says by whom, one reference at a time. Here
nobody asks by whom, so all references of a batch are looked at together, as arrays of numbers: words are numbered by
the texts' own vocabulary, pairs of words by their pairs, and 4-grams by two pairs, so that nothing is compared by a
hash that could meet another's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flows.similarity import CONTAINED, LEAST_WORDS, N, words_of
from warehouse.arrays import texts_of

_MOST_PAIRS = 1 << 20
"""(text, reference that holds one of its grams) pairs that are counted together."""

_TEXT = pa.large_string()
_SPACE, _END, _QUOTE = 32, 10, 39
_NEVER = 255
"""A byte that no text has."""

Numbers = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Said:
    """Of each text, whether a reference has the same words, and whether one has most of its grams."""

    same: Mask
    near: Mask


class Echoes:
    """Some texts that any number of references can be held against, batch by batch: memory grows with the texts and a
    batch, never with all references.

    Args:
        texts: as they are written, in any order, also twice. One without words is never said again.
        least, least_words: as `flows.similarity.Texts` takes them.

    Example:
        >>> texts = pa.array(["Well, I never said that to you!", "No."])
        >>> found = Echoes(texts).among([pa.array(["no", "I never said that to her"])], np.array([True, True]))
        >>> found.same.tolist(), found.near.tolist()
        ([False, True], [True, False])
    """

    def __init__(
        self, texts: pa.Array | pa.ChunkedArray, least: float = CONTAINED, least_words: int = LEAST_WORDS
    ) -> None:
        coded = wordings(texts).dictionary_encode()
        self._wording, self._wording_of = coded.dictionary, numbers_of(coded.indices)
        n_words = np.bincount(words_in(self._wording)[1], minlength=len(self._wording))
        long = np.flatnonzero(n_words >= max(least_words, N))
        own, text = words_in(self._wording.take(_column(long)))
        coded = own.dictionary_encode()
        self._words = coded.dictionary
        word = numbers_of(coded.indices)
        self._pairs = _column(np.unique(self._word_pairs(word, text)[1]))
        text, keys = self._keys(word, text)
        known = np.unique(keys)
        self._keys_known, n_grams = _column(known), len(known)
        pairs = np.unique(text * n_grams + np.searchsorted(known, keys))
        self._gram = pairs % max(n_grams, 1)
        self._size = np.bincount(pairs // max(n_grams, 1), minlength=len(long)).astype(np.int64)
        self._begin = np.cumsum(self._size) - self._size
        few = np.floor(self._size * least)
        self._need = np.maximum(np.where(few / self._size >= least, few, few + 1), 1).astype(np.int64)
        self._long = long

    def among(self, references: Iterable[pa.Array], asked: Mask) -> Said:
        """What of the texts is said again.

        Args:
            references: texts, in batches.
            asked: which of the texts are asked about; of the others nothing is said.
        """
        is_asked = np.zeros(len(self._wording), np.bool_)
        is_asked[self._wording_of[asked]] = True
        same = np.zeros(len(self._wording), np.bool_)
        unfound = is_asked[self._long]
        for batch in references:
            wording = wordings(batch)
            same[numbers_of(pc.index_in(wording, self._wording).drop_null())] = True
            words, place = words_in(wording)
            place, keys = self._keys(_numbered(words, self._words), place)
            if len(keys):
                gram = _numbered(keys, self._keys_known)
                self._strike_found(place[gram >= 0], gram[gram >= 0], unfound)
        same[numbers_of(pc.index_in(texts_of([""]).cast(_TEXT), self._wording).drop_null())] = False
        near = np.zeros(len(self._wording), np.bool_)
        near[self._long] = ~unfound
        return Said((same & is_asked)[self._wording_of] & asked, (near & is_asked)[self._wording_of] & asked)

    def _word_pairs(self, word: Numbers, text: Numbers) -> tuple[Numbers, Numbers]:
        """Where two known words follow each other in one text, and a number for the two."""
        known = word >= 0
        at = np.flatnonzero(known[:-1] & known[1:] & (text[:-1] == text[1:]))
        return at, word[at] * len(self._words) + word[at + 1]

    def _keys(self, word: Numbers, text: Numbers) -> tuple[Numbers, Numbers]:
        """Of every 4-gram whose pairs are known, the place of its text and a number."""
        at, pairs = self._word_pairs(word, text)
        pair = np.full(len(word), -1)
        pair[at] = _numbered(pairs, self._pairs)
        at = np.flatnonzero((pair[:-3] >= 0) & (pair[2:-1] >= 0) & (text[:-3] == text[3:]))
        return text[at], pair[at] * len(self._pairs) + pair[at + 2]

    def _strike_found(self, place: Numbers, gram: Numbers, unfound: Mask) -> None:
        """Takes from `unfound` the long texts of which one of these references holds enough.

        Args:
            place, gram: a reference and a gram that it holds.
        """
        n_grams = len(self._keys_known)
        held = np.zeros(n_grams, np.bool_)
        held[gram] = True
        if not len(self._size):
            return
        most = np.add.reduceat(held[self._gram], self._begin, dtype=np.int64)  # that one reference could hold
        wanted = np.flatnonzero(unfound & (most >= self._need))
        if not len(wanted):
            return
        size = self._size[wanted]
        own = self._gram[_ranges(self._begin[wanted], size)]
        held[:] = False
        held[own] = True
        place, gram = place[held[gram]], gram[held[gram]]
        holder, gram = _distinct(np.unique(place * n_grams + gram), n_grams, int(self._need[wanted].min()))
        order = np.argsort(gram, kind="stable")
        holder, begin = holder[order], np.searchsorted(gram[order], np.arange(n_grams + 1))
        n_holders = begin[own + 1] - begin[own]
        n_of_text = np.add.reduceat(n_holders, np.cumsum(size) - size)
        n_references, done = int(holder.max(initial=-1)) + 1, np.cumsum(n_of_text)
        first_gram = np.concatenate([[0], np.cumsum(size)])
        start = 0
        while start < len(wanted):
            before = int(done[start - 1]) if start else 0
            stop = max(start + 1, int(np.searchsorted(done, before + _MOST_PAIRS, side="right")))
            some = slice(first_gram[start], first_gram[stop])
            text = np.repeat(np.arange(stop - start), n_of_text[start:stop])
            held_by = holder[_ranges(begin[own[some]], n_holders[some])]
            most = _most(text * n_references + held_by, stop - start, n_references)
            unfound[wanted[start:stop][most >= self._need[wanted[start:stop]]]] = False
            start = stop


def wordings(texts: pa.Array | pa.ChunkedArray) -> pa.LargeStringArray:
    """The words of each text, as `flows.similarity.words_of` has them, each with a blank behind it, in passes over all
    bytes; what is not ASCII by that function itself, letter by letter.

    Example:
        >>> wordings(pa.array(["Well -- I can't, 'Mr. O'Neil'!", "…"])).to_pylist()
        ["WELL I CAN'T MR O'NEIL ", '']
    """
    whole = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    offsets, content = _bytes_of(_spoken(whole.cast(_TEXT)))
    ended = np.insert(content, offsets[1:] - offsets[0], _NEVER)
    letters = _unquoted(np.frombuffer(ended.tobytes().translate(_LETTERS, _DROPPED), np.uint8))
    ends = np.flatnonzero(letters == _END)
    stays = letters > _SPACE
    stays[1:] |= stays[:-1]  # with one byte behind each word, which is its blank
    n_dropped = np.searchsorted(np.flatnonzero(~stays), ends, side="right")
    offsets = np.concatenate([[0], ends + 1 - n_dropped]).astype(np.int64)
    letters = letters[stays]
    letters[letters == _END] = _SPACE
    return pa.LargeStringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(letters))


def words_in(worded: pa.LargeStringArray) -> tuple[pa.LargeStringArray, Numbers]:
    """All words of some wordings, each with its blank, and of each the place of its text."""
    begins, letters = _bytes_of(worded)
    ends = np.flatnonzero(letters == _SPACE) + 1
    offsets = np.concatenate([[0], ends]).astype(np.int64)
    words = pa.LargeStringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(letters))
    n_words = np.diff(np.searchsorted(ends, begins - begins[0], side="right"))
    return words, np.repeat(np.arange(len(n_words)), n_words)


def numbers_of(array: pa.Array) -> Numbers:
    """An array of integers; where one is null, any. (What Arrow has for that imports pandas first.)"""
    whole = array.cast(pa.int64())
    if not len(whole):
        return np.zeros(0, np.int64)
    return np.frombuffer(whole.buffers()[1], np.int64)[whole.offset : whole.offset + len(whole)]


# -- inside ----------------------------------------------------------------------------------------------------------


def _letters() -> tuple[bytes, bytes]:
    """What becomes of each byte, and those of which nothing does. Bytes of letters beyond ASCII stay."""
    made, dropped = bytearray(range(256)), bytearray()
    made[_NEVER] = _END
    for code in range(128):
        letter = chr(code)
        if letter.isalnum():
            made[code] = ord(letter.upper())
        elif letter.isspace() or letter == "-":
            made[code] = _SPACE
        elif code != _QUOTE:
            dropped.append(code)
    return bytes(made), bytes(dropped)


_LETTERS, _DROPPED = _letters()


def _spoken(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    """Texts in which what is not ASCII has become what it is in words."""
    offsets, content = _bytes_of(texts)
    beyond = np.flatnonzero(content > 127)
    if not len(beyond):
        return texts
    places = np.unique(np.searchsorted(offsets[1:], beyond + offsets[0], side="right"))
    mask = np.zeros(len(texts), np.bool_)
    mask[places] = True
    own = [_BEYOND.sub(_as_spoken, text) for text in texts.take(_column(places)).to_pylist()]
    bits = [None, pa.py_buffer(np.packbits(mask, bitorder="little"))]
    return pc.replace_with_mask(texts, pa.Array.from_buffers(pa.bool_(), len(mask), bits), texts_of(own).cast(_TEXT))


_BEYOND = re.compile(r"[^\x00-\x7f]")


def _as_spoken(found: re.Match[str]) -> str:
    return _within_words(found[0])


@cache
def _within_words(letter: str) -> str:
    """What becomes of a letter, which is asked once of each; its neighbours have no part in that."""
    return " ".join(words_of(f"A{letter}A"))[1:-1]


def _bytes_of(texts: pa.LargeStringArray) -> tuple[Numbers, NDArray[np.uint8]]:
    """Where each begins and the last ends, and the bytes of all."""
    if not len(texts):
        return np.zeros(1, np.int64), np.zeros(0, np.uint8)
    _, places, content = texts.buffers()
    offsets = np.frombuffer(places, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    whole = np.frombuffer(content, np.uint8) if content and content.size else np.zeros(0, np.uint8)
    return offsets, whole[offsets[0] : offsets[-1]]


def _unquoted(letters: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Without the apostrophes at the begin and at the end of words."""
    quotes = np.flatnonzero(letters == _QUOTE)
    if not len(quotes):
        return letters
    first = np.flatnonzero(np.diff(quotes, prepend=-2) > 1)
    begins = quotes[first]
    stops = quotes[np.append(first, len(quotes))[1:] - 1] + 1
    outside = (begins == 0) | (letters[begins - 1] <= _SPACE) | (letters[stops] <= _SPACE)
    return np.delete(letters, _ranges(begins[outside], (stops - begins)[outside]))


def _ranges(begins: Numbers, lengths: Numbers) -> Numbers:
    """All numbers of some ranges, one range after another."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(begins - ends + lengths, lengths)


def _column(numbers: Numbers) -> pa.Int64Array:
    content = pa.py_buffer(np.ascontiguousarray(numbers, np.int64))
    return pa.Array.from_buffers(pa.int64(), len(numbers), [None, content])


def _numbered(values: pa.Array | Numbers, known: pa.Array) -> Numbers:
    """The place of each among what is known, -1 of what is not."""
    found = pc.index_in(_column(values) if isinstance(values, np.ndarray) else values, known)
    if not found.null_count:
        return numbers_of(found)
    bits = np.frombuffer(found.buffers()[0], np.uint8)
    is_known = np.unpackbits(bits, count=found.offset + len(found), bitorder="little")[found.offset :]
    return np.where(is_known, numbers_of(found), -1)


def _distinct(pairs: Numbers, n_grams: int, least: int) -> tuple[Numbers, Numbers]:
    """A reference and a gram that it holds, of references that hold at least so many; of those that hold the same ones,
    as of a phrase that everybody says, once.

    Args:
        pairs: reference × n_grams + gram, in order.
    """
    gram = np.ascontiguousarray(pairs % n_grams)
    _, n_held = np.unique(pairs // n_grams, return_counts=True)
    is_enough = n_held >= least
    gram, n_held = gram[np.repeat(is_enough, n_held)], n_held[is_enough]
    ends = np.concatenate([[0], np.cumsum(n_held)]).astype(np.int64) * gram.itemsize
    parts = [None, pa.py_buffer(ends), pa.py_buffer(gram)]
    offsets, content = _bytes_of(pa.Array.from_buffers(pa.large_binary(), len(n_held), parts).unique())
    n_held = np.diff(offsets) // gram.itemsize
    return np.repeat(np.arange(len(n_held)), n_held), np.frombuffer(content.tobytes(), np.int64)


def _most(keys: Numbers, n_texts: int, n_references: int) -> Numbers:
    """How often each text meets the reference that it meets most.

    Args:
        keys: text × n_references + reference, texts in order.
    """
    if n_texts * n_references <= 4 * len(keys):  # many among few: counting takes less than sorting
        counted = np.bincount(keys, minlength=n_texts * n_references)
        most: Numbers = counted.reshape(n_texts, n_references).max(axis=1, initial=0)
        return most
    found, n_times = np.unique(keys, return_counts=True)
    most = np.zeros(n_texts, np.int64)
    np.maximum.at(most, found // n_references, n_times)
    return most
