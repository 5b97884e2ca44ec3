"""MCED: a speech student that a text teacher taught, by its answers and by several of its layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from warehouse.catalog import Count, Positive, Share
from warehouse.errors import InvalidField, ShapeDiffers

if TYPE_CHECKING:
    from models.network import Network


@dataclass(frozen=True)
class Mced:
    """Frames -> 4 convolutions -> transformer -> maximum over time -> 2 linear layers.

    What the paper leaves open and we chose: frames are standardised with the mean and deviation of the training
    part (of the initial checkpoint's, where there is one); batch normalisation counts valid steps only; sinusoidal
    positions; the temperature; ReLU after each convolution and inside the transformer; normalisation after each
    residual sum; a clip shorter than `min_frames` counts as that long, the rest being average frames.

    Args:
        kernel, strides, channels: of the convolutions.
        layers, width, heads, feed_forward: of the transformer.
        dropout: in the transformer and between the two linear layers.
        teacher_layers: positions in the stack 'teacher_hidden', counted from 0; with a stack that begins with the
            embeddings, the position is the layer's number.
        student_layers: the transformer layer, counted from 1, that learns from each teacher layer.
        layer_weights: weight of each pair in the term 'feature'.
        temperature: of the term 'response'.

    Source: Li et al. 2021, sections 2.2, 2.3 and 3.2.
    """

    version: ClassVar[int] = 1
    inputs: ClassVar[tuple[str, ...]] = ("speech",)
    terms: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "response": ("teacher_logits",),
        "feature": ("teacher_hidden",),
        "label": (),
    }

    kernel: Count = 5
    strides: tuple[int, ...] = (1, 2, 1, 2)
    channels: Count = 512
    layers: Count = 6
    width: Count = 512
    heads: Count = 4
    feed_forward: Count = 2048
    dropout: Share = 0.1
    min_frames: Annotated[int, Field(ge=8)] = 8
    teacher_layers: tuple[int, ...] = (6, 8, 10, 12)
    student_layers: tuple[int, ...] = (3, 4, 5, 6)
    layer_weights: tuple[float, ...] = (0.1, 0.1, 0.2, 0.3)
    temperature: Positive = 2.0

    def __post_init__(self) -> None:
        where = "student 'mced'"
        if self.kernel % 2 == 0:
            raise InvalidField(where, "kernel", f"is {self.kernel}, but must be odd")
        if self.width % self.heads or self.width % 2:
            problem = f"is {self.width}, but must be even and a multiple of heads ({self.heads})"
            raise InvalidField(where, "width", problem)
        if len({len(self.teacher_layers), len(self.student_layers), len(self.layer_weights)}) > 1:
            raise InvalidField(where, "layer_weights", "must be as many as teacher_layers and as student_layers")
        if not all(1 <= layer <= self.layers for layer in self.student_layers):
            problem = f"are {list(self.student_layers)}, but must be from 1 to {self.layers}"
            raise InvalidField(where, "student_layers", problem)

    def module(self, shapes: Mapping[str, tuple[int, ...]], classes: Sequence[str], init: Path | None) -> Network:
        """The network.

        Raises:
            ShapeDiffers: speech has no steps, the teacher's logits are not one per class, or its stack lacks a layer.
            NothingLoaded: no weight of `init` fits.
        """
        from models.networks.mced import MultiLevelStudent

        if len(shapes["speech"]) != 2:
            raise ShapeDiffers("speech", shapes["speech"], "this student reads frames, (n_frames, dim)")
        logits, hidden = shapes.get("teacher_logits"), shapes.get("teacher_hidden")
        if logits is not None and logits != (len(classes),):
            needed = f"must be ({len(classes)},), one number per class: {', '.join(classes)}"
            raise ShapeDiffers("teacher_logits", logits, needed)
        if hidden is not None and (len(hidden) != 3 or hidden[0] <= max(self.teacher_layers)):
            needed = f"layers {list(self.teacher_layers)} are wanted of a stack (layers, n_tokens, dim)"
            raise ShapeDiffers("teacher_hidden", hidden, needed)
        return MultiLevelStudent(self, shapes["speech"][-1], hidden[-1] if hidden else None, tuple(classes), init)
