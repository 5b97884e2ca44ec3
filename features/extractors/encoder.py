"""Hidden layers and logits of a text encoder, read from any checkpoint folder that `transformers` can load."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from features.plugin import Clip, FeatureSpec, Needs
from warehouse.errors import InvalidField, MalformedSource, Untreatable

_WHERE = "extractor 'encoder'"


@dataclass(frozen=True)
class Encoder:
    """'hidden' [layer, token, dim], and 'logits' of the checkpoint's classifier as columns logit_<label>.

    Tokens are those of the checkpoint's own tokenizer, special ones included, none of them padding. Texts pass through
    the network one at a time, so a row is the same to the bit whatever it came with. That costs 2.6 times the
    seconds of batches of equal length on two cores (39 against 15 ms per text of 5 to 19 tokens, a network of the size
    of BERT base); those differ by up to 4e-6.

    Args:
        weights: digest of the checkpoint artifact. It identifies the network; the folder is given to `load`.
        layers: which hidden layers, in this order: 0 is the embeddings, n the n-th block; none named, all.
        logits: whether the sequence classifier's logits are wanted too.
        dtype: of 'hidden' as stored.
        max_tokens: longer texts lose their end, as do those longer than the checkpoint has positions for.

    Raises:
        InvalidField: a layer that the checkpoint has not, or logits of a checkpoint without a classifier.
        MalformedSource: the folder lacks weights of the network that its config.json describes.
        Untreatable: an empty transcript.
    """

    weights: str
    layers: tuple[int, ...] = ()
    logits: bool = False
    dtype: Literal["float32", "float16"] = "float32"
    max_tokens: int = 64

    version: ClassVar[int] = 1
    needs: ClassVar[Needs] = "text"
    reads_checkpoint: ClassVar[bool] = True

    def outputs(self, checkpoint: Path) -> Mapping[str, FeatureSpec]:
        """What a checkpoint promises; reads its config.json and no weights."""
        config = _config(checkpoint)
        self._check(config)
        found = {"hidden": FeatureSpec("token", ("layer", "token", "dim"), config.hidden_size, self.dtype)}
        if self.logits:
            names = tuple(f"logit_{config.id2label[i]}" for i in range(config.num_labels))
            found["logits"] = FeatureSpec("utterance", ("dim",), len(names), names=names)
        return found

    def load(self, device: str, checkpoint: Path) -> Callable[[Sequence[Clip]], list[dict[str, np.ndarray]]]:
        import torch
        from transformers import AutoTokenizer

        config = _config(checkpoint)
        self._check(config)
        tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True)
        positions = getattr(config, "max_position_embeddings", self.max_tokens)
        n_tokens = min(self.max_tokens, tokenizer.model_max_length, positions)
        device = _fastest() if device == "auto" else device
        network = _network(checkpoint, self.logits).eval().to(device)

        def extract(clips: Sequence[Clip]) -> list[dict[str, np.ndarray]]:
            with torch.inference_mode(), _one_thread():
                return [row(clip) for clip in clips]

        def row(clip: Clip) -> dict[str, np.ndarray]:
            if not clip.text.strip():
                raise Untreatable("the transcript is empty")
            tokens = tokenizer(clip.text, truncation=True, max_length=n_tokens, return_tensors="pt").to(device)
            answer = network(**tokens, output_hidden_states=True)
            layers = self.layers or range(len(answer.hidden_states))
            hidden = torch.stack([answer.hidden_states[layer][0] for layer in layers])
            arrays = {"hidden": hidden.cpu().numpy().astype(self.dtype)}
            if self.logits:
                arrays["logits"] = answer.logits[0].cpu().numpy()
            return arrays

        return extract

    def _check(self, config: Any) -> None:
        absent = [layer for layer in self.layers if not 0 <= layer <= config.num_hidden_layers]
        if absent:
            problem = f"asks for layer {absent[0]}, but the checkpoint has layers 0 to {config.num_hidden_layers}"
            raise InvalidField(_WHERE, "layers", problem)
        kind = (config.architectures or ["network without a name"])[0]
        if self.logits and not kind.endswith("ForSequenceClassification"):
            raise InvalidField(_WHERE, "logits", f"is true, but the checkpoint is a {kind}, which has no classifier")


@contextmanager
def _one_thread() -> Iterator[None]:
    """How many cores a machine has must not show in the last bits of a row; works run side by side instead."""
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def _fastest() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def _config(checkpoint: Path) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(checkpoint, local_files_only=True)


def _network(checkpoint: Path, classifier: bool) -> Any:
    """The network, float32, from safetensors only. Pooling weights may be absent: nothing here reads them."""
    import torch
    from transformers import AutoModel, AutoModelForSequenceClassification

    kind = AutoModelForSequenceClassification if classifier else AutoModel
    with _quiet():
        network, loading = kind.from_pretrained(
            checkpoint, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    lacking = sorted(name for name in loading["missing_keys"] if classifier or not name.startswith("pooler."))
    if lacking:
        raise MalformedSource(checkpoint, f"lacks {len(lacking)} weights of its network (first: {lacking[0]})")
    return network


@contextmanager
def _quiet() -> Iterator[None]:
    """`transformers` reports on weights that a checkpoint has too many, and draws a bar: not our words."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
