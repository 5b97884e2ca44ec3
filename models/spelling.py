"""Texts as characters, for `models.losses.ctc`: upper case, without punctuation."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def spelled(text: str) -> str:
    """Upper-case letters, their marks and digits; one space between words. All else is left out.

    Example:
        >>> spelled("Well…  don't you *dare* go to No. 7!")
        'WELL DONT YOU DARE GO TO NO 7'

    Source: Ghosh et al. 2023, section 3.3: upper case, no punctuation.
    """
    upper = unicodedata.normalize("NFC", text.upper())
    return " ".join("".join(c for c in upper if c.isspace() or unicodedata.category(c)[0] in "LMN").split())


def alphabet_of(texts: Iterable[str]) -> str:
    """Every character that occurs in the texts as spelled, in the order of Unicode.

    Example:
        >>> alphabet_of(["A cab?"])
        ' ABC'
    """
    return "".join(sorted({character for text in texts for character in spelled(text)}))


def ctc_targets(texts: Sequence[str], alphabet: str) -> tuple[Tensor, Tensor]:
    """Positions of the characters, counted from 1, because 0 is the blank; a character that the alphabet lacks is
    left out.

    Returns:
        int64 [B, n_longest], zero-padded, and the number of characters of each text, int64 [B].

    Example:
        >>> ctc_targets(["A cab?", "Ba"], " ABC")
        (tensor([[2, 1, 4, 2, 3],
                [3, 2, 0, 0, 0]]), tensor([5, 2]))
    """
    rows = [[alphabet.index(c) + 1 for c in spelled(text) if c in alphabet] for text in texts]
    lengths = [len(row) for row in rows]
    targets = torch.zeros(len(rows), max(lengths, default=0), dtype=torch.int64)
    for target, row in zip(targets, rows, strict=True):
        target[: len(row)] = torch.tensor(row, dtype=torch.int64)
    return targets, torch.tensor(lengths, dtype=torch.int64)
