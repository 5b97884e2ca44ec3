"""Memory for batches. What nobody holds any more is used again: fresh pages cost as much as filling them."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Lent = tuple[Tensor, np.ndarray]
"""The same numbers as both, [n]: to ask a tensor for its array takes longer than to copy a short utterance there."""

Lend = Callable[[int, np.dtype], Lent]
"""How many numbers, of which kind -> memory for them, whatever they are now."""


class Shelf:
    """Lends memory of one purpose. A piece comes back by itself when the last tensor on it is gone, in any thread, and
    one that is too small for the next is thrown away, so all pieces are soon as large as the largest.

    Example:
        >>> shelf = Shelf()
        >>> one, _ = shelf.lend(3, np.dtype("float32"))
        >>> where = one.data_ptr()
        >>> del one, _
        >>> shelf.lend(2, np.dtype("int16"))[0].data_ptr() == where
        True
    """

    def __init__(self) -> None:
        self._free: list[np.ndarray] = []
        self._lent: dict[int, tuple[weakref.ref[np.ndarray], np.ndarray]] = {}

    def lend(self, n: int, dtype: np.dtype) -> Lent:
        """Memory for n numbers, whatever they are now."""
        n_bytes = n * dtype.itemsize
        memory = self._free.pop() if self._free else None
        if memory is None or memory.nbytes < n_bytes:
            memory = np.empty(n_bytes, np.uint8)
        lent = np.ndarray(n, dtype, memory)
        watch = weakref.ref(lent, self._take_back)
        self._lent[id(watch)] = watch, memory
        return torch.from_numpy(lent), lent  # the tensor holds the array

    def _take_back(self, watch: weakref.ref[np.ndarray]) -> None:
        """Called when nobody holds the array any more."""
        self._free.append(self._lent.pop(id(watch))[1])


def fresh(n: int, dtype: np.dtype) -> Lent:
    """Memory that was never lent."""
    array = np.empty(n, dtype)
    return torch.from_numpy(array), array


def pinned(n: int, dtype: np.dtype) -> Lent:
    """Memory that a CUDA device reads by itself while the host goes on. torch uses it again, and not before what is on
    its way to the device has arrived."""
    tensor = torch.empty(n, dtype=torch.from_numpy(np.empty(0, dtype)).dtype, pin_memory=True)
    return tensor, tensor.numpy()
