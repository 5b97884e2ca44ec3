"""The network of `models.students.mult`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from models.batch import Batch
from models.network import Network
from models.networks.attention import TransformerLayer, sinusoids
from models.networks.pools import masked_mean
from models.networks.standardised import StandardisedStates, standardise

if TYPE_CHECKING:
    from models.students.mult import Mult


class MultNetwork(Network):
    """See `models.students.mult.Mult`.

    Args:
        shapes: role -> shape of one utterance's states, for each stream.

    Raises:
        ShapeDiffers: an input has no steps.
    """

    def __init__(self, student: Mult, shapes: Mapping[str, tuple[int, ...]], n_classes: int) -> None:
        super().__init__()
        self.student = student
        self.states = nn.ModuleDict({role: StandardisedStates(role, shape) for role, shape in shapes.items()})
        self.convolutions = nn.ModuleDict({
            role: nn.Conv1d(shape[-1], student.channels, student.kernel, padding=student.kernel // 2, bias=False)
            for role, shape in shapes.items()
        })  # fmt: skip
        crossed = shapes if len(shapes) == 2 else ()
        self.across = nn.ModuleDict({role: PlacedTransformer(student) for role in crossed})
        self.within = nn.ModuleDict({role: PlacedTransformer(student) for role in shapes})
        width = len(shapes) * student.channels
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)
        self.dropout = nn.Dropout(student.dropout)
        self.classify = nn.Linear(width, n_classes)

    def prepare(self, batches: Iterable[Batch]) -> None:
        standardise([*self.states.values()], batches)  # type: ignore[list-item]

    def forward(self, batch: Batch) -> Tensor:
        """Logits, [B, n_classes]."""
        z, masks = {}, {}
        for role, states in self.states.items():
            x, masks[role] = states(batch)
            z[role] = self.convolutions[role](x.transpose(1, 2)).transpose(1, 2)
        pooled = []
        for role, mask in masks.items():
            x = z[role]
            if self.across:
                (other,) = masks.keys() - {role}
                x = self.across[role](x, masks[other], z[other])
            pooled.append(self._pool(self.within[role](x, mask), mask))
        h = torch.cat(pooled, dim=-1)
        return self.classify(h + self.outer(self.dropout(self.inner(h).relu())))

    def last_layers(self) -> Sequence[nn.Linear]:
        return (self.classify,)

    def losses(self, batch: Batch, terms: Sequence[str]) -> dict[str, Tensor]:
        return {"label": self.label_loss(self(batch), batch)}

    def _pool(self, x: Tensor, mask: Tensor) -> Tensor:
        if self.student.pooling == "mean":
            return masked_mean(x, mask)
        last = torch.arange(mask.shape[1], device=mask.device) == mask.sum(dim=1, keepdim=True) - 1
        return masked_mean(x, last)


class PlacedTransformer(nn.Module):
    """Positions, layers that normalise what goes into them, and a normalisation at the end. With a context, every layer
    asks the same one, which has positions too.

    Source: Tsai et al. 2019, section 3, and its released code: the factor √width, positions before each transformer.
    """

    def __init__(self, student: Mult) -> None:
        super().__init__()
        size = student.channels, student.heads, student.feed_forward, student.dropout
        self.layers = nn.ModuleList(TransformerLayer(*size, pre_norm=True) for _ in range(student.blocks))
        self.norm = nn.LayerNorm(student.channels)
        self.dropout = nn.Dropout(student.dropout)

    def forward(self, x: Tensor, mask: Tensor, context: Tensor | None = None) -> Tensor:
        """x [B, T, width] to the same shape; the mask is that of the context, [B, S], where there is one."""
        x = self._placed(x)
        context = None if context is None else self._placed(context)
        for layer in self.layers:
            x = layer(x, mask, context)
        return self.norm(x)

    def _placed(self, x: Tensor) -> Tensor:
        _, n_steps, width = x.shape
        return self.dropout(math.sqrt(width) * x + sinusoids(n_steps, width, x.device))
