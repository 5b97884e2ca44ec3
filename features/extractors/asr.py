"""What a recogniser with a CTC head hears, read from any such checkpoint folder that `transformers` can load."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from features.encoding.hearing import (
    CONVOLUTIONAL,
    check_windows,
    frames_at_once,
    hear_samples,
    read_sound_preprocessor,
    steps_of_network,
)
from features.encoding.pretrained import device_of, load_network, one_thread, read_config, read_preprocessor
from features.plugin import Clip, FeatureSpec, Needs, heard
from warehouse.catalog import Positive, PositiveOrZero
from warehouse.errors import InvalidField

_WHERE = "extractor 'asr'"


@dataclass(frozen=True)
class Asr:
    """'text' [byte, 1]: UTF-8 of the greedy transcript, that is of each frame's likeliest symbol, repeats and blanks
    taken out; in SQL, decode(text). What nothing was heard in is a text of no byte.

    Clips pass through the network one at a time, and long ones in windows, as `speech_encoder` says. A clip's symbols
    are put together over all its windows before repeats are taken out, so a cut splits and doubles none.

    Args:
        weights: digest of the checkpoint artifact. It identifies the network; the folder is given to `load`.
        window_s: seconds heard at once.
        context_s: seconds at either side of a cut that are heard but not written down.

    Raises:
        InvalidField: a checkpoint without a CTC head, of another rate, or windows without a middle.
        MalformedSource: the folder lacks weights, its preprocessor or its tokenizer.
        Untreatable: the clip is shorter than one frame, or not finite.

    Source: A. Graves and others, "Connectionist temporal classification", 2006: best path decoding.
    """

    weights: str
    window_s: Positive = 30.0
    context_s: PositiveOrZero = 2.5

    version: ClassVar[int] = 1
    needs: ClassVar[Needs] = "audio"
    reads_checkpoint: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "tokenizers")
    tolerance: ClassVar[float] = 1e-3  # less than any other letter is away

    def __post_init__(self) -> None:
        check_windows(_WHERE, self.window_s, self.context_s)

    def outputs(self, checkpoint: Path) -> Mapping[str, FeatureSpec]:
        """What every recogniser promises; reads config.json and no weights."""
        self._check(read_config(checkpoint))
        return {"text": FeatureSpec("token", ("byte", "dim"), 1, "uint8")}

    def load(self, device: str, checkpoint: Path) -> Callable[[Sequence[Clip]], list[dict[str, np.ndarray]]]:
        import torch

        self._check(read_config(checkpoint))
        preprocessor = read_sound_preprocessor(_WHERE, checkpoint)
        tokenizer = read_preprocessor("Wav2Vec2CTCTokenizer", checkpoint, "tokenizer_config.json and vocab.json")
        network = load_network(checkpoint, "AutoModelForCTC", r"(\w+\.)?masked_spec_embed$").to(device_of(device))
        pieces = hear_samples(network, preprocessor, self.window_s, self.context_s, _likeliest)

        def extract(clips: Sequence[Clip]) -> list[dict[str, np.ndarray]]:
            with torch.inference_mode(), one_thread():
                return [row(clip) for clip in clips]

        def row(clip: Clip) -> dict[str, np.ndarray]:
            symbols = np.concatenate(pieces(heard(clip)))
            text = written(symbols, tokenizer)
            return {"text": np.frombuffer(text.encode(), np.uint8).reshape(-1, 1)}

        return extract

    def _check(self, config: Any) -> None:
        kind = (config.architectures or ["network without a name"])[0]
        if not kind.endswith("ForCTC"):
            raise InvalidField(_WHERE, "weights", f"are of a {kind}, which has no CTC head")
        if config.model_type not in CONVOLUTIONAL or getattr(config, "add_adapter", False):
            known = ", ".join(CONVOLUTIONAL)
            problem = f"are of a '{config.model_type}', but recognisers are, without an adapter: {known}"
            raise InvalidField(_WHERE, "weights", problem)
        frames_at_once(_WHERE, self.window_s, self.context_s, steps_of_network(config).hop)


def written(symbols: np.ndarray, tokenizer: Any) -> str:
    """The text of a path of symbols: repeats are one symbol, and a blank between two parts them. By hand, because the
    tokenizer's own decoding, asked to leave out special symbols, leaves the blanks out before it looks for repeats."""
    changes = np.flatnonzero(np.diff(symbols, prepend=-1))
    left_out = set(tokenizer.all_special_ids) - {tokenizer.word_delimiter_token_id}
    kept = [symbol for symbol in symbols[changes].tolist() if symbol not in left_out]
    letters = tokenizer.convert_ids_to_tokens(kept)
    return " ".join("".join(letters).replace(tokenizer.word_delimiter_token, " ").split())


def _likeliest(answer: Any, first: int, end: int) -> np.ndarray:
    """int64 [frame]."""
    symbols: np.ndarray = answer.logits[0, first:end].argmax(-1).cpu().numpy()
    return symbols
