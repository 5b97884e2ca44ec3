"""Cross-modal attention: speech and text, each by a pretrained encoder, ask each other and are pooled by statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from warehouse.catalog import Count, Share
from warehouse.errors import InvalidField, ShapeDiffers

if TYPE_CHECKING:
    from models.network import Network


@dataclass(frozen=True)
class CrossAttention:
    """Audio: encoder -> 2 convolutions -> BiLSTM -> attention over the text. Text: encoder -> linear -> attention over
    the audio. Mean and deviation over time of both -> one linear layer.

    The paper lets the learning rate decay by the loss of the test part; here the schedule 'plateau' looks at dev.
    What it leaves open and we chose: residual sums around attention and feed-forward, as in Vaswani et al. 2017;
    one modality alone has no attention; dropout inside attention too.

    Args:
        modalities: what is heard and read.
        trained: the encoders are inside and learn, the convolutions of the one for sound excepted: roles 'wave' and
            'text', slots 'audio' and 'text'. Otherwise the states of any encoders are read from the lake, one layer
            each: roles 'audio_states' and 'text_states'.
        channels: of the convolutions (kernel 3, stride 2), and width of attention.
        lstm: hidden dimensions of each direction.
        heads, feed_forward: of attention.
        scale: of its scores: 'root' divides by √d as its source does, 'printed' by d as the paper prints it.
        dropout: behind the BiLSTM and in attention.
        max_tokens: of a text whose encoder is inside; the rest is cut.

    Source: Krishna 2021, sections 2 and 4.
    """

    version: ClassVar[int] = 1
    terms: ClassVar[Mapping[str, tuple[str, ...]]] = {"label": ()}

    modalities: Literal["both", "audio", "text"] = "both"
    trained: bool = True
    channels: Count = 256
    lstm: Count = 128
    heads: Count = 8
    feed_forward: Count = 256
    scale: Literal["root", "printed"] = "root"
    dropout: Share = 0.2
    max_tokens: Count = 128

    def __post_init__(self) -> None:
        where = "student 'cross_attention'"
        if self.channels % self.heads:
            problem = f"are {self.channels}, but must be a multiple of heads ({self.heads})"
            raise InvalidField(where, "channels", problem)
        if self.modalities == "both" and self.channels != 2 * self.lstm:
            problem = f"is {self.lstm}, but both directions together must be as wide as channels ({self.channels})"
            raise InvalidField(where, "lstm", problem)

    @property
    def encoders(self) -> tuple[str, ...]:
        return self._of("audio", "text") if self.trained else ()

    @property
    def inputs(self) -> tuple[str, ...]:
        return self._of("wave", "text") if self.trained else self._of("audio_states", "text_states")

    @property
    def waves(self) -> tuple[str, ...]:
        return tuple(role for role in self.inputs if role == "wave")

    def _of(self, audio: str, text: str) -> tuple[str, ...]:
        return {"both": (audio, text), "audio": (audio,), "text": (text,)}[self.modalities]

    def module(
        self, shapes: Mapping[str, tuple[int, ...]], classes: Sequence[str], init: Path | None,
        encoders: Mapping[str, Path] | None = None,
    ) -> Network:  # fmt: skip
        """The network.

        Raises:
            ShapeDiffers: stored states are no steps of one layer.
            InvalidField: an initial checkpoint is given: it begins with its encoders.
        """
        from models.networks.cross_attention import CrossAttentionNetwork
        from models.networks.states import width_of

        if init is not None:
            raise InvalidField("student 'cross_attention'", "init", "cannot be given: it begins with its encoders")
        if "text" in self.inputs and shapes["text"] != ():
            raise ShapeDiffers("text", shapes["text"], "this student reads text")
        widths = {role: width_of(role, shapes[role]) for role in self.inputs if role.endswith("_states")}
        return CrossAttentionNetwork(self, widths, encoders or {}, len(classes))
