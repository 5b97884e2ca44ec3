"""Checkpoint folders that speak: a SpeechT5, its vocoder and a speaker encoder, as `transformers` writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from features.encoding.pretrained import one_thread
from tests.features.tiny_translation import sentence_pieces

VOICE_DIM = 12


def write_speaker(folder: Path, speaker: str = "WavLM", voice_dim: int = VOICE_DIM, **more: Any) -> Path:
    """Writes the three folders with random weights (always the same), which stop speaking after a while; returns the
    folder.

    Args:
        speaker: what the classes of the speaker encoder's architecture are called.
        voice_dim: size of the speaker encoder's vectors.
        more: of the configuration of SpeechT5.
    """
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        _write_text_to_speech(folder / "text_to_speech", more)
        write_vocoder(folder / "vocoder")
        write_speaker_encoder(folder / "speaker_encoder", speaker, voice_dim)
    return folder


def write_vocoder(folder: Path, **more: Any) -> None:
    """A HiFi-GAN that makes 256 samples of a mel frame, with the weights that are drawn next."""
    import transformers

    sizes = {"model_in_dim": 8, "upsample_initial_channel": 32, "resblock_kernel_sizes": [3],
             "resblock_dilation_sizes": [[1]], "initializer_range": 0.2}  # fmt: skip
    transformers.SpeechT5HifiGan(transformers.SpeechT5HifiGanConfig(**{**sizes, **more})).save_pretrained(folder)


def write_speaker_encoder(folder: Path, name: str, voice_dim: int, rate_hz: int = 16_000) -> None:
    """An x-vector network of two blocks, with the weights that are drawn next."""
    import transformers

    config = getattr(transformers, f"{name}Config")(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, conv_dim=(16,) * 7,
        num_conv_pos_embeddings=2, num_conv_pos_embedding_groups=4, conv_pos_kernel_size=5, tdnn_dim=(16,) * 5,
        xvector_output_dim=voice_dim, initializer_range=0.3,
    )  # fmt: skip
    getattr(transformers, f"{name}ForXVector")(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=rate_hz, do_normalize=False).save_pretrained(folder)


def _write_text_to_speech(folder: Path, more: dict[str, Any]) -> None:
    import transformers

    folder.mkdir(parents=True)
    marks = {"bos_id": 0, "pad_id": 1, "eos_id": 2, "unk_id": 3}
    letters = sentence_pieces(81, "char", character_coverage=1.0, **marks)
    (folder / "spm_char.model").write_bytes(letters)
    tokenizer = transformers.SpeechT5Tokenizer(str(folder / "spm_char.model"))
    tokenizer.save_pretrained(folder)
    sizes = {
        "hidden_size": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "num_mel_bins": 8,
        "conv_dim": (16,) * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4,
        "speech_decoder_prenet_units": 16, "speech_decoder_postnet_units": 16, "speaker_embedding_dim": VOICE_DIM,
        "encoder_max_relative_position": 20, "max_text_positions": 600, "max_speech_positions": 1876,
        "initializer_range": 0.3,
    }  # fmt: skip
    config = transformers.SpeechT5Config(vocab_size=len(tokenizer), **{**sizes, **more})
    network = transformers.SpeechT5ForTextToSpeech(config).eval()
    _stop(network)
    network.save_pretrained(folder)


def _stop(network: Any) -> None:
    """Makes what it thinks of the end change from step to step: a network drawn by lot stops at once, or never."""
    import torch

    steps: list[torch.Tensor] = []
    ends = network.speech_decoder_postnet.prob_out
    with torch.no_grad(), one_thread():
        ends.bias.fill_(-1e4)
        seen = ends.register_forward_hook(lambda module, inputs, answer: steps.append(inputs[0]))
        for n_letters in (5, 10):
            ids = torch.randint(4, network.config.vocab_size, (1, n_letters))
            network.generate_speech(ids, torch.randn(1, network.config.speaker_embedding_dim))
        seen.remove()
        known = torch.cat(steps)
        ends.weight.copy_(torch.randn(ends.weight.shape) / known.std(0))
        ends.bias.copy_(-(ends.weight @ known.mean(0)) - 6)
