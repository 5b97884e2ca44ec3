"""What a text is in another language, by any MarianMT checkpoint that `transformers` can load."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from features.encoding.pretrained import device_of, load_network, one_thread, read_config, read_tokenizer
from features.plugin import Clip, FeatureSpec, Needs
from warehouse.catalog import Count
from warehouse.errors import InvalidField, Untreatable

_WHERE = "extractor 'translation'"


@dataclass(frozen=True)
class Translation:
    """'text' [byte, 1]: UTF-8 of the likeliest translation that a beam search finds; in SQL, decode(text).

    Back-translation is two of these: the second reads a corpus that is told again with the text of the first.

    Texts pass through the network one at a time and on one thread, so a row is the same to the bit whatever it came
    with. A text with more tokens than the network takes is not cut, and neither is a translation that has not ended by
    then: both are failures, because the meaning of what is left may be another. Nothing is drawn by lot.

    Args:
        weights: digest of the checkpoint artifact. It identifies the network; the folder is given to `load`.
        beams: how many beginnings are pursued at a time; 4 as the published checkpoints have it, 1 is greedy.
        max_tokens: longer texts, and longer translations, are refused, as are those longer than the checkpoint has
            positions for.
        prefix: what a checkpoint of several target languages is told by, such as '>>deu<<'; one of its vocabulary.

    Raises:
        InvalidField: a checkpoint that is no MarianMT, no beam at all, or a prefix that the checkpoint does not know.
        MalformedSource: the folder lacks weights of its network, or its tokenizer.
        Untreatable: the text is empty, too long, or has no translation that ends.

    Source: M. Junczys-Dowmunt and others, "Marian: fast neural machine translation in C++", 2018.
    """

    weights: str
    beams: Count = 4
    max_tokens: Count = 512
    prefix: str = ""

    version: ClassVar[int] = 1
    needs: ClassVar[Needs] = "text"
    reads_checkpoint: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "sentencepiece")
    tolerance: ClassVar[float] = 1e-3  # less than any other letter is away

    def outputs(self, checkpoint: Path) -> Mapping[str, FeatureSpec]:
        """What every translator promises; reads config.json and no weights."""
        _check(read_config(checkpoint))
        return {"text": FeatureSpec("token", ("byte", "dim"), 1, "uint8")}

    def load(self, device: str, checkpoint: Path) -> Callable[[Sequence[Clip]], list[dict[str, np.ndarray]]]:
        import torch

        _check(read_config(checkpoint))
        tokenizer = _read_tokenizer(checkpoint)
        if self.prefix and self.prefix not in tokenizer.supported_language_codes:
            known = ", ".join(tokenizer.supported_language_codes) or "none"
            raise InvalidField(_WHERE, "prefix", f"is '{self.prefix}', but the checkpoint knows: {known}")
        network = load_network(checkpoint, "AutoModelForSeq2SeqLM", r"$").to(device_of(device))
        network.generation_config.forced_eos_token_id = None  # it would hide that a translation goes on
        n_most = min(self.max_tokens, tokenizer.model_max_length, network.config.max_position_embeddings)

        def extract(clips: Sequence[Clip]) -> list[dict[str, np.ndarray]]:
            with torch.inference_mode(), one_thread():
                return [row(clip) for clip in clips]

        def row(clip: Clip) -> dict[str, np.ndarray]:
            if not clip.text.strip():
                raise Untreatable("the transcript is empty")
            tokens = tokenizer(f"{self.prefix} {clip.text}".strip(), return_tensors="pt")
            n_tokens = tokens.input_ids.shape[1]
            if n_tokens > n_most:
                raise Untreatable(f"the text has {n_tokens} tokens, and at most {n_most} are translated at once")
            [said] = network.generate(
                **tokens.to(network.device), num_beams=self.beams, do_sample=False, max_length=n_most
            )
            if said[-1] != network.config.eos_token_id:
                raise Untreatable(f"its translation does not end within {n_most} tokens")
            text = tokenizer.decode(said, skip_special_tokens=True)
            return {"text": np.frombuffer(text.encode(), np.uint8).reshape(-1, 1)}

        return extract


def _read_tokenizer(checkpoint: Path) -> Any:
    """The checkpoint's own, without its advice to install sacremoses, which it asks for and then does not use."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Recommended: pip install sacremoses")
        return read_tokenizer(checkpoint)


def _check(config: Any) -> None:
    kind = (config.architectures or ["network without a name"])[0]
    if kind != "MarianMTModel":
        raise InvalidField(_WHERE, "weights", f"are of a {kind}, but translators are of MarianMTModel")
