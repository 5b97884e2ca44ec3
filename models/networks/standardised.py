"""Stored states of any encoder, or any frames, as a small network can read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.batch import Batch
from models.networks.pools import LayerMean
from warehouse.errors import ShapeDiffers

LEAST_DEVIATION = 1e-6
"""A dimension whose deviation is less, as a share of its mean, counts as constant and is only centred."""


class StandardisedStates(nn.Module):
    """The states of a role: each dimension of each layer standardised, and several layers made one by `LayerMean`.

    Args:
        role: of the batch.
        shape: of one utterance's array, (n_steps, dim) or (n_layers, n_steps, dim).

    Raises:
        ShapeDiffers: the array has no steps.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, role: str, shape: tuple[int, ...]) -> None:
        super().__init__()
        if len(shape) not in (2, 3):
            raise ShapeDiffers(role, shape, "steps are wanted, (n_steps, dim) or (n_layers, n_steps, dim)")
        self.role, self.dim = role, shape[-1]
        n_layers = shape[0] if len(shape) == 3 else 1
        self.register_buffer("mean", torch.zeros(n_layers, 1, self.dim))
        self.register_buffer("scale", torch.ones(n_layers, 1, self.dim))
        self.layers = LayerMean(n_layers, self.dim) if n_layers > 1 else None

    def stack(self, batch: Batch) -> Tensor:
        """As stored, [B, n_layers, T, dim]."""
        array = batch.arrays[self.role]
        return array if array.ndim == 4 else array[:, None]

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """
        Returns:
            States, [B, T, dim], zeros where no step is valid; and their mask, bool [B, T]. T is at least 1, which no
            convolution can do without, even if nobody has a step.
        """
        mask = batch.mask(self.role)
        x = (self.stack(batch) - self.mean) / self.scale
        x = x[:, 0] if self.layers is None else self.layers(x)
        missing = max(0, 1 - mask.shape[1])
        x, mask = functional.pad(x, (0, 0, 0, missing)), functional.pad(mask, (0, missing))
        return x.masked_fill(~mask[..., None], 0.0), mask


@torch.no_grad()
def standardise(streams: Sequence[StandardisedStates], batches: Iterable[Batch]) -> None:
    """Gives each stream the mean and the deviation of all valid steps of these batches, which are read once."""
    moments = [_Moments() for _ in streams]
    for batch in batches:
        for stream, own in zip(streams, moments, strict=True):
            own.see(stream.stack(batch).movedim(2, 1)[batch.mask(stream.role)])
    for stream, own in zip(streams, moments, strict=True):
        if own.n:
            mean, deviation = (tensor[:, None] for tensor in own.result())
            stream.mean.copy_(mean)
            stream.scale.copy_(torch.where(deviation > LEAST_DEVIATION * mean.abs().clamp(min=1), deviation, 1.0))


class _Moments:
    """Of steps [n, n_layers, dim], some at a time. All are seen from the mean of the first: a deviation that is small
    beside the mean is lost in neither the squares nor the sums, and no step is copied in double precision."""

    def __init__(self) -> None:
        self.n = 0
        self._centre = self._sum = self._squares = torch.zeros(())

    def see(self, steps: Tensor) -> None:
        if not len(steps):
            return
        if not self.n:
            self._centre = steps.mean(dim=0)
        steps = steps - self._centre
        self.n += len(steps)
        self._sum = self._sum + steps.sum(dim=0, dtype=torch.float64)
        self._squares = self._squares + steps.square().sum(dim=0, dtype=torch.float64)

    def result(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation, float64 [n_layers, dim]."""
        shift = self._sum / self.n
        deviation = (self._squares / self.n - shift.square()).clamp(min=0).sqrt()
        return self._centre + shift, deviation
