"""Batch: what a student sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from warehouse.errors import ShapeDiffers

NO_LABEL = -100
"""The label of an utterance that has none: the number that cross-entropy passes over."""


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
    """

    ids: tuple[str, ...]
    arrays: Mapping[str, Tensor]
    lengths: Mapping[str, Tensor]
    texts: Mapping[str, tuple[str, ...]]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def mask(self, role: str) -> Tensor:
        """True where a step of the role is one, False where it is padding: bool [B, T]."""
        return step_mask(self.lengths[role], self.arrays[role].shape[-2])

    def to(self, device: torch.device | str) -> Batch:
        arrays = {role: array.to(device) for role, array in self.arrays.items()}
        lengths = {role: length.to(device) for role, length in self.lengths.items()}
        return Batch(self.ids, arrays, lengths, self.texts, self.labels.to(device))


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
) -> Batch:
    """Puts utterances together.

    Raises:
        ShapeDiffers: two arrays of a role differ in an axis that is not its steps.
    """
    padded, lengths = {}, {}
    for role, several in arrays.items():
        padded[role] = _pad(role, several)
        if several[0].ndim > 1:
            lengths[role] = torch.tensor([array.shape[-2] for array in several])
    return Batch(
        tuple(ids), padded, lengths, {role: tuple(several) for role, several in texts.items()}, torch.tensor(labels)
    )


def _pad(role: str, several: Sequence[np.ndarray]) -> Tensor:
    first = several[0].shape
    for array in several:
        if (array.ndim, array.shape[:-2], array.shape[-1]) != (len(first), first[:-2], first[-1]):
            raise ShapeDiffers(role, array.shape, f"another of the batch has {first}")
    if len(first) == 1:
        return torch.from_numpy(np.stack(several).astype(np.float32))
    n_steps = max(array.shape[-2] for array in several)
    padded = np.zeros((len(several), *first[:-2], n_steps, first[-1]), dtype=np.float32)
    for row, array in zip(padded, several, strict=True):
        row[..., : array.shape[-2], :] = array
    return torch.from_numpy(padded)
