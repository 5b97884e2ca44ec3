"""Hidden layers, sentence vectors and logits of a text encoder, read from any folder that `transformers` can load."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from features.canary_clips import TEXTS
from features.encoding.config_fields import read_fields
from features.encoding.passes import least_rows, passes, widen
from features.encoding.pretrained import (
    as_stored,
    check_layers,
    device_of,
    load_network,
    one_thread,
    read_config,
    read_tokenizer,
)
from features.encoding.sentence import read_pooling
from features.encoding.words import word_of_tokens
from features.plugin import Clip, FeatureSpec, Needs
from warehouse.catalog import Count
from warehouse.errors import InvalidField, Untreatable

_WHERE = "extractor 'encoder'"


@dataclass(frozen=True)
class Encoder:
    """'hidden' [layer, token, dim] and, where asked for, 'sentence', 'word' and 'logits'.

    Tokens are those of the checkpoint's own tokenizer, special ones included, none of them padding. Texts of equal
    length pass through the network together (`features.encoding.passes`), and a row is the same to the bit whatever it
    came with: when it is loaded, the network is asked from how many texts on company changes nothing on this machine,
    and where it always does, each text passes alone. Machines may differ in that, and then in the last bits of rows.

    Args:
        weights: digest of the checkpoint artifact. It identifies the network; the folder is given to `load`.
        layers: which hidden layers, in this order: 0 is the embeddings, n the n-th block; none named, all.
        logits: whether the sequence classifier's logits are wanted too, as columns logit_<label>.
        sentence: whether one vector per text is wanted too, as columns sentence_<i>: pooled from the last layer as the
            checkpoint's own modules.json says. Texts are then cut where that says, too.
        words: whether 'word' [token, 1] is wanted too: the position in `features.plugin.normalised_words` of the word
            that each token is of, and so in the word tier of an aligner; -1 for special tokens and punctuation.
        dtype: of 'hidden' as stored. float16 is at most 2**-11 of a value, or 2**-25, away from float32; a value that
            it cannot hold makes the text a failure.
        max_tokens: longer texts lose their end, as do those longer than the checkpoint has positions for.

    Raises:
        InvalidField: a layer that the checkpoint has not, logits of a checkpoint without a classifier, or words of
            tokens that cannot be found in the text.
        MalformedSource: the folder lacks weights of the network that its config.json describes, its tokenizer, or what
            says how it pools.
        Untreatable: an empty transcript.
    """

    weights: str
    layers: tuple[int, ...] = ()
    logits: bool = False
    sentence: bool = False
    words: bool = False
    dtype: Literal["float32", "float16"] = "float32"
    max_tokens: Count = 64

    version: ClassVar[int] = 2
    needs: ClassVar[Needs] = "text"
    reads_checkpoint: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "tokenizers")
    tolerance: ClassVar[float] = 1e-3  # one step of float16

    @property
    def batch_s(self) -> float:
        """What it likes at once: 10,000 words, of which most lengths come often enough to fill a pass; half as many
        where more than four layers of them must be held in memory, or all."""
        return 3000.0 if 0 < len(self.layers) <= 4 else 1500.0

    def outputs(self, checkpoint: Path) -> Mapping[str, FeatureSpec]:
        """What a checkpoint promises; reads its config.json and no weights."""
        sizes = ("hidden_size", "num_hidden_layers", "architectures")
        config = read_fields(checkpoint, (*sizes, "id2label") if self.logits else sizes)
        self._check(config)
        found = {"hidden": FeatureSpec("token", ("layer", "token", "dim"), config.hidden_size, self.dtype)}
        if self.words:
            found["word"] = FeatureSpec("token", ("token", "dim"), 1, "int32")
        if self.sentence:
            names = tuple(f"sentence_{i}" for i in range(config.hidden_size))
            found["sentence"] = FeatureSpec("utterance", ("dim",), len(names), names=names)
        if self.logits:
            names = tuple(f"logit_{config.id2label[i]}" for i in range(len(config.id2label)))
            found["logits"] = FeatureSpec("utterance", ("dim",), len(names), names=names)
        return found

    def load(self, device: str, checkpoint: Path) -> Callable[[Sequence[Clip]], list[dict[str, np.ndarray]]]:
        import torch

        self._check(read_config(checkpoint))
        pool = read_pooling(checkpoint) if self.sentence else None
        tokenizer = read_tokenizer(checkpoint)
        if self.words and not tokenizer.is_fast:
            raise InvalidField(_WHERE, "words", "is true, but this tokenizer does not say where its tokens stand")
        network = load_network(
            checkpoint, "AutoModelForSequenceClassification" if self.logits else "AutoModel",
            r"$" if self.logits else r"pooler\.",
        )  # fmt: skip
        limits = (self.max_tokens, tokenizer.model_max_length, _n_positions(network), pool and pool.max_tokens)
        n_tokens = min(limit for limit in limits if limit and limit > 0)  # -1 says that there is none
        device = device_of(device)
        network.to(device)
        widen(network)

        def passed(tokens: Any, texts: Sequence[int]) -> tuple[np.ndarray, Any, Any]:
            """'hidden' as it is stored [text, layer, token, dim], the last layer [text, token, dim], and the logits."""
            given = {name: torch.tensor([values[text] for text in texts], device=device)
                     for name, values in tokens.items() if name != "offset_mapping"}  # fmt: skip
            answer = network(**given, output_hidden_states=True)
            layers = self.layers or range(len(answer.hidden_states))
            hidden = torch.stack([answer.hidden_states[layer] for layer in layers], dim=1)
            logits = answer.logits.cpu().numpy() if self.logits else None
            return as_stored(hidden.cpu().numpy(), self.dtype), answer.hidden_states[-1], logits

        def asked(n_tokens: int, n_rows: int) -> list[bytes]:
            cut = tokenizer([" ".join(TEXTS * 9)], truncation=True, max_length=n_tokens)
            hidden, last, logits = passed(cut, [0] * n_rows)
            answers = [hidden, last.cpu().numpy(), *([] if logits is None else [logits])]
            return [b"".join(answer[row].tobytes() for answer in answers) for row in range(n_rows)]

        with torch.inference_mode(), one_thread():
            least = least_rows(asked, n_tokens, 1 if network.config._attn_implementation == "sdpa" else 2)

        def extract(clips: Sequence[Clip]) -> list[dict[str, np.ndarray]]:
            if not all(clip.text.strip() for clip in clips):
                raise Untreatable("the transcript is empty")
            if not clips:
                return []
            with torch.inference_mode(), one_thread():
                tokens = tokenizer(
                    [clip.text for clip in clips], truncation=True, max_length=n_tokens,
                    return_offsets_mapping=self.words,
                )  # fmt: skip
                rows: list[dict[str, np.ndarray]] = [{} for _ in clips]
                for one in passes([len(ids) for ids in tokens["input_ids"]], least):
                    hidden, last, logits = passed(tokens, one.texts)
                    for place, text in enumerate(one.texts[: one.n_kept]):
                        rows[text]["hidden"] = hidden[place]
                        if self.words:
                            rows[text]["word"] = word_of_tokens(clips[text].text, tokens["offset_mapping"][text])
                        if pool:
                            rows[text]["sentence"] = pool(last[place]).cpu().numpy()
                        if logits is not None:
                            rows[text]["logits"] = logits[place]
                return rows

        return extract

    def _check(self, config: Any) -> None:
        check_layers(_WHERE, self.layers, config.num_hidden_layers)
        kind = (config.architectures or ["network without a name"])[0]
        if self.logits and not kind.endswith("ForSequenceClassification"):
            raise InvalidField(_WHERE, "logits", f"is true, but the checkpoint is a {kind}, which has no classifier")


def _n_positions(network: Any) -> int | None:
    """How many tokens the network has positions for; None where nothing says. Those of RoBERTa and its kin count from
    the number after the padding token's, so the first of them are never used."""
    for name, table in network.named_modules():
        if name.endswith("position_embeddings") and getattr(table, "padding_idx", None) is not None:
            return int(table.num_embeddings - table.padding_idx - 1)
    return getattr(network.config, "max_position_embeddings", None)
