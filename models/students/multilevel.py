"""Multi-level, multi-granularity fusion: frames, phones, syllables and words of speech meet the tokens of the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from warehouse.catalog import Count, Share
from warehouse.errors import InvalidField

if TYPE_CHECKING:
    from models.network import Network

_WHERE = "student 'multilevel'"
_ROLES = {"frame": "frames", "phone": "phones", "syllable": "syllables", "word": "words"}
TOKENS = "tokens"
"""The role of the text; all others are speech."""


@dataclass(frozen=True)
class Multilevel:
    """Stored layers of frozen encoders -> learned mean of the layers, normalised (eq. 1) -> fusion -> classes.

    Each granularity of speech is a role of its own ('frames', 'phones', 'syllables', 'words'): the encoder's frames, or
    their means over the segments of an alignment. The text is the role 'tokens'. All are stacks of layers, [n_layers,
    n_steps, dim], or one layer, which is taken as it is.

    Fusions of several roles:
    * 'late' (eq. 2 and 3): each role has a branch FC, ReLU, FC, ReLU, mean over steps, FC; the logits are added up.
    * 'early' (eq. 4): the text meets each granularity in layers of co-attention; mean over steps of both branches, mean
      of the two; side by side; FC with residual sum and normalisation; FC.
    * 'concatenation': all roles are one sequence, or one vector (see `joined`), of one branch as in 'late'.
    What is added up, roles by 'late' or steps by 'concatenation', cannot tell what only both modalities together tell,
    such as whether they agree; 'early' and 'means' can. The mean of the logits of two models (section 2.4) is none of
    these: each is fitted by itself.
    Alone, text or one granularity is 'linear', which is one branch, or 'transformer': layers of self-attention, mean
    over steps, and the two last layers of 'early'.

    What the paper leaves open and we chose: the granularities have co-attention of their own; no positions are added,
    for the encoders have put them into their states; a role whose dimensions are not `width` has a linear map to it
    before attention; speech is normalised at each layer, and each granularity by itself. The mean over steps comes
    before the mean of the two branches, because their steps are not the same. An utterance without a segment is in no
    shard of that granularity, and so in no part of the split; given all the same, its mean over steps is zeros.

    It has 585,040 weights at the size of the paper, which tells none, with 'late' and all five roles; 87,429,160 with
    'early' over frames and phones.

    Args:
        granularities: which of frame, phone, syllable and word, in this order.
        text: whether the text is read.
        fusion: see above.
        joined: in 'concatenation', the 'steps' of all roles follow each other, so that the longest weighs most, or
            their 'means' over steps stand side by side.
        hidden: of both layers of a branch; as in the released code of Pepino et al. 2021, whose structure this is.
        width, layers, heads, feed_forward: of attention. The paper has 768 and 3; it does not tell the others.
        shared: all granularities have the same co-attention.
        normalised: each dimension of each layer of speech has mean 0 and deviation 1 over the steps of the training
            part; our reading of "global normalization", which the code of Pepino et al. 2021 applies to features.
        dropout: behind every feed-forward layer but the last, and in attention.

    Source: Zhao et al. 2022, sections 2 and 3.
    """

    version: ClassVar[int] = 1
    terms: ClassVar[Mapping[str, tuple[str, ...]]] = {"label": ()}

    granularities: tuple[Literal["frame", "phone", "syllable", "word"], ...] = ("frame",)
    text: bool = True
    fusion: Literal["late", "early", "concatenation", "linear", "transformer"] = "late"
    joined: Literal["steps", "means"] = "steps"
    hidden: Count = 128
    width: Count = 768
    layers: Count = 3
    heads: Count = 8
    feed_forward: Count = 3072
    shared: bool = False
    normalised: bool = True
    dropout: Share = 0.2

    def __post_init__(self) -> None:
        if list(self.granularities) != [one for one in _ROLES if one in self.granularities]:
            problem = f"are {', '.join(self.granularities)}, but must be some of {', '.join(_ROLES)}, in this order"
            raise InvalidField(_WHERE, "granularities", problem)
        if self.fusion in ("early", "concatenation") and not (self.text and self.granularities):
            raise InvalidField(_WHERE, "fusion", f"is '{self.fusion}', which needs text and at least one granularity")
        n_roles = len(self.inputs)
        if self.fusion == "late" and n_roles < 2:
            problem = f"is 'late', which adds up at least two roles, but there are {n_roles}: 'linear' takes one"
            raise InvalidField(_WHERE, "fusion", problem)
        if self.fusion in ("linear", "transformer") and n_roles != 1:
            problem = f"is '{self.fusion}', which takes one role alone, but there are {n_roles}"
            raise InvalidField(_WHERE, "fusion", problem)
        if self.width % self.heads:
            raise InvalidField(_WHERE, "width", f"is {self.width}, but must be a multiple of heads ({self.heads})")

    @property
    def inputs(self) -> tuple[str, ...]:
        return (*(_ROLES[one] for one in self.granularities), *((TOKENS,) if self.text else ()))

    def module(self, shapes: Mapping[str, tuple[int, ...]], classes: Sequence[str], init: Path | None) -> Network:
        """The network.

        Raises:
            ShapeDiffers: a role has no steps.
            InvalidField: an initial checkpoint is given, or states of different dimensions shall follow each other.
        """
        from models.networks.multilevel import MultilevelNetwork

        if init is not None:
            raise InvalidField(_WHERE, "init", "cannot be given: what was learned before is in its encoders")
        dims = {role: shapes[role][-1:] for role in self.inputs}
        if self.fusion == "concatenation" and self.joined == "steps" and len(set(dims.values())) > 1:
            told = ", ".join(f"{role} {dim[0]}" for role, dim in dims.items() if dim)
            raise InvalidField(_WHERE, "joined", f"is 'steps', but their dimensions differ ({told}): use 'means'")
        return MultilevelNetwork(self, {role: shapes[role] for role in self.inputs}, len(classes))
