"""The network of `models.students.mced`. Padding changes nothing: every layer knows which steps are valid."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from models import losses
from models.batch import Batch, step_mask
from models.checkpoint import read_card
from models.network import Network, reaching
from models.networks.attention import TransformerLayer, sinusoids
from models.networks.convolution import MaskedConvolution
from models.networks.pools import masked_max
from models.weights import load_matching
from warehouse.errors import NothingLoaded

if TYPE_CHECKING:
    from models.students.mced import Mced


class MultiLevelStudent(Network):
    """See `models.students.mced.Mced`.

    Args:
        dim: of a frame.
        teacher_dim: width of the teacher, where its hidden layers teach.
        init: folder of a checkpoint whose weights are taken where name and shape agree; those of the last linear
            layer only when it has the same classes in the same order.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self, student: Mced, dim: int, teacher_dim: int | None, classes: tuple[str, ...], init: Path | None
    ) -> None:
        super().__init__()
        self.student = student
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))
        sizes = [dim] + [student.channels] * len(student.strides)
        self.convolutions = nn.ModuleList(
            MaskedConvolution(before, after, student.kernel, stride)
            for before, after, stride in zip(sizes[:-1], sizes[1:], student.strides, strict=True)
        )
        self.project = nn.Linear(sizes[-1], student.width) if sizes[-1] != student.width else nn.Identity()
        self.dropout = nn.Dropout(student.dropout)
        self.layers = nn.ModuleList(
            TransformerLayer(student.width, student.heads, student.feed_forward, student.dropout)
            for _ in range(student.layers)
        )
        self.inner = nn.Linear(student.width, student.width)
        self.outer = nn.Linear(student.width, len(classes))
        self.alignments = nn.ModuleList(
            SoftAlign(teacher_dim, student.width) for _ in student.student_layers if teacher_dim is not None
        )
        if init is not None:
            never = () if read_card(init).classes == classes else ("outer.weight", "outer.bias")
            self.fresh = load_matching(self, init, never)
            if len(self.fresh) == len(self.state_dict()):
                raise NothingLoaded("students.mced", init)

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Takes mean and deviation of all valid frames; those of an initial checkpoint stand."""
        if self.fresh is not None and "mean" not in self.fresh:
            return
        n, total = 0, torch.zeros_like(self.mean, dtype=torch.float64)
        squares = total.clone()
        for batch in batches:
            frames = batch.arrays["speech"][batch.mask("speech")].double()
            n, total, squares = n + len(frames), total + frames.sum(0), squares + frames.square().sum(0)
        mean = total / max(n, 1)
        deviation = (squares / max(n, 1) - mean.square()).clamp(min=0).sqrt()
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(deviation > 1e-6 * mean.abs().clamp(min=1), deviation, 1.0))

    def forward(self, batch: Batch) -> Tensor:
        """Logits, [B, n_classes]."""
        states, valid = self._hidden(batch)
        return self._classify(states[-1], valid)

    def last_layers(self) -> Sequence[nn.Linear]:
        return (self.outer,)

    def losses(self, batch: Batch, terms: Sequence[str]) -> dict[str, Tensor]:
        """'response', 'feature' and 'label', those of them that are asked for."""
        states, valid = self._hidden(batch)
        found = {}
        if "feature" in terms:
            found["feature"] = self._feature(batch, states, valid)
            if not {"response", "label"} & set(terms):
                above = self.layers[max(self.student.student_layers) :]
                found["feature"] = reaching(found["feature"], above, self.inner, self.outer)
        if "response" in terms or "label" in terms:
            logits = self._classify(states[-1], valid)
            if "response" in terms:
                teacher = batch.arrays["teacher_logits"]
                found["response"] = losses.response_distillation(logits, teacher, self.student.temperature)
            if "label" in terms:
                found["label"] = self.label_loss(logits, batch)
        return {term: found[term] for term in terms}

    def _hidden(self, batch: Batch) -> tuple[list[Tensor], Tensor]:
        """The output of every transformer layer, [B, T', width], and which of its steps are valid, [B, T']."""
        x, lengths = self._standardised(batch)
        mask = step_mask(lengths, x.shape[1])
        x = x.transpose(1, 2)
        for convolution in self.convolutions:
            x, lengths, mask = convolution(x, lengths, mask)
        x = self.project(x.transpose(1, 2))
        x = self.dropout(x + sinusoids(x.shape[1], x.shape[2], x.device))
        states = []
        for layer in self.layers:
            x = layer(x, mask)
            states.append(x)
        return states, mask

    def _standardised(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Frames [B, T, dim] with zeros, the average frame, where there is no valid one; and lengths."""
        x = (batch.arrays["speech"] - self.mean) / self.scale
        x = x * batch.mask("speech")[..., None]
        least = self.student.min_frames
        missing = least if torch.compiler.is_exporting() else max(0, least - x.shape[1])  # there T is not known
        return functional.pad(x, (0, 0, 0, missing)), batch.lengths["speech"].clamp(min=least)

    def _classify(self, state: Tensor, valid: Tensor) -> Tensor:
        return self.outer(self.dropout(self.inner(masked_max(state, valid)).relu()))

    def _feature(self, batch: Batch, states: list[Tensor], valid: Tensor) -> Tensor:
        tokens = batch.mask("teacher_hidden")
        student = self.student
        terms = []
        for align, position, layer, weight in zip(
            self.alignments, student.teacher_layers, student.student_layers, student.layer_weights, strict=True
        ):
            teacher = batch.arrays["teacher_hidden"][:, position]
            aligned = align(teacher, states[layer - 1], valid)
            terms.append(weight * losses.feature_distillation(teacher, aligned, tokens))
        return torch.stack(terms).sum()


class SoftAlign(nn.Module):
    """The three matrices of `losses.soft_align`."""

    def __init__(self, teacher_dim: int, student_dim: int) -> None:
        super().__init__()
        self.query = nn.Parameter(_uniform(teacher_dim, teacher_dim))
        self.key = nn.Parameter(_uniform(student_dim, teacher_dim))
        self.value = nn.Parameter(_uniform(student_dim, teacher_dim))

    def forward(self, teacher: Tensor, student: Tensor, student_mask: Tensor) -> Tensor:
        return losses.soft_align(teacher, student, student_mask, self.query, self.key, self.value)


def _uniform(rows: int, columns: int) -> Tensor:
    return torch.empty(rows, columns).uniform_(-1, 1) / math.sqrt(rows)
