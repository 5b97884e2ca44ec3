"""Which word of a transcript each token belongs to, so that vectors of word pieces meet the times of aligned words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NO_WORD = -1
"""What stands for no word: special tokens, punctuation, spaces."""


def word_of_characters(text: str) -> list[int]:
    """For each character, the position in `features.plugin.normalised_words(text)` of the word it is part of.

    The hard case is what normalising takes out: punctuation, and apostrophes at the edges of a word, belong to none.

    Example:
        >>> word_of_characters("'tis O'Neil!")
        [-1, 0, 0, 0, -1, 1, 1, 1, 1, 1, 1, -1]
    """
    found = [NO_WORD] * len(text)
    n_words = 0
    for begin, end in _chunks(text.replace("-", " ")):
        kept = [at for at in range(begin, end) if text[at].isalnum() or text[at] in _APOSTROPHES]
        while kept and text[kept[0]] in _APOSTROPHES:
            del kept[0]
        while kept and text[kept[-1]] in _APOSTROPHES:
            del kept[-1]
        for at in kept:
            found[at] = n_words
        n_words += bool(kept)
    return found


def word_of_tokens(text: str, spans: Sequence[tuple[int, int]]) -> np.ndarray:
    """For each token, the word of the first of its characters that is part of one: int32 [token, 1].

    Args:
        spans: first character of each token and the one after its last; empty for special tokens.
    """
    words = word_of_characters(text)
    first = [next((word for word in words[begin:end] if word != NO_WORD), NO_WORD) for begin, end in spans]
    return np.array(first, np.int32).reshape(-1, 1)


_APOSTROPHES = "'’"


def _chunks(text: str) -> list[tuple[int, int]]:
    """Where each stretch without white space begins and ends, as `str.split` cuts them."""
    spans, at = [], 0
    for chunk in text.split():
        begin = text.index(chunk, at)
        at = begin + len(chunk)
        spans.append((begin, at))
    return spans
