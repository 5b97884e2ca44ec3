"""Which of some texts are said again among many others: in the same words, or most of their 4-grams by one of these.

What is the same and what is near is as in `flows.similarity`, which also says by whom, one reference at a time. Here
nobody asks by whom, so all references of a batch are looked at together, as arrays of numbers: words are numbered by
the texts' own vocabulary, pairs of words by their pairs, and 4-grams by two pairs, so that nothing is compared by a
hash that could meet another's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flows.similarity import CONTAINED, LEAST_WORDS, N, words_of

_MOST_PAIRS = 1 << 20
"""(text, reference that holds one of its grams) pairs that are counted together."""

_TEXT = pa.large_string()
_BLANK = pa.scalar(" ", _TEXT)
_SPACE, _END, _QUOTE = 32, 10, 39

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
        words = split_words(texts)
        coded = pc.binary_join(words, _BLANK).dictionary_encode()
        self._wording, self._wording_of = coded.dictionary, _numbers(coded.indices)
        _, first = np.unique(self._wording_of, return_index=True)
        own = words.take(pa.array(first))
        long = np.flatnonzero(_numbers(pc.list_value_length(own)) >= max(least_words, N))
        own = own.take(pa.array(long))
        self._words = own.flatten().unique()
        word, text = _numbered(own.flatten(), self._words), _places(own)
        self._pairs = pa.array(np.unique(self._word_pairs(word, text)[1]))
        text, keys = self._keys(own)
        self._keys_known = pa.array(np.unique(keys))
        n_grams = len(self._keys_known)
        pairs = np.unique(text * n_grams + np.searchsorted(self._keys_known.to_numpy(), keys))
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
            words = split_words(batch)
            found = pc.index_in(pc.binary_join(words, _BLANK), self._wording)
            same[_numbers(found.drop_null())] = True
            place, keys = self._keys(words)
            if len(keys):
                gram = _numbered(keys, self._keys_known)
                self._strike_found(place[gram >= 0], gram[gram >= 0], unfound)
        same[_numbers(pc.index_in(pa.array([""], _TEXT), self._wording).drop_null())] = False
        near = np.zeros(len(self._wording), np.bool_)
        near[self._long] = ~unfound
        return Said((same & is_asked)[self._wording_of] & asked, (near & is_asked)[self._wording_of] & asked)

    def _word_pairs(self, word: Numbers, text: Numbers) -> tuple[Numbers, Numbers]:
        """Where two known words follow each other in one text, and a number for the two."""
        known = word >= 0
        at = np.flatnonzero(known[:-1] & known[1:] & (text[:-1] == text[1:]))
        return at, word[at] * len(self._words) + word[at + 1]

    def _keys(self, words: pa.ListArray) -> tuple[Numbers, Numbers]:
        """Of every 4-gram whose pairs are known, the place of its text and a number."""
        word, text = _numbered(words.flatten(), self._words), _places(words)
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


def split_words(texts: pa.Array | pa.ChunkedArray) -> pa.ListArray:
    """The words of each text, as `flows.similarity.words_of` has them: what is ASCII in one pass over all bytes, the
    rest by that function itself.

    Example:
        >>> split_words(pa.array(["Well -- I can't, 'Mr. O'Neil'!", "…"])).to_pylist()
        [['WELL', 'I', "CAN'T", 'MR', "O'NEIL"], []]
    """
    whole = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    plain = _in_ascii(whole.cast(_TEXT))
    ended = pc.binary_join_element_wise(plain, pa.scalar("", _TEXT), pa.scalar("\n", _TEXT))
    offsets, content = _bytes_of(ended)
    letters = _LETTERS[content]
    letters[offsets[1:] - 1] = _END
    letters = _unquoted(letters[letters > 0])
    is_letter = letters > _SPACE
    edges = np.flatnonzero(np.diff(is_letter, prepend=False, append=False))
    begins, stops = edges[::2], edges[1::2]
    ends = np.concatenate([[0], np.cumsum(stops - begins)]).astype(np.int64)
    words = pa.LargeStringArray.from_buffers(len(begins), pa.py_buffer(ends), pa.py_buffer(letters[is_letter]))
    lists = np.concatenate([[0], np.searchsorted(begins, np.flatnonzero(letters == _END))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(lists), words)


# -- inside ----------------------------------------------------------------------------------------------------------


def _letters() -> NDArray[np.uint8]:
    """What becomes of each byte, 0 where nothing: bytes of letters beyond ASCII stay, for those are words already."""
    made = np.arange(256, dtype=np.uint8)
    for code in range(128):
        letter = chr(code)
        made[code] = ord(letter.upper()) if letter.isalnum() else _SPACE if letter.isspace() or letter == "-" else 0
    made[_QUOTE] = _QUOTE
    return made


_LETTERS = _letters()


def _in_ascii(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    """Texts of which those that are not ASCII are only their words."""
    offsets, content = _bytes_of(texts)
    beyond = np.flatnonzero(content > 127)
    if not len(beyond):
        return texts
    places = np.unique(np.searchsorted(offsets[1:], beyond + offsets[0], side="right"))
    mask = np.zeros(len(texts), np.bool_)
    mask[places] = True
    words = [" ".join(words_of(text)) for text in texts.take(pa.array(places)).to_pylist()]
    return pc.replace_with_mask(texts, pa.array(mask), pa.array(words, _TEXT))


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
    edges = np.flatnonzero(np.diff(letters == _QUOTE, prepend=False, append=False))
    begins, stops = edges[::2], edges[1::2]
    outside = (begins == 0) | (letters[begins - 1] <= _SPACE) | (letters[stops] <= _SPACE)
    return np.delete(letters, _ranges(begins[outside], (stops - begins)[outside]))


def _ranges(begins: Numbers, lengths: Numbers) -> Numbers:
    """All numbers of some ranges, one range after another."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(begins - ends + lengths, lengths)


def _numbers(array: pa.Array) -> Numbers:
    return np.asarray(array).astype(np.int64)


def _numbered(values: pa.Array | Numbers, known: pa.Array) -> Numbers:
    """The place of each among what is known, -1 of what is not."""
    array = pa.array(values) if isinstance(values, np.ndarray) else values
    return _numbers(pc.index_in(array, known).fill_null(-1))


def _places(words: pa.ListArray) -> Numbers:
    """Of every word of all, the place of its text."""
    return np.repeat(np.arange(len(words)), _numbers(pc.list_value_length(words)))


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
