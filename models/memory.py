"""Memory for batches. What nobody holds any more is used again: fresh pages cost as much as filling them."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Lend = Callable[[int, np.dtype], Tensor]
"""How many numbers, of which kind -> a tensor of them, whatever they are: [n]."""


class Shelf:
    """Lends memory of one purpose. A piece comes back by itself when the last tensor on it is gone, in any thread, and
    one that is too small for the next is thrown away, so all pieces are soon as large as the largest.

    Example:
        >>> shelf = Shelf()
        >>> one = shelf.lend(3, np.dtype("float32"))
        >>> where = one.data_ptr()
        >>> del one
        >>> shelf.lend(2, np.dtype("int16")).data_ptr() == where
        True
    """

    def __init__(self) -> None:
        self._free: list[np.ndarray] = []

    def lend(self, n: int, dtype: np.dtype) -> Tensor:
        """A tensor of n numbers, whatever they are."""
        n_bytes = n * dtype.itemsize
        memory = self._free.pop() if self._free else None
        if memory is None or memory.nbytes < n_bytes:
            memory = np.empty(n_bytes, np.uint8)
        lent = memory[:n_bytes].view(dtype)
        weakref.finalize(lent, self._free.append, memory).atexit = False  # the tensor holds `lent`
        return torch.from_numpy(lent)


def fresh(n: int, dtype: np.dtype) -> Tensor:
    """Memory that was never lent."""
    return torch.from_numpy(np.empty(n, dtype))


def pinned(n: int, dtype: np.dtype) -> Tensor:
    """Memory that a CUDA device reads by itself while the host goes on. torch uses it again, and not before what is on
    its way to the device has arrived."""
    return torch.empty(n, dtype=torch.from_numpy(np.empty(0, dtype)).dtype, pin_memory=True)
