"""MulT: two sequences that were never aligned, each of which reads the other, then itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from warehouse.catalog import Count, Share
from warehouse.errors import InvalidField

if TYPE_CHECKING:
    from models.network import Network


@dataclass(frozen=True)
class Mult:
    """Each stream: stored states -> convolution -> cross-attention blocks that ask the other stream's convolved states
    -> self-attention blocks -> one vector. Both vectors -> two linear layers with a residual sum -> classes.

    The states are those of any feature, of one layer or of several (then their learned mean); they are standardised
    with the mean and deviation of the training part. One modality alone has its self-attention blocks only. The sizes
    are those of Kim & Kang 2022, who compare with this network and do not say its own.

    Different from the released code: two modalities in place of three; one dropout everywhere; the mean over time.

    Args:
        modalities: what is heard (role 'audio_states') and read (role 'text_states').
        channels: of the convolution, and width of the blocks.
        kernel: of the convolution; odd.
        blocks: of cross-attention, and as many of self-attention.
        heads, feed_forward: of each block.
        dropout: of what goes into the blocks, in them, and between the last two linear layers.
        pooling: 'mean' over time, or the 'last' step, as released.

    Source: Tsai et al. 2019, section 3; Kim & Kang 2022, section 4.2 and table 2.
    """

    version: ClassVar[int] = 1
    terms: ClassVar[Mapping[str, tuple[str, ...]]] = {"label": ()}

    modalities: Literal["both", "audio", "text"] = "both"
    channels: Count = 32
    kernel: Count = 1
    blocks: Count = 3
    heads: Count = 2
    feed_forward: Count = 128
    dropout: Share = 0.1
    pooling: Literal["mean", "last"] = "mean"

    def __post_init__(self) -> None:
        where = "student 'mult'"
        if self.kernel % 2 == 0:
            raise InvalidField(where, "kernel", f"is {self.kernel}, but must be odd")
        if self.channels % self.heads or self.channels % 2:
            problem = f"are {self.channels}, but must be even and a multiple of heads ({self.heads})"
            raise InvalidField(where, "channels", problem)

    @property
    def inputs(self) -> tuple[str, ...]:
        streams = ("audio", "text") if self.modalities == "both" else (self.modalities,)
        return tuple(f"{stream}_states" for stream in streams)

    def module(self, shapes: Mapping[str, tuple[int, ...]], classes: Sequence[str], init: Path | None) -> Network:
        """The network.

        Raises:
            ShapeDiffers: an input has no steps.
            InvalidField: an initial checkpoint is given: it begins anew.
        """
        from models.networks.mult import MultNetwork

        if init is not None:
            raise InvalidField("student 'mult'", "init", "cannot be given: it begins anew")
        return MultNetwork(self, {role: shapes[role] for role in self.inputs}, len(classes))
