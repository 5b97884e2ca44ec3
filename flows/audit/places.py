"""Where many numbers stand among many known ones, asked again and again: what Arrow builds for each question is built
once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.audit.wordings import Numbers

_ODD = np.uint64(0x9E3779B97F4A7C15)
_SLOTS = 2
"""A table has at least so many for each number: few want one that is taken then."""


class Places:
    """Known numbers, none of them twice, in a table by a hash; where one is taken, the next that is free.

    Example:
        >>> Places(np.array([2, 3, 5, 7])).of(np.array([5, 4, 2, 2])).tolist()
        [2, -1, 0, 0]
    """

    def __init__(self, known: Numbers) -> None:
        self._known = known
        bits = max(_SLOTS * len(known), 1).bit_length()
        self._shift, self._last = np.uint64(64 - bits), (1 << bits) - 1
        kind = np.int32 if len(known) < 1 << 31 else np.int64
        self._table: NDArray[Any] = np.full(1 << bits, -1, kind)
        left, slot = np.arange(len(known), dtype=self._table.dtype), self._slots(known)
        while len(left):
            is_free = self._table[slot] < 0
            self._table[slot[is_free]] = left[is_free]  # of several that want one, the last has it
            is_left = self._table[slot] != left
            left, slot = left[is_left], (slot[is_left] + 1) & self._last

    def __len__(self) -> int:
        return len(self._known)

    def of(self, values: Numbers) -> Numbers:
        """The place of each among the known numbers, -1 of those that are not known."""
        slot = self._slots(values)
        found = self._table[slot].astype(np.int64)
        left = np.flatnonzero(found >= 0)
        while len(left := left[self._known[found[left]] != values[left]]):
            slot[left] = (slot[left] + 1) & self._last
            found[left] = self._table[slot[left]]
            left = left[found[left] >= 0]
        return found

    def _slots(self, values: Numbers) -> Numbers:
        hashed = values.astype(np.uint64) * _ODD
        hashed ^= hashed >> np.uint64(32)  # or numbers that are equally far apart may stand in a row
        return ((hashed * _ODD) >> self._shift).astype(np.int64)
