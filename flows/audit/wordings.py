"""The words of many texts at once, as arrays of bytes: what `flows.similarity.words_of` says of one at a time."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flows.similarity import words_of
from warehouse.arrays import texts_of

SPACE = 32
"""The byte behind each word."""

TEXT = pa.large_string()
_END, _QUOTE = 10, 39
_NEVER = 255
"""A byte that no text has."""

Numbers = NDArray[np.int64]


def wordings(texts: pa.Array | pa.ChunkedArray) -> pa.LargeStringArray:
    """The words of each text, as `flows.similarity.words_of` has them, each with a blank behind it, in passes over all
    bytes; what is not ASCII by that function itself, letter by letter.

    Example:
        >>> wordings(pa.array(["Well -- I can't, 'Mr. O'Neil'!", "…"])).to_pylist()
        ["WELL I CAN'T MR O'NEIL ", '']
    """
    whole = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    offsets, content = bytes_of(_spoken(whole.cast(TEXT)))
    ended = np.insert(content, offsets[1:] - offsets[0], _NEVER)
    letters = _unquoted(np.frombuffer(ended.tobytes().translate(_LETTERS, _DROPPED), np.uint8))
    ends = np.flatnonzero(letters == _END)
    stays = letters > SPACE
    stays[1:] |= stays[:-1]  # with one byte behind each word, which is its blank
    n_dropped = np.searchsorted(np.flatnonzero(~stays), ends, side="right")
    offsets = np.concatenate([[0], ends + 1 - n_dropped]).astype(np.int64)
    letters = letters[stays]
    letters[letters == _END] = SPACE
    return pa.LargeStringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(letters))


def words_in(worded: pa.LargeStringArray) -> tuple[pa.LargeStringArray, Numbers]:
    """All words of some wordings, each with its blank, and of each the place of its text."""
    begins, letters = bytes_of(worded)
    ends = np.flatnonzero(letters == SPACE) + 1
    offsets = np.concatenate([[0], ends]).astype(np.int64)
    words = pa.LargeStringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(letters))
    n_words = np.diff(np.searchsorted(ends, begins - begins[0], side="right"))
    return words, np.repeat(np.arange(len(n_words)), n_words)


def numbers_of(array: pa.Array | pa.ChunkedArray) -> Numbers:
    """An array of integers; where one is null, any. (What Arrow has for that imports pandas first.)"""
    if isinstance(array, pa.ChunkedArray):
        return np.concatenate([np.zeros(0, np.int64), *map(numbers_of, array.chunks)])
    whole = array.cast(pa.int64())
    if not len(whole):
        return np.zeros(0, np.int64)
    return np.frombuffer(whole.buffers()[1], np.int64)[whole.offset : whole.offset + len(whole)]


def bytes_of(texts: pa.LargeStringArray) -> tuple[Numbers, NDArray[np.uint8]]:
    """Where each begins and the last ends, and the bytes of all."""
    if not len(texts):
        return np.zeros(1, np.int64), np.zeros(0, np.uint8)
    _, places, content = texts.buffers()
    offsets = np.frombuffer(places, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    whole = np.frombuffer(content, np.uint8) if content and content.size else np.zeros(0, np.uint8)
    return offsets, whole[offsets[0] : offsets[-1]]


def ranges(begins: Numbers, lengths: Numbers) -> Numbers:
    """All numbers of some ranges, one range after another."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(begins - ends + lengths, lengths)


def column(numbers: Numbers) -> pa.Int64Array:
    """Numbers as Arrow has them."""
    content = pa.py_buffer(np.ascontiguousarray(numbers, np.int64))
    return pa.Array.from_buffers(pa.int64(), len(numbers), [None, content])


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
            made[code] = SPACE
        elif code != _QUOTE:
            dropped.append(code)
    return bytes(made), bytes(dropped)


_LETTERS, _DROPPED = _letters()


def _spoken(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    """Texts in which what is not ASCII has become what it is in words."""
    offsets, content = bytes_of(texts)
    beyond = np.flatnonzero(content > 127)
    if not len(beyond):
        return texts
    places = np.unique(np.searchsorted(offsets[1:], beyond + offsets[0], side="right"))
    mask = np.zeros(len(texts), np.bool_)
    mask[places] = True
    own = [_BEYOND.sub(_as_spoken, text) for text in texts.take(column(places)).to_pylist()]
    bits = [None, pa.py_buffer(np.packbits(mask, bitorder="little"))]
    return pc.replace_with_mask(texts, pa.Array.from_buffers(pa.bool_(), len(mask), bits), texts_of(own).cast(TEXT))


_BEYOND = re.compile(r"[^\x00-\x7f]")


def _as_spoken(found: re.Match[str]) -> str:
    return _within_words(found[0])


@cache
def _within_words(letter: str) -> str:
    """What becomes of a letter, which is asked once of each; its neighbours have no part in that."""
    return " ".join(words_of(f"A{letter}A"))[1:-1]


def _unquoted(letters: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Without the apostrophes at the begin and at the end of words."""
    quotes = np.flatnonzero(letters == _QUOTE)
    if not len(quotes):
        return letters
    first = np.flatnonzero(np.diff(quotes, prepend=-2) > 1)
    begins = quotes[first]
    stops = quotes[np.append(first, len(quotes))[1:] - 1] + 1
    outside = (begins == 0) | (letters[begins - 1] <= SPACE) | (letters[stops] <= SPACE)
    return np.delete(letters, ranges(begins[outside], (stops - begins)[outside]))
