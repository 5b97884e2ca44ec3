"""Packed: utterances one behind the other as they are stored, to be padded by the device that they are sent to."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from models.batch import FULL_SCALE, Batch, Gathered, as_float32, gather
from models.memory import Lend, fresh

SENT = {np.dtype(name) for name in ("float32", "float16", "int16")}
"""What is sent as it is stored; every device makes float32 of it to the bit. Other numbers are float32 before."""


@dataclass(slots=True)  # not frozen: that would take a microsecond of each
class Packed:
    """A batch that is not padded yet: less to write, and less to send, than what `to` makes of it.

    Args:
        flat: role -> all numbers of all utterances, [n], as they are stored.
        shapes: role -> the shape of one utterance's array, from which the others differ in their steps alone.
        waves: the roles that are sound.

    The rest is as in `Batch`.
    """

    ids: tuple[str, ...]
    flat: Mapping[str, Tensor]
    shapes: Mapping[str, tuple[int, ...]]
    lengths: Mapping[str, Tensor]
    texts: Mapping[str, tuple[str, ...]]
    labels: Tensor
    waves: Collection[str] = ()
    targets: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch, to the bit, that `collate` makes of the same utterances, on a device."""
        arrays = {
            role: self._padded(role, flat.to(device, non_blocking=flat.is_pinned())) for role, flat in self.flat.items()
        }
        return Batch(self.ids, arrays, self.lengths, self.texts, self.labels, self.targets).to(device)

    def _padded(self, role: str, flat: Tensor) -> Tensor:
        """The rows of `Batch.arrays`, on the device where the numbers are."""
        before, dim = self.shapes[role][:-2], self.shapes[role][-1]
        if role not in self.lengths:
            return flat.view(len(self), dim).float()
        steps, n_before = self.lengths[role].tolist(), math.prod(before)
        parts = flat.split([n_before * n * dim for n in steps])
        rows = [one.view(n_before, n, dim).transpose(0, 1) for one, n in zip(parts, steps, strict=True)]
        padded = pad_sequence(rows, batch_first=True).transpose(1, 2)  # [B, before, T, dim]
        padded = padded.reshape(len(self), *before, padded.shape[2], dim).contiguous().float()
        return padded.mul_(1 / FULL_SCALE) if role in self.waves and flat.dtype == torch.int16 else padded


def pack(
    ids: Sequence[str],
    arrays: Mapping[str, Sequence[np.ndarray]],
    texts: Mapping[str, Sequence[str]],
    labels: Sequence[int],
    waves: Collection[str] = (),
    targets: Sequence[np.ndarray] | None = None,
) -> Packed:
    """Puts utterances one behind the other. Arguments and errors are those of `models.batch.collate`."""
    return next(join(gather(ids, arrays, texts, labels, targets), waves))


def join(gathered: Gathered, waves: Collection[str] = (), memory: Mapping[str, Lend] | None = None) -> Iterator[Packed]:
    """What `pack` makes, of what was looked at, one batch after the other.

    Args:
        memory: role -> who lends it; fresh where there is none.
    """
    shapes = {role: several.shape for role, several in gathered.arrays.items()}
    for part, ids, lengths, texts, labels, targets in gathered.rows():
        flat = {}
        for role, (stored, _, _, dtype) in gathered.arrays.items():
            numbers = stored[part]
            if dtype is None or dtype not in SENT:
                numbers, dtype = [as_float32(array, role in waves) for array in numbers], np.dtype(np.float32)
            flat[role], there = (memory[role] if memory else fresh)(sum(map(len, numbers)), dtype)
            np.concatenate(numbers, out=there)
            del there  # else the memory would not be free for the next batch
        yield Packed(ids, flat, shapes, lengths, texts, labels, waves, targets)
