"""Checkpoint folders of speech encoders with two blocks of 16 dimensions, written as `transformers` writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_BLOCKS: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "conv_dim": (16,) * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4,
}  # fmt: skip
_LARGE: dict[str, Any] = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
_KINDS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "wav2vec2": ("Wav2Vec2", {}, False),
    "wav2vec2-large": ("Wav2Vec2", _LARGE, True),
    "hubert": ("Hubert", {}, False),
    "hubert-large": ("Hubert", _LARGE, True),
    "wavlm": ("WavLM", {}, False),
    "wavlm-large": ("WavLM", _LARGE, True),
    "data2vec": ("Data2VecAudio", {"num_conv_pos_embeddings": 2, "conv_pos_kernel_size": 5}, True),
    "unispeech": ("UniSpeech", {}, False),
    "unispeech-sat": ("UniSpeechSat", {}, False),
    "conformer": ("Wav2Vec2Conformer", {}, True),
    "whisper": ("Whisper", {}, False),
}
"""Architecture -> its classes' name, what it has otherwise than a base network, whether its input is normalised."""

ARCHITECTURES = tuple(_KINDS)


def model_types() -> set[str]:
    """What the configurations of ARCHITECTURES call themselves."""
    import transformers

    return {getattr(transformers, f"{name}Config").model_type for name, _, _ in _KINDS.values()}


def write_speech_encoder(folder: Path, architecture: str = "wav2vec2-large", **more: Any) -> Path:
    """Writes preprocessor, config and random weights (always the same) of one of ARCHITECTURES; returns the folder.

    Args:
        more: of the configuration.
    """
    import torch
    import transformers
    from transformers.utils import logging

    name, own, is_normalised = _KINDS[architecture]
    if name == "Whisper":
        blocks = {"encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "d_model": 16}
        decoder = {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 32, "vocab_size": 60}
        marks = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
        config = transformers.WhisperConfig(**{**blocks, **decoder, **marks, **more})
        preprocessor: Any = transformers.WhisperFeatureExtractor(feature_size=config.num_mel_bins)
        head = "WhisperForConditionalGeneration"
    else:
        config = getattr(transformers, f"{name}Config")(**{**_BLOCKS, **own, **more})
        masks = bool(own)
        preprocessor = transformers.Wav2Vec2FeatureExtractor(do_normalize=is_normalised, return_attention_mask=masks)
        head = f"{name}Model"
    logging.disable_progress_bar()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        getattr(transformers, head)(config).save_pretrained(folder)
    preprocessor.save_pretrained(folder)
    return folder
