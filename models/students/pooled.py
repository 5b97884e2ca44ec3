"""A probe: the states of any encoder, pooled over time, and one linear layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from warehouse.catalog import CountOrZero, Share
from warehouse.errors import InvalidField

if TYPE_CHECKING:
    from models.network import Network


@dataclass(frozen=True)
class Pooled:
    """Stored states -> mean over time -> linear layer. What an encoder's states tell without a network of ours.

    The states are those of any feature, standardised with the mean and deviation of the training part. Of a stack of
    several layers the weighted mean is taken, whose weights are learned (`models.networks.pools.LayerMean`). Of two
    modalities the pooled vectors stand one after the other.

    Args:
        modalities: what is heard (role 'audio_states') and read (role 'text_states').
        pooling: 'mean' over time, or 'statistics': mean and deviation.
        hidden: dimensions of a layer with ReLU before the last; 0 has none.
        dropout: of the pooled vector, and of the hidden layer.
    """

    version: ClassVar[int] = 1
    terms: ClassVar[Mapping[str, tuple[str, ...]]] = {"label": ()}

    modalities: Literal["both", "audio", "text"] = "both"
    pooling: Literal["mean", "statistics"] = "mean"
    hidden: CountOrZero = 0
    dropout: Share = 0.0

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
        from models.networks.pooled import PooledNetwork

        if init is not None:
            raise InvalidField("student 'pooled'", "init", "cannot be given: it begins anew")
        return PooledNetwork(self, {role: shapes[role] for role in self.inputs}, len(classes))
