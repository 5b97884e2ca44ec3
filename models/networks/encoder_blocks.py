"""Pretrained encoders as blocks of a student: sound or text in, hidden states and their mask out.

Whatever an utterance is batched with, its states are the same to rounding. Group normalisation over time, as in the
convolutions of wav2vec 2.0 base, would count padding, so every clip passes the convolutions alone; the transformer
behind them is given the mask.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from models.encoders import load_encoder, load_preprocessor, load_tokenizer
from warehouse.errors import MalformedSource

Trained = Literal["all", "context", "none"]
"""What of an encoder of sound learns: everything, all but its convolutions, nothing."""

RATE_HZ = 16_000
"""Of the waves that shards hold."""

LEAST_VARIANCE = 1e-7
"""Added to a clip's variance where it is normalised, as the preprocessors of `transformers` do."""


KEEP_MASK = frozenset({"wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat"})
"""Architectures whose transformer knows of padding in every layer. Clips pass the others one at a time: data2vec stacks
convolutions for its positions, and a conformer convolves in each block."""


class SpeechFrontEnd(nn.Module):
    """The convolutions of an encoder of sound and the projection behind them: what its transformer is given.

    A clip is brought to mean 0 and variance 1 first where the checkpoint's preprocessor does so. One that is shorter
    than the convolutions reach is followed by silence.

    Args:
        folder: of the checkpoint.
        network: its network, where it is loaded already.

    Raises:
        MalformedSource: the folder holds no encoder of waves, or not all of its weights.
    """

    def __init__(self, folder: Path, network: Any = None) -> None:
        super().__init__()
        network = network or load_wave_network(folder)
        self.convolutions, self.projection = network.feature_extractor, network.feature_projection
        self.normalises = _normalises(folder)
        self.dim: int = network.config.hidden_size
        self.reach = _reach(network.config.conv_kernel, network.config.conv_stride)

    def forward(self, wave: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """
        Args:
            wave: [B, n_samples, 1].
            lengths: int64 [B].

        Returns:
            Projected frames, [B, n_frames, dim], and their mask, bool [B, n_frames].
        """
        clips = [self._convolved(clip[:, 0]) for clip in _alone(wave, lengths)]
        mask = pad_sequence([clip.new_ones(clip.shape[:1], dtype=torch.bool) for clip in clips], batch_first=True)
        projected = self.projection(pad_sequence(clips, batch_first=True))
        return (projected[0] if isinstance(projected, tuple) else projected), mask

    def freeze_convolutions(self) -> None:
        """They learn nothing more."""
        self.convolutions._freeze_parameters()  # by their own way, or they would ask the wave for a gradient

    def _convolved(self, clip: Tensor) -> Tensor:
        if self.normalises:
            clip = (clip - clip.mean()) / (clip.var(correction=0) + LEAST_VARIANCE).sqrt()
        missing = torch.sym_max(self.reach - clip.shape[0], 0)  # of any clip, as an exported graph must know it
        clip = nn.functional.pad(clip, (0, missing))
        frames: Tensor = self.convolutions(clip[None])[0].T
        return frames


class SpeechEncoder(nn.Module):
    """An encoder of sound: wav2vec 2.0, HuBERT, WavLM, data2vec, UniSpeech, conformer. The last hidden layer.

    In training its own dropout counts; whole layers are never left out and no stretch of sound is masked, as the
    checkpoints' settings would have it for pre-training. A conformer's batch normalisation stays as it was pretrained:
    the statistics of one clip are none.

    Raises:
        MalformedSource: as `SpeechFrontEnd`.
    """

    def __init__(self, folder: Path, trained: Trained) -> None:
        super().__init__()
        network = load_wave_network(folder)
        self.front, self.context = SpeechFrontEnd(folder, network), network.encoder
        self.dim, self.trained = self.front.dim, trained
        self.keeps_mask = network.config.model_type in KEEP_MASK
        if trained != "all":
            self.front.freeze_convolutions()
        if trained == "none":
            self.requires_grad_(False)

    def forward(self, wave: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """As `SpeechFrontEnd`, behind the transformer. Frames of padding are 0."""
        frames, mask = self.front(wave, lengths)
        if self.keeps_mask and not torch.compiler.is_exporting():  # what is drawn there has one clip: no padding
            with warnings.catch_warnings():
                # WavLM's attention gives torch masks of two types, which torch means to refuse some day
                warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask and attn_mask")
                hidden = self.context(frames, attention_mask=mask).last_hidden_state
        else:
            answers = [self.context(clip[None]) for clip in _alone(frames, mask.sum(1))]
            hidden = pad_sequence([answer.last_hidden_state[0] for answer in answers], batch_first=True)
        return hidden.masked_fill(~mask[..., None], 0.0), mask

    def train(self, mode: bool = True) -> SpeechEncoder:
        super().train(mode and self.trained != "none")
        for module in self.context.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.eval()
        return self


class SentenceEncoder(nn.Module):
    """An encoder of text with its own tokenizer. The last hidden layer, special tokens included.

    Args:
        max_tokens: longer texts lose their end, as do those longer than the network has positions for.
    """

    def __init__(self, folder: Path, trained: bool, max_tokens: int) -> None:
        super().__init__()
        self.tokenizer = load_tokenizer(folder)
        network: Any = load_encoder(folder, unneeded=("pooler.",))
        if hasattr(network, "pooler"):
            network.pooler = None  # nobody reads it, and several processes would wait for its gradient
        self.network = network
        self.dim: int = network.config.hidden_size
        self.trained, self.max_tokens = trained, n_tokens(max_tokens, self.tokenizer, network)
        if not trained:
            self.requires_grad_(False)

    def forward(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """
        Returns:
            Hidden states, [B, n_tokens, dim], 0 in padding, and their mask, bool [B, n_tokens].
        """
        tokens = tokenized(self.tokenizer, texts, self.max_tokens).to(next(self.network.parameters()).device)
        mask = tokens["attention_mask"].bool()
        hidden = self.network(**tokens).last_hidden_state
        return hidden.masked_fill(~mask[..., None], 0.0), mask

    def train(self, mode: bool = True) -> SentenceEncoder:
        super().train(mode and self.trained)
        return self


def tokenized(tokenizer: Any, texts: Sequence[str] | Mapping[str, Tensor], max_tokens: int, **more: bool) -> Any:
    """The tokens of some texts with their mask, padded to the longest. An exported graph is given tokens already.

    Args:
        more: what the tokenizer is to give beside them.
    """
    if isinstance(texts, Mapping):
        return texts
    return tokenizer(list(texts), padding=True, truncation=True, max_length=max_tokens, return_tensors="pt", **more)


def n_tokens(asked: int, tokenizer: Any, network: Any) -> int:
    """How many tokens a text may have: no more than asked for, than the tokenizer gives, than there are positions for.
    RoBERTa and its kin count positions from the number after the padding token's."""
    limits = [asked, tokenizer.model_max_length]
    for name, table in network.named_modules():
        if name.endswith("position_embeddings") and isinstance(table, nn.Embedding):
            limits.append(table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1))
    return min(limits)


def load_wave_network(folder: Path) -> Any:
    """The whole network of an encoder of waves, without masking and without layers left out by chance.

    Raises:
        MalformedSource: it hears no waves, or lacks weights.
    """
    network: Any = load_encoder(folder, unneeded=("masked_spec_embed",))
    if not all(hasattr(network, part) for part in ("feature_extractor", "feature_projection", "encoder")):
        problem = f"is a '{network.config.model_type}', which hears no waves: give the student its stored features"
        raise MalformedSource(folder, problem)
    network.config.layerdrop = 0.0
    return network


def _alone(padded: Tensor, lengths: Tensor) -> list[Tensor]:
    """Each row without its padding. An exported graph, which can count no row's own steps, has one, all of it valid."""
    if torch.compiler.is_exporting():
        return [padded[0]]
    return [row[:n] for row, n in zip(padded, lengths.tolist(), strict=True)]


def _normalises(folder: Path) -> bool:
    files = "preprocessor_config.json, which says how sound is prepared"
    preprocessor = load_preprocessor("AutoFeatureExtractor", folder, files)
    if preprocessor.sampling_rate != RATE_HZ:
        raise MalformedSource(folder, f"hears at {preprocessor.sampling_rate} Hz, but waves have {RATE_HZ} Hz")
    return bool(preprocessor.do_normalize)


def _reach(kernels: Sequence[int], strides: Sequence[int]) -> int:
    """Samples that make one frame."""
    n_samples = 1
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        n_samples = (n_samples - 1) * stride + kernel
    return n_samples
