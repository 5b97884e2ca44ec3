"""Batch: what a student sees."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

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


def collate(
    ids: Sequence[str],
    arrays: Mapping[str, Sequence[np.ndarray]],
    texts: Mapping[str, Sequence[str]],
    labels: Sequence[int],
    waves: Collection[str] = (),
    targets: Sequence[np.ndarray] | None = None,
    memory: Mapping[str, Lend] | None = None,
) -> Batch:
    """Puts utterances together.

    Args:
        waves: the roles that are sound, [n_samples, 1], which is in [-1, 1] where it is int16 as elsewhere.
        targets: shares of the classes, float32 [n_classes] each.
        memory: role -> who lends it; fresh where there is none.

    Raises:
        ShapeDiffers: two arrays of a role differ in an axis that is not its steps.
    """
    padded, lengths = {}, {}
    for role, several in arrays.items():
        shapes = check_shapes(role, several)
        padded[role] = _pad(several, shapes, role in waves, memory[role] if memory else fresh)
        if several[0].ndim > 1:
            lengths[role] = torch.from_numpy(np.array([shape[-2] for shape in shapes], np.int64))
    return Batch(
        tuple(ids), padded, lengths, {role: tuple(several) for role, several in texts.items()},
        torch.from_numpy(np.array(labels)), None if targets is None else torch.from_numpy(np.stack(targets)),
    )  # fmt: skip


def check_shapes(role: str, several: Sequence[np.ndarray]) -> list[tuple[int, ...]]:
    """The shapes of the arrays of a role.

    Raises:
        ShapeDiffers: two of them differ in an axis that is not their steps.
    """
    shapes = [array.shape for array in several]
    ndim, before, dim = len(shapes[0]), shapes[0][:-2], shapes[0][-1]
    for shape in shapes:
        if shape[-1] != dim or len(shape) != ndim or shape[:-2] != before:
            raise ShapeDiffers(role, shape, f"another of the batch has {shapes[0]}")
    return shapes


def as_float32(array: np.ndarray, is_wave: bool) -> np.ndarray:
    """The numbers of an array as students see them."""
    numbers = array.astype(np.float32)
    return numbers * np.float32(1 / FULL_SCALE) if is_wave and array.dtype == np.int16 else numbers


def _pad(several: Sequence[np.ndarray], shapes: Sequence[tuple[int, ...]], is_wave: bool, lend: Lend) -> Tensor:
    """Each number is written once, or twice where it is scaled, while its row is still in the cache. Steps and
    dimensions are copied as one axis, which is faster."""
    first = shapes[0]
    if len(first) == 1:
        return torch.from_numpy(np.stack(several).astype(np.float32))
    before, dim = first[:-2], first[-1]
    n_before, n_steps = math.prod(before), max(shape[-2] for shape in shapes)
    tensor = lend(len(several) * n_before * n_steps * dim, np.dtype(np.float32))
    padded = tensor.numpy().reshape(len(several), n_before, n_steps * dim)
    for row, array in zip(padded, several, strict=True):
        length = array.shape[-2] * dim
        row[:, :length] = array.reshape(n_before, length)
        row[:, length:] = 0
        if is_wave and array.dtype == np.int16:
            row *= np.float32(1 / FULL_SCALE)
    return tensor.view(len(several), *before, n_steps, dim)
