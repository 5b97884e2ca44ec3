"""MMER: sound and text ask each other; beside the classes the student spells, and compares utterances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from warehouse.catalog import Count, Positive, PositiveOrZero, Share
from warehouse.errors import InvalidField, ShapeDiffers

if TYPE_CHECKING:
    from models.network import Network


@dataclass(frozen=True)
class Mmer:
    """Audio: an encoder that is inside and learns, its convolutions excepted (role 'wave', slot 'audio'). Text: stored
    states of an encoder, one layer (role 'text_states'). Both -> multimodal interaction. The largest values over time
    of the audio and of the interaction -> one linear layer.

    Terms: 'label'; 'ctc', the characters of role 'text' from the frames of the audio encoder; 'supervised', utterances
    of one class are to be alike; 'augmented', an utterance is to be like what was told again of it (roles
    'augmented_wave' and 'augmented_states'). The paper weighs them 1, 0.1, 0.1 and 0.1; a term without a weight is
    an ablation. Text alone has 'label' only: no layer before the classes would learn from the others.

    The characters are those of the training part, upper case, without punctuation. A batch of one utterance has
    nothing to compare it with: 'augmented' is then 0, and so is 'supervised'.

    What the paper leaves open and we chose: one linear layer brings a stream that is not as wide as the interaction
    to its width; the contrast is of the interaction alone, or where there is none of all that is classified; the
    defaults of heads, feed_forward and dropout are those of BERT.

    Args:
        modalities: what is heard and read; one alone is the paper's baseline of that name.
        fusion: 'concatenation' leaves out the interaction: the paper's baseline 'Multimodal'.
        width: of the interaction.
        heads, feed_forward, dropout: of its encoders.
        temperature: τ of both contrasts; the paper does not print it, the released code has 0.07.
        similarity: of both contrasts: 'dot' is algorithm 1, whose products are large at this width.
        contrast: 'released' takes the log-softmax before τ in 'supervised', as the released code does.
        ctc: 'mean' over characters, then utterances; 'sum' as the released code.
        text_attention: the text's states pass a layer of self-attention first, as in the released code.
        projections: the contrast is between two layers on top of all that is classified, of their own for what was
            told again, as in the released code.
        cut_s: of a longer wave the rest is not heard, though 'ctc' asks for all of its text; 0 cuts none. The released
            code has 13.125.

    Source: Ghosh et al. 2023, section 3; their code, as its options above say.
    """

    version: ClassVar[int] = 1

    modalities: Literal["both", "audio", "text"] = "both"
    fusion: Literal["interaction", "concatenation"] = "interaction"
    width: Count = 768
    heads: Count = 12
    feed_forward: Count = 3072
    dropout: Share = 0.1
    temperature: Positive = 0.07
    similarity: Literal["dot", "cosine"] = "dot"
    contrast: Literal["printed", "released"] = "printed"
    ctc: Literal["mean", "sum"] = "mean"
    text_attention: bool = False
    projections: bool = False
    cut_s: PositiveOrZero = 0.0

    def __post_init__(self) -> None:
        where = "student 'mmer'"
        if self.width % self.heads:
            raise InvalidField(where, "width", f"is {self.width}, but must be a multiple of heads ({self.heads})")
        if self.text_attention and not self.is_fused:
            raise InvalidField(where, "text_attention", "must not be given: there is no interaction behind it")

    @property
    def is_fused(self) -> bool:
        """Whether there is an interaction."""
        return self.modalities == "both" and self.fusion == "interaction"

    @property
    def encoders(self) -> tuple[str, ...]:
        return () if self.modalities == "text" else ("audio",)

    @property
    def inputs(self) -> tuple[str, ...]:
        return self._of("wave", "text_states")

    @property
    def waves(self) -> tuple[str, ...]:
        return () if self.modalities == "text" else ("wave", "augmented_wave")

    @property
    def terms(self) -> Mapping[str, tuple[str, ...]]:
        if self.modalities == "text":
            return {"label": ()}
        augmented = self._of("augmented_wave", "augmented_states")
        return {"label": (), "ctc": ("text",), "supervised": (), "augmented": augmented}

    def _of(self, audio: str, text: str) -> tuple[str, ...]:
        return {"both": (audio, text), "audio": (audio,), "text": (text,)}[self.modalities]

    def module(
        self, shapes: Mapping[str, tuple[int, ...]], classes: Sequence[str], init: Path | None,
        encoders: Mapping[str, Path] | None = None,
    ) -> Network:  # fmt: skip
        """The network.

        Raises:
            ShapeDiffers: states are no steps of one layer, what was told again has others, or the text is none.
            InvalidField: an initial checkpoint is given: it begins with its encoder.
        """
        from models.networks.mmer import MmerNetwork
        from models.networks.states import width_of

        if init is not None:
            raise InvalidField("student 'mmer'", "init", "cannot be given: it begins with its encoder")
        taught = {role for roles in self.terms.values() for role in roles if role in shapes}
        if "text" in taught and shapes["text"] != ():
            raise ShapeDiffers("text", shapes["text"], "this student spells text")
        widths = {role: width_of(role, shapes[role]) for role in (*self.inputs, *taught) if role.endswith("_states")}
        if len(set(widths.values())) > 1:
            problem = f"'text_states' has {shapes['text_states']}, and both must be of one encoder"
            raise ShapeDiffers("augmented_states", shapes["augmented_states"], problem)
        return MmerNetwork(self, widths, encoders or {}, len(classes), taught)
