"""Batch: what a student sees."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from models.memory import Lend, fresh
from warehouse.errors import ShapeDiffers

T = TypeVar("T")

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
    """The arrays of one role in some batches, as they are stored.

    Args:
        flat: all numbers of each, [n].
        shape: of one; the others differ in no axis but the second to last, the steps.
        lengths: steps of each, int64; None where arrays have none.
        dtype: of all, None where two differ.
    """

    flat: Sequence[np.ndarray]
    shape: tuple[int, ...]
    lengths: Tensor | None
    dtype: np.dtype | None


Row = tuple[slice, tuple[str, ...], dict[str, Tensor], dict[str, tuple[str, ...]], Tensor, Tensor | None]
"""What one batch has of what was gathered: where its utterances stand among all; its ids, lengths, texts, labels and
targets."""


class Gathered(NamedTuple):
    """What some batches are made of: the ids of each, the rest of all, one batch behind the other; as in `Batch`."""

    groups: Sequence[Sequence[str]]
    arrays: Mapping[str, Several]
    texts: Mapping[str, tuple[str, ...]]
    labels: Tensor
    targets: Tensor | None = None

    def rows(self) -> list[Row]:
        """Made at once, and not between two copies of arrays, which leave nothing else in the processor's caches."""
        sizes = [len(group) for group in self.groups]
        parts = [slice(end - n, end) for n, end in zip(sizes, accumulate(sizes), strict=True)]
        lengths = {role: own.lengths.split(sizes) for role, own in self.arrays.items() if own.lengths is not None}
        texts = {role: [own[part] for part in parts] for role, own in self.texts.items()}
        targets: Sequence[Tensor | None] = [None] * len(sizes) if self.targets is None else self.targets.split(sizes)
        return list(zip(
            parts, map(tuple, self.groups), _by_batch(lengths, len(sizes)), _by_batch(texts, len(sizes)),
            self.labels.split(sizes), targets, strict=True,
        ))  # fmt: skip


def _by_batch(columns: Mapping[str, Sequence[T]], n: int) -> list[dict[str, T]]:
    """role -> of each batch one, as for each of n batches role -> one."""
    return [{role: own[number] for role, own in columns.items()} for number in range(n)]


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
    return next(pad(gather(ids, arrays, texts, labels, targets), waves))


def gather(
    ids: Sequence[str], arrays: Mapping[str, Sequence[np.ndarray]], texts: Mapping[str, Sequence[str]],
    labels: Sequence[int], targets: Sequence[np.ndarray] | None = None,
) -> Gathered:  # fmt: skip
    """Looks at what a batch is to be made of. Arguments and errors are those of `collate`."""
    return Gathered(
        [ids],
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
    return Several(flat, shapes[0], lengths_of(shapes), kinds.pop() if len(kinds) == 1 else None)


def lengths_of(shapes: Sequence[tuple[int, ...]]) -> Tensor | None:
    """Steps of each, int64; None where there are none."""
    return torch.from_numpy(np.array([shape[-2] for shape in shapes], np.int64)) if len(shapes[0]) > 1 else None


def form_of(shape: tuple[int, ...]) -> tuple[object, ...]:
    """What the shapes of a role have in common: all but the steps.

    Example:
        >>> form_of((2, 90, 4)) == form_of((2, 7, 4)) != form_of((2, 4))
        True
    """
    return len(shape), shape[:-2], shape[-1:]


def pad(gathered: Gathered, waves: Collection[str] = (), memory: Mapping[str, Lend] | None = None) -> Iterator[Batch]:
    """What `collate` makes, of what was looked at, one batch after the other.

    Args:
        memory: role -> who lends it; fresh where there is none.
    """
    for part, ids, lengths, texts, labels, targets in gathered.rows():
        yield Batch(ids, {
            role: _pad(several.flat[part], several.shape, lengths.get(role), role in waves,
                       memory[role] if memory else fresh)
            for role, several in gathered.arrays.items()
        }, lengths, texts, labels, targets)  # fmt: skip


def as_float32(array: np.ndarray, is_wave: bool) -> np.ndarray:
    """The numbers of an array as students see them."""
    numbers = array.astype(np.float32)
    return numbers * np.float32(1 / FULL_SCALE) if is_wave and array.dtype == np.int16 else numbers


def _pad(
    flat: Sequence[np.ndarray], shape: tuple[int, ...], lengths: Tensor | None, is_wave: bool, lend: Lend
) -> Tensor:
    """Each number is written once, or twice where it is scaled, while its row is still in the cache. Steps and
    dimensions are copied as one axis, which is faster."""
    if lengths is None:
        return torch.from_numpy(np.stack(flat).astype(np.float32))
    steps = lengths.tolist()
    before, dim = shape[:-2], shape[-1]
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
