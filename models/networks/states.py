"""The states of one layer of an encoder, as the lake keeps them: steps, with or without an axis of layers of size 1."""

from __future__ import annotations

from torch import Tensor

from models.batch import Batch
from warehouse.errors import ShapeDiffers


def width_of(role: str, shape: tuple[int, ...]) -> int:
    """The dimensions of a state.

    Raises:
        ShapeDiffers: the array is no steps of one layer.
    """
    if len(shape) == 2 or (len(shape) == 3 and shape[0] == 1):
        return shape[-1]
    raise ShapeDiffers(role, shape, "steps of one layer are wanted, (n_steps, dim) or (1, n_steps, dim)")


def states_of(batch: Batch, role: str) -> tuple[Tensor, Tensor]:
    """The states of a batch, [B, T, dim], and their mask, bool [B, T]."""
    array = batch.arrays[role]
    return (array[:, 0] if array.ndim == 4 else array), batch.mask(role)
