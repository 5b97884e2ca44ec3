"""A BERT: continues or begins masked-language pre-training, or classifies sentences."""

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
class TextEncoder:
    """A transformer of the `transformers` package; its checkpoint is a folder that `from_pretrained` reads.

    With an initial checkpoint the network, its size and its tokenizer are that checkpoint's, and `vocabulary_size`,
    `layers`, `width`, `heads` and `dropout` are not read; its classifier stays only where the classes are the same.
    Without one, a WordPiece vocabulary is made from the training texts and the weights are random.

    Args:
        task: 'mlm' fills in masked words (term 'mlm', no classes), 'classify' tells classes apart (term 'label').
        max_tokens: of a sentence, special tokens counted; the rest is cut.
        mask_fraction: of the tokens, to be guessed. Of these 8 in 10 are masked, 1 replaced by any token, 1 left.

    Source: Devlin et al. 2019, section 3.1; Li et al. 2021, section 2.1.
    """

    version: ClassVar[int] = 1
    begins_placed: ClassVar[bool] = True  # also with what others trained
    inputs: ClassVar[tuple[str, ...]] = ("text",)
    terms: ClassVar[Mapping[str, tuple[str, ...]]] = {"mlm": (), "label": ()}

    task: Literal["mlm", "classify"]
    vocabulary_size: Count = 8000
    layers: Count = 4
    width: Count = 256
    heads: Count = 4
    dropout: Share = 0.1
    max_tokens: Count = 64
    mask_fraction: float = 0.15

    def __post_init__(self) -> None:
        where = "student 'text_encoder'"
        if self.width % self.heads:
            raise InvalidField(where, "width", f"is {self.width}, but must be a multiple of heads ({self.heads})")
        if not 0 < self.mask_fraction < 1:
            raise InvalidField(where, "mask_fraction", f"is {self.mask_fraction}, but must be between 0 and 1")

    def module(self, shapes: Mapping[str, tuple[int, ...]], classes: Sequence[str], init: Path | None) -> Network:
        """The network.

        Raises:
            ShapeDiffers: the input is not text.
            InvalidField: classes without the task 'classify', or the task without classes.
            NothingLoaded: `init` is no folder of the `transformers` package, or nothing in it fits.
        """
        from models.networks.text_encoder import TextNetwork

        if shapes["text"] != ():
            raise ShapeDiffers("text", shapes["text"], "this student reads text")
        if (self.task == "classify") != bool(classes):
            problem = f"is '{self.task}', but {len(classes)} classes are given"
            raise InvalidField("student 'text_encoder'", "task", problem)
        return TextNetwork(self, tuple(classes), init)
