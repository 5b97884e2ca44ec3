"""Batch: what a student sees."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.memory import Lend, fresh
from warehouse.errors import ShapeDiffers

NO_LABEL = -100
"""The label of an utterance that has none: the number that cross-entropy passes over."""

FULL_SCALE = 32_768
"""What a wave of int16 is divided by."""


@dataclass(frozen=True)
class Batch:
    """Some utterances, by role.

    Args:
        ids: utterance ids, [B].
        arrays: float32. Arrays with steps are zero-padded along the second to last axis, [B, …, T, dim];
            vectors are stacked, [B, dim].
        lengths: valid steps of each utterance, int64 [B], for the arrays with steps.
        texts: role -> [B] strings.
        labels: positions in the classes, int64 [B], NO_LABEL where there is none.
        targets: where a fit has soft labels, the shares of the votes, float32 [B, n_classes]; a row of zeros where
            there is neither vote nor label.
    """

    ids: tuple[str, ...]
    arrays: Mapping[str, Tensor]
    lengths: Mapping[str, Tensor]
    texts: Mapping[str, tuple[str, ...]]
    labels: Tensor
    targets: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def mask(self, role: str) -> Tensor:
        """True where a step of the role is one, False where it is padding: bool [B, T]."""
        return step_mask(self.lengths[role], self.arrays[role].shape[-2])

    def to(self, device: torch.device | str) -> Batch:
        arrays = {role: array.to(device) for role, array in self.arrays.items()}
        lengths = {role: length.to(device) for role, length in self.lengths.items()}
        targets = None if self.targets is None else self.targets.to(device)
        return Batch(self.ids, arrays, lengths, self.texts, self.labels.to(device), targets)


def step_mask(lengths: Tensor, n_steps: int) -> Tensor:
    """True in the first `lengths[i]` of row i: bool [B, n_steps].

    Example:
        >>> step_mask(torch.tensor([1, 3]), 3).tolist()
        [[True, False, False], [True, True, True]]
    """
    return torch.arange(n_steps, device=lengths.device) < lengths[:, None]


class Several(NamedTuple):
    """The arrays of one role in one batch, as they are stored.

    Args:
        flat: all numbers of each, [n].
        shape: of one; the others differ in no axis but the second to last, the steps.
        lengths: steps of each, int64 [B]; None where arrays have none.
        dtype: of all, None where two differ.
    """

    flat: Sequence[np.ndarray]
    shape: tuple[int, ...]
    lengths: Tensor | None
    dtype: np.dtype | None


class Gathered(NamedTuple):
    """What a batch is made of; as in `Batch`."""

    ids: tuple[str, ...]
    arrays: Mapping[str, Several]
    texts: Mapping[str, tuple[str, ...]]
    labels: Tensor
    targets: Tensor | None = None

    @property
    def lengths(self) -> dict[str, Tensor]:
        return {role: one.lengths for role, one in self.arrays.items() if one.lengths is not None}


def collate(
    ids: Sequence[str],
    arrays: Mapping[str, Sequence[np.ndarray]],
    texts: Mapping[str, Sequence[str]],
    labels: Sequence[int],
    waves: Collection[str] = (),
    targets: Sequence[np.ndarray] | None = None,
) -> Batch:
    """Puts utterances together.

    Args:
        waves: the roles that are sound, [n_samples, 1], which is in [-1, 1] where it is int16 as elsewhere.
        targets: shares of the classes, float32 [n_classes] each.

    Raises:
        ShapeDiffers: two arrays of a role differ in an axis that is not its steps.
    """
    return pad(gather(ids, arrays, texts, labels, targets), waves)


def gather(
    ids: Sequence[str], arrays: Mapping[str, Sequence[np.ndarray]], texts: Mapping[str, Sequence[str]],
    labels: Sequence[int], targets: Sequence[np.ndarray] | None = None,
) -> Gathered:  # fmt: skip
    """Looks at what a batch is to be made of. Arguments and errors are those of `collate`."""
    return Gathered(
        tuple(ids),
        {role: several_of(role, [a.reshape(-1) for a in own], [a.shape for a in own]) for role, own in arrays.items()},
        {role: tuple(own) for role, own in texts.items()},
        torch.from_numpy(np.array(labels)),
        None if targets is None else torch.from_numpy(np.stack(targets)),
    )


def several_of(role: str, flat: Sequence[np.ndarray], shapes: Sequence[tuple[int, ...]]) -> Several:
    """The arrays of a role for one batch.

    Raises:
        ShapeDiffers: two of them differ in an axis that is not their steps.
    """
    first = form_of(shapes[0])
    for shape in shapes:
        if form_of(shape) != first:
            raise ShapeDiffers(role, shape, f"another of the batch has {shapes[0]}")
    kinds = {array.dtype for array in flat}
    lengths = torch.from_numpy(np.array([shape[-2] for shape in shapes], np.int64)) if len(shapes[0]) > 1 else None
    return Several(flat, shapes[0], lengths, kinds.pop() if len(kinds) == 1 else None)


def form_of(shape: tuple[int, ...]) -> tuple[object, ...]:
    """What the shapes of a role have in common: all but the steps.

    Example:
        >>> form_of((2, 90, 4)) == form_of((2, 7, 4)) != form_of((2, 4))
        True
    """
    return len(shape), shape[:-2], shape[-1:]


def pad(gathered: Gathered, waves: Collection[str] = (), memory: Mapping[str, Lend] | None = None) -> Batch:
    """What `collate` makes, of what was looked at.

    Args:
        memory: role -> who lends it; fresh where there is none.
    """
    padded = {
        role: _pad(several, role in waves, memory[role] if memory else fresh)
        for role, several in gathered.arrays.items()
    }
    return Batch(gathered.ids, padded, gathered.lengths, gathered.texts, gathered.labels, gathered.targets)


def as_float32(array: np.ndarray, is_wave: bool) -> np.ndarray:
    """The numbers of an array as students see them."""
    numbers = array.astype(np.float32)
    return numbers * np.float32(1 / FULL_SCALE) if is_wave and array.dtype == np.int16 else numbers


def _pad(several: Several, is_wave: bool, lend: Lend) -> Tensor:
    """Each number is written once, or twice where it is scaled, while its row is still in the cache. Steps and
    dimensions are copied as one axis, which is faster."""
    flat = several.flat
    if several.lengths is None:
        return torch.from_numpy(np.stack(flat).astype(np.float32))
    steps = several.lengths.tolist()
    before, dim = several.shape[:-2], several.shape[-1]
    n_before, n_steps = math.prod(before), max(steps)
    tensor, lent = lend(len(flat) * n_before * n_steps * dim, np.dtype(np.float32))
    padded = lent.reshape(len(flat), n_before, n_steps * dim)
    for row, array, n in zip(padded, flat, steps, strict=True):
        length = n * dim
        row[:, :length] = array.reshape(n_before, length)
        row[:, length:] = 0
        if is_wave and array.dtype == np.int16:
            row *= np.float32(1 / FULL_SCALE)
    return tensor.view(len(flat), *before, n_steps, dim)
