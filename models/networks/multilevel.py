"""The network of `models.students.multilevel`: streams of layers, and the ways to fuse them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from models.batch import Batch
from models.network import Network
from models.networks.attention import TransformerLayer
from models.networks.fusion import CoAttention, ResidualFusion
from models.networks.pools import masked_mean
from models.networks.standardised import StandardisedStates, standardise
from models.students.multilevel import TOKENS

if TYPE_CHECKING:
    from models.students.multilevel import Multilevel

Stream = tuple[Tensor, Tensor]
"""Steps [B, T, dim], and which are valid: bool [B, T]."""


class MultilevelNetwork(Network):
    """See `models.students.multilevel.Multilevel`.

    Args:
        shapes: role -> shape of one utterance's states.

    Raises:
        ShapeDiffers: a role has no steps.
    """

    def __init__(self, student: Multilevel, shapes: Mapping[str, tuple[int, ...]], n_classes: int) -> None:
        super().__init__()
        self.student = student
        self.states = nn.ModuleDict({role: StandardisedStates(role, shape) for role, shape in shapes.items()})
        dims = {role: shape[-1] for role, shape in shapes.items()}
        self.fusion = _FUSIONS[student.fusion](student, dims, n_classes)

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Takes mean and deviation of the steps of speech; the text stays as it is."""
        speech = [states for role, states in self.states.items() if role != TOKENS]
        if self.student.normalised and speech:
            standardise(speech, batches)  # type: ignore[arg-type]

    def forward(self, batch: Batch) -> Tensor:
        """Logits, [B, n_classes]."""
        logits: Tensor = self.fusion({role: states(batch) for role, states in self.states.items()})
        return logits

    def last_layers(self) -> Sequence[nn.Linear]:
        return [layer for name, layer in self.fusion.named_modules() if name.split(".")[-1] == "classify"]

    def losses(self, batch: Batch, terms: Sequence[str]) -> dict[str, Tensor]:
        return {"label": self.label_loss(self(batch), batch)}


# -- fusions: role -> stream, to logits [B, n_classes] -------------------------------------------------------------


class Branch(nn.Module):
    """FC, ReLU, FC, ReLU, mean over steps, FC. Source: Zhao et al. 2022, section 2.2, eq. 2."""

    def __init__(self, student: Multilevel, dim: int, n_classes: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(dim, student.hidden), nn.Linear(student.hidden, student.hidden)
        self.classify = nn.Linear(student.hidden, n_classes)
        self.dropout = nn.Dropout(student.dropout)

    def forward(self, u: Tensor, mask: Tensor) -> Tensor:
        """A stream -> [B, n_classes]."""
        h = self.dropout(self.first(u).relu())
        return self.classify(masked_mean(self.dropout(self.second(h).relu()), mask))


class LateFusion(nn.Module):
    """The logits of one branch per role, added up; of one role, the linear model. Source: Zhao et al. 2022, eq. 3."""

    def __init__(self, student: Multilevel, dims: Mapping[str, int], n_classes: int) -> None:
        super().__init__()
        self.branches = nn.ModuleDict({role: Branch(student, dim, n_classes) for role, dim in dims.items()})

    def forward(self, streams: Mapping[str, Stream]) -> Tensor:
        return torch.stack([self.branches[role](*stream) for role, stream in streams.items()]).sum(dim=0)


class Concatenation(nn.Module):
    """One branch over all roles. Source: Zhao et al. 2022, end of section 2.3."""

    def __init__(self, student: Multilevel, dims: Mapping[str, int], n_classes: int) -> None:
        super().__init__()
        self.by_steps = student.joined == "steps"
        dim = next(iter(dims.values())) if self.by_steps else sum(dims.values())
        self.branch = Branch(student, dim, n_classes)

    def forward(self, streams: Mapping[str, Stream]) -> Tensor:
        several, masks = zip(*streams.values(), strict=True)
        if self.by_steps:
            logits: Tensor = self.branch(torch.cat(several, dim=1), torch.cat(masks, dim=1))
            return logits
        means = torch.cat([masked_mean(u, mask) for u, mask in streams.values()], dim=-1)[:, None]
        return self.branch(means, means.new_ones(means.shape[:2], dtype=torch.bool))


class EarlyFusion(nn.Module):
    """Co-attention of the text with each granularity, and what it finds side by side.

    Source: Zhao et al. 2022, section 2.3, eq. 4 and figure 3.
    """

    def __init__(self, student: Multilevel, dims: Mapping[str, int], n_classes: int) -> None:
        super().__init__()
        self.shared = student.shared
        self.to_width = nn.ModuleDict({role: _to_width(dim, student.width) for role, dim in dims.items()})
        speech = [role for role in dims if role != TOKENS]
        self.co_attention = nn.ModuleDict(
            {
                name: nn.ModuleList(CoAttention(*_size(student)) for _ in range(student.layers))
                for name in dict.fromkeys(map(self._layers_of, speech))
            }
        )
        self.head = Head(student, len(speech) * student.width, n_classes)

    def forward(self, streams: Mapping[str, Stream]) -> Tensor:
        streams = {role: (self.to_width[role](u), mask) for role, (u, mask) in streams.items()}
        text, text_mask = streams[TOKENS]
        found = []
        for role, (speech, mask) in streams.items():
            if role == TOKENS:
                continue
            t, s = text, speech
            for layer in self.co_attention[self._layers_of(role)].children():
                t, s = layer(t, text_mask, s, mask)
            found.append((masked_mean(t, text_mask) + masked_mean(s, mask)) / 2)
        logits: Tensor = self.head(torch.cat(found, dim=-1))
        return logits

    def _layers_of(self, role: str) -> str:
        return "speech" if self.shared else role


class SelfAttention(nn.Module):
    """The transformer encoder over one role. Source: Zhao et al. 2022, section 3.3, with the last layers of eq. 4."""

    def __init__(self, student: Multilevel, dims: Mapping[str, int], n_classes: int) -> None:
        super().__init__()
        self.to_width = nn.ModuleDict({role: _to_width(dim, student.width) for role, dim in dims.items()})
        self.layers = nn.ModuleList(TransformerLayer(*_size(student)) for _ in range(student.layers))
        self.head = Head(student, student.width, n_classes)

    def forward(self, streams: Mapping[str, Stream]) -> Tensor:
        ((role, (u, mask)),) = streams.items()
        u = self.to_width[role](u)
        for layer in self.layers:
            u = layer(u, mask)
        logits: Tensor = self.head(masked_mean(u, mask))
        return logits


class Head(nn.Module):
    """g = LN(ReLU(W c + b) + c), dropout, FC. Source: Zhao et al. 2022, eq. 4."""

    def __init__(self, student: Multilevel, width: int, n_classes: int) -> None:
        super().__init__()
        self.fuse = ResidualFusion(width)
        self.dropout = nn.Dropout(student.dropout)
        self.classify = nn.Linear(width, n_classes)

    def forward(self, c: Tensor) -> Tensor:
        """[B, width] -> [B, n_classes]."""
        return self.classify(self.dropout(self.fuse(c)))


def _size(student: Multilevel) -> tuple[int, int, int, float]:
    return student.width, student.heads, student.feed_forward, student.dropout


def _to_width(dim: int, width: int) -> nn.Module:
    return nn.Identity() if dim == width else nn.Linear(dim, width)


_FUSIONS = {
    "late": LateFusion, "linear": LateFusion, "early": EarlyFusion, "concatenation": Concatenation,
    "transformer": SelfAttention,
}  # fmt: skip
