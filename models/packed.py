"""Packed: utterances one behind the other as they are stored, to be padded by the device that they are sent to."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from models.batch import FULL_SCALE, Batch, as_float32, check_shapes
from models.memory import Lend, fresh

SENT = {np.dtype(name) for name in ("float32", "float16", "int16")}
"""What is sent as it is stored; every device makes float32 of it to the bit. Other numbers are float32 before."""


@dataclass(frozen=True)
class Packed:
    """A batch that is not padded yet: less to write, and less to send, than what `to` makes of it.

    Args:
        flat: role -> all numbers of all utterances, [n], as they are stored.
        shapes: role -> the shape of each utterance's array.
        waves: the roles that are sound.

    The rest is as in `Batch`.
    """

    ids: tuple[str, ...]
    flat: Mapping[str, Tensor]
    shapes: Mapping[str, Sequence[tuple[int, ...]]]
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
            role: _padded(flat.to(device, non_blocking=flat.is_pinned()), self.shapes[role], role in self.waves)
            for role, flat in self.flat.items()
        }
        return Batch(self.ids, arrays, self.lengths, self.texts, self.labels, self.targets).to(device)


def pack(
    ids: Sequence[str],
    arrays: Mapping[str, Sequence[np.ndarray]],
    texts: Mapping[str, Sequence[str]],
    labels: Sequence[int],
    waves: Collection[str] = (),
    targets: Sequence[np.ndarray] | None = None,
    memory: Mapping[str, Lend] | None = None,
) -> Packed:
    """Puts utterances one behind the other. Arguments and errors are those of `models.batch.collate`."""
    flat, shapes, lengths = {}, {}, {}
    for role, several in arrays.items():
        forms = shapes[role] = check_shapes(role, several)
        kinds = {array.dtype for array in several}
        if len(kinds) > 1 or not kinds <= SENT:
            several = [as_float32(array, role in waves) for array in several]
        lend = memory[role] if memory else fresh
        if len(forms[0]) == 2:  # steps behind each other are steps: one call joins them
            steps = [n for n, _ in forms]
            n_steps, dim = sum(steps), forms[0][1]
            flat[role] = lend(n_steps * dim, several[0].dtype)
            np.concatenate(several, out=flat[role].numpy().reshape(n_steps, dim))
        else:
            steps = [shape[-2] for shape in forms] if len(forms[0]) > 1 else []
            flat[role] = lend(sum(map(math.prod, forms)), several[0].dtype)
            np.concatenate([array.reshape(-1) for array in several], out=flat[role].numpy())
        if steps:
            lengths[role] = torch.from_numpy(np.array(steps, np.int64))
    return Packed(
        tuple(ids), flat, shapes, lengths, {role: tuple(several) for role, several in texts.items()},
        torch.from_numpy(np.array(labels)), waves, None if targets is None else torch.from_numpy(np.stack(targets)),
    )  # fmt: skip


def _padded(flat: Tensor, shapes: Sequence[tuple[int, ...]], is_wave: bool) -> Tensor:
    """The rows of `Batch.arrays`, on the device where the numbers are."""
    before, dim = shapes[0][:-2], shapes[0][-1]
    if len(shapes[0]) == 1:
        return flat.view(len(shapes), dim).float()
    rows = [
        one.view(math.prod(before), shape[-2], dim).transpose(0, 1)
        for one, shape in zip(flat.split([math.prod(shape) for shape in shapes]), shapes, strict=True)
    ]
    padded = pad_sequence(rows, batch_first=True).transpose(1, 2)  # [B, before, T, dim]
    padded = padded.reshape(len(shapes), *before, padded.shape[2], dim).contiguous().float()
    return padded.mul_(1 / FULL_SCALE) if is_wave and flat.dtype == torch.int16 else padded
