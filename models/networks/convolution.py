"""Convolution over time that knows which steps are valid."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.batch import step_mask


class MaskedConvolution(nn.Module):
    """Convolution, batch normalisation, ReLU; steps that are not valid are zero before and after.

    Batch statistics are those of the valid steps; fewer than two have none, and are normalised by the running ones.

    Args:
        before, after: channels.
        kernel: odd.

    Source: Li et al. 2021, section 2.2; Krishna 2021, eq. 1.
    """

    def __init__(self, before: int, after: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(before, after, kernel, stride, padding=kernel // 2)
        self.norm = nn.BatchNorm1d(after)
        self.stride = stride

    def forward(self, x: Tensor, lengths: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [B, before, T] -> [B, after, T'] with T' = ceil(T / stride), its lengths and its mask."""
        x = self.convolution(x.masked_fill(~mask[:, None, :], 0.0)).transpose(1, 2)
        lengths = (lengths - 1) // self.stride + 1
        mask = step_mask(lengths, x.shape[1])
        if torch.compiler.is_exporting():  # the shape of nothing may depend on the mask there
            x = self._running(x.transpose(1, 2)).relu()
            return x.masked_fill(~mask[:, None, :], 0.0), lengths, mask
        valid = self._normalise(x[mask]).relu()  # [n_valid, after]: padding never enters the statistics
        x = x.new_zeros(x.shape, dtype=valid.dtype)
        x[mask] = valid
        return x.transpose(1, 2), lengths, mask

    def _normalise(self, steps: Tensor) -> Tensor:
        return self.norm(steps) if len(steps) > 1 else self._running(steps)

    def _running(self, steps: Tensor) -> Tensor:
        norm = self.norm
        return functional.batch_norm(
            steps, norm.running_mean, norm.running_var, norm.weight, norm.bias, training=False, eps=norm.eps
        )
