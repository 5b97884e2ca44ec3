"""Batch: what a student sees."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

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
    padded, lengths = {}, {}
    for role, several in arrays.items():
        padded[role] = _pad(role, several, role in waves)
        if several[0].ndim > 1:
            lengths[role] = torch.tensor([array.shape[-2] for array in several])
    return Batch(
        tuple(ids), padded, lengths, {role: tuple(several) for role, several in texts.items()}, torch.tensor(labels),
        None if targets is None else torch.from_numpy(np.stack(targets)),
    )  # fmt: skip


def _pad(role: str, several: Sequence[np.ndarray], is_wave: bool) -> Tensor:
    """Each number is written once, or twice where it is scaled, while its row is still in the cache. Steps and
    dimensions are copied as one axis, which is faster."""
    first = several[0].shape
    ndim, before, dim = len(first), first[:-2], first[-1]
    for array in several:
        if array.ndim != ndim or array.shape[-1] != dim or array.shape[:-2] != before:
            raise ShapeDiffers(role, array.shape, f"another of the batch has {first}")
    if len(first) == 1:
        return torch.from_numpy(np.stack(several).astype(np.float32))
    n_steps = max(array.shape[-2] for array in several)
    n_before = math.prod(before)
    padded = np.empty((len(several), n_before, n_steps * dim), dtype=np.float32)
    for row, array in zip(padded, several, strict=True):
        length = array.shape[-2] * dim
        row[:, :length] = array.reshape(n_before, length)
        row[:, length:] = 0
        if is_wave and array.dtype == np.int16:
            row *= np.float32(1 / FULL_SCALE)
    return torch.from_numpy(padded.reshape(len(several), *before, n_steps, dim))
