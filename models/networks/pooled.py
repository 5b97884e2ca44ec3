"""The network of `models.students.pooled`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from models.batch import Batch
from models.network import Network
from models.networks.pools import masked_mean, masked_statistics
from models.networks.standardised import StandardisedStates, standardise

if TYPE_CHECKING:
    from models.students.pooled import Pooled


class PooledNetwork(Network):
    """See `models.students.pooled.Pooled`.

    Args:
        shapes: role -> shape of one utterance's states, for each stream.

    Raises:
        ShapeDiffers: an input has no steps.
    """

    def __init__(self, student: Pooled, shapes: Mapping[str, tuple[int, ...]], n_classes: int) -> None:
        super().__init__()
        self.states = nn.ModuleDict({role: StandardisedStates(role, shape) for role, shape in shapes.items()})
        self.pool = masked_statistics if student.pooling == "statistics" else masked_mean
        width = sum(shape[-1] for shape in shapes.values()) * (2 if student.pooling == "statistics" else 1)
        self.dropout = nn.Dropout(student.dropout)
        self.inner = nn.Linear(width, student.hidden) if student.hidden else None
        self.classify = nn.Linear(student.hidden or width, n_classes)

    def prepare(self, batches: Iterable[Batch]) -> None:
        standardise([*self.states.values()], batches)  # type: ignore[list-item]

    def forward(self, batch: Batch) -> Tensor:
        """Logits, [B, n_classes]."""
        h = self.dropout(torch.cat([self.pool(*states(batch)) for states in self.states.values()], dim=-1))
        if self.inner is not None:
            h = self.dropout(self.inner(h).relu())
        return self.classify(h)

    def last_layers(self) -> Sequence[nn.Linear]:
        return (self.classify,)

    def losses(self, batch: Batch, terms: Sequence[str]) -> dict[str, Tensor]:
        return {"label": self.label_loss(self(batch), batch)}
