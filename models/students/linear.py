"""Multinomial logistic regression on one vector per utterance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from warehouse.catalog import Positive
from warehouse.errors import InvalidField, ShapeDiffers

if TYPE_CHECKING:
    from models.network import Network


@dataclass(frozen=True)
class Linear:
    """Standardise each dimension over the training part, then regress with an L2 penalty.

    Args:
        inverse_strength: of the penalty; scikit-learn's C. Smaller is more regular.
        balanced: weigh each class inversely to its share of the training part.
    """

    version: ClassVar[int] = 1
    inputs: ClassVar[tuple[str, ...]] = ("vector",)
    terms: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    inverse_strength: Positive = 1.0
    balanced: bool = False

    def module(self, shapes: Mapping[str, tuple[int, ...]], classes: Sequence[str], init: Path | None) -> Network:
        """The network.

        Raises:
            ShapeDiffers: the input is not one vector per utterance.
            InvalidField: an initial checkpoint is given, which could change nothing.
        """
        from models.networks.linear import LogisticRegressor

        if len(shapes["vector"]) != 1:
            raise ShapeDiffers("vector", shapes["vector"], "this student reads one vector per utterance, (dim,)")
        if init is not None:
            raise InvalidField("student 'linear'", "init", "cannot be given: its one solution depends on no beginning")
        return LogisticRegressor(self, shapes["vector"][0], len(classes))
