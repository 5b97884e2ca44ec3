"""CMD: two small streams, of sound and of text, that ask each other and learn from the states of large encoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from warehouse.catalog import Count, Positive, Share
from warehouse.errors import InvalidField, ShapeDiffers

if TYPE_CHECKING:
    from models.network import Network


@dataclass(frozen=True)
class Cmd:
    """Each stream: the input embedding of its teacher -> convolution -> cross-attention blocks -> self-attention
    blocks -> mean over time -> linear, ReLU, linear. The streams' probabilities are averaged.

    The embeddings are a part of the student and learn with it: of sound the convolutions and the projection behind
    them (slot 'audio'), of text the embeddings of words and positions (slot 'text').

    The term 'distill' draws each step to the teacher's state of the same step, away from all others of the batch. It
    reads 'teacher_audio' and 'teacher_text': stored states, one layer, of encoders with as many steps, best the last
    layer of the two that fill the slots. The term 'label' is the fine-tuning.

    An initial checkpoint gives all but the last two linear layers of each stream, which begin anew.

    With wav2vec 2.0 base and BERT base the streams have 4,696,288 and 23,938,016 weights, not counting those last two
    layers (paper: 5 M of 94 M, 24 M of 109 M).

    What the paper leaves open and we chose: dropout; both streams of a cross-attention block read what the block before
    left; frames get no positions beyond what the convolutions tell; each stream has linear layers of its own; one
    modality alone has its self-attention blocks only.

    Args:
        modalities: what is heard and read.
        fusion: 'early' crosses the streams first, 'late' last.
        blocks: of cross-attention, and as many of self-attention.
        channels: of the convolution, and width of the blocks.
        kernel: of the convolution; odd.
        heads, feed_forward: of each block.
        latent: dimensions in which student and teacher are compared.
        hidden: dimensions between the last two linear layers.
        temperature: κ, of the contrast in 'distill' and of the probabilities.
        similarity: in 'distill'; the equations do not say, figure 5 shows a product.
        dropout: in the blocks.
        max_tokens: longer texts lose their end; it must be that of the feature behind 'teacher_text'.

    Source: Kim & Kang 2022, sections 3 and 4.2.
    """

    version: ClassVar[int] = 1

    modalities: Literal["both", "audio", "text"] = "both"
    fusion: Literal["early", "late"] = "early"
    blocks: Count = 3
    channels: Count = 32
    kernel: Count = 1
    heads: Count = 2
    feed_forward: Count = 128
    latent: Count = 32
    hidden: Count = 32
    temperature: Positive = 0.1
    similarity: Literal["cosine", "dot"] = "cosine"
    dropout: Share = 0.1
    max_tokens: Count = 64

    def __post_init__(self) -> None:
        where = "student 'cmd'"
        if self.channels % self.heads:
            problem = f"are {self.channels}, but must be a multiple of heads ({self.heads})"
            raise InvalidField(where, "channels", problem)
        if self.kernel % 2 == 0:
            raise InvalidField(where, "kernel", f"is {self.kernel}, but must be odd")

    @property
    def encoders(self) -> tuple[str, ...]:
        return ("audio", "text") if self.modalities == "both" else (self.modalities,)

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple("wave" if stream == "audio" else "text" for stream in self.encoders)

    @property
    def waves(self) -> tuple[str, ...]:
        return tuple(role for role in self.inputs if role == "wave")

    @property
    def terms(self) -> Mapping[str, tuple[str, ...]]:
        return {"distill": tuple(f"teacher_{stream}" for stream in self.encoders), "label": ()}

    def module(
        self, shapes: Mapping[str, tuple[int, ...]], classes: Sequence[str], init: Path | None,
        encoders: Mapping[str, Path] | None = None,
    ) -> Network:  # fmt: skip
        """The network.

        Raises:
            ShapeDiffers: the text is none, or a teacher's states are no steps of one layer.
            MalformedSource: an encoder has no input embedding that can be taken out.
            NothingLoaded: no weight of `init` fits.
        """
        from models.networks.cmd import CmdNetwork
        from models.networks.states import width_of

        if "text" in self.inputs and shapes["text"] != ():
            raise ShapeDiffers("text", shapes["text"], "this student reads text")
        teachers = {role: width_of(role, shapes[role]) for role in self.terms["distill"] if role in shapes}
        return CmdNetwork(self, teachers, encoders or {}, len(classes), init)
