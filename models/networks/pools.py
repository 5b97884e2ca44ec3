"""From many steps, or many layers, to one: padding never counts, and where no step is valid the result is zeros."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEAST_VARIANCE = 1e-10
"""A dimension that varies less counts as constant: the root's gradient has no bound at 0."""


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over the valid steps.

    Args:
        x: [B, T, dim].
        mask: bool [B, T].

    Returns:
        [B, dim].

    Source: Kim & Kang 2022, algorithm 3, line 8; Zhao et al. 2022, eq. 2.
    """
    return x.masked_fill(~mask[..., None], 0.0).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)


def masked_max(x: Tensor, mask: Tensor) -> Tensor:
    """Largest value of each dimension over the valid steps; shapes as in `masked_mean`.

    Source: Li et al. 2021, section 2.2; Ghosh et al. 2023, eq. 3.
    """
    largest = x.masked_fill(~mask[..., None], -torch.inf).amax(dim=1)
    return largest.masked_fill(~mask.any(dim=1, keepdim=True), 0.0)


def masked_statistics(x: Tensor, mask: Tensor) -> Tensor:
    """Mean and standard deviation of each dimension over the n valid steps, one after the other.

    The deviation divides by n, so that one step has the deviation 0. The paper does not say what it divides by.

    Args:
        x: [B, T, dim].
        mask: bool [B, T].

    Returns:
        [B, 2 * dim].

    Source: Krishna 2021, section 2.5.
    """
    mean = masked_mean(x, mask)
    variance = masked_mean((x - mean[:, None]).masked_fill(~mask[..., None], 0.0).square(), mask)
    deviation = variance.clamp(min=LEAST_VARIANCE).sqrt() * (variance > LEAST_VARIANCE)
    return torch.cat([mean, deviation], dim=-1)


class LayerMean(nn.Module):
    """Learned weighted mean over the layers of an encoder, then layer normalisation.

    Source: Zhao et al. 2022, eq. 1, with w_l = exp(a_l): the weights stay positive and their sum away from 0.
    """

    def __init__(self, n_layers: int, width: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(n_layers))
        self.norm = nn.LayerNorm(width)

    @property
    def weights(self) -> Tensor:
        """What each layer weighs, [n_layers]: positive, with the sum 1; all alike in the beginning."""
        return self.scores.softmax(dim=0)

    def forward(self, stack: Tensor) -> Tensor:
        """[B, n_layers, T, width] -> [B, T, width], each step for itself."""
        return self.norm(torch.einsum("l,bltd->btd", self.weights.to(stack.dtype), stack))
