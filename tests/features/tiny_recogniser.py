"""Checkpoint folders of a recogniser with a CTC head, which hears letters in tones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LETTERS = ("<pad>", "<s>", "</s>", "<unk>", "|", "A", "B", "C", "D")
"""The blank first; '|' stands between words."""


def write_recogniser(folder: Path, kind: str = "Wav2Vec2ForCTC") -> Path:
    """Writes preprocessor, tokenizer, config and random weights (always the same); returns the folder."""
    import torch
    import transformers
    from transformers.utils import logging

    (folder / "vocab.json").write_text(json.dumps({letter: number for number, letter in enumerate(LETTERS)}))
    transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(folder)
    config = transformers.Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, conv_dim=(16,) * 7,
        num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=4, vocab_size=len(LETTERS), pad_token_id=0,
        feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True,
    )  # fmt: skip
    logging.disable_progress_bar()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = getattr(transformers, kind)(config)
        if hasattr(network, "lm_head"):
            _listen(network)
        network.save_pretrained(folder)
    return folder


def _listen(network: Any) -> None:
    """Makes the symbols change from frame to frame: a network drawn by lot gives the same one always."""
    import torch

    noise = torch.randn(1, 48_000)
    with torch.no_grad():
        frames = network.wav2vec2(noise).last_hidden_state[0]
        weight = torch.randn(len(LETTERS), frames.shape[1]) / frames.std(0)
        network.lm_head.weight.copy_(weight)
        network.lm_head.bias.copy_(-(weight @ frames.mean(0)))
