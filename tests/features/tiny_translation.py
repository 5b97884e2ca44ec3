"""Checkpoint folders of a MarianMT with two blocks of 16 dimensions, written as `transformers` writes them."""

from __future__ import annotations

import json
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

SENTENCES = (
    "Oh, you are here at last!", "I can't hear you, not with all that noise.", "You are so happy today!", "I am sad.",
    "The train leaves at seven, as usual.", "You are angry today!", "What did she say to him?", "Nobody knows.",
)  # fmt: skip


def write_translator(folder: Path, codes: tuple[str, ...] = (), kind: str = "MarianMTModel", **more: Any) -> Path:
    """Writes tokenizer, config and random weights (always the same), which say something else of each text and then
    end; returns the folder.

    Args:
        codes: languages that it can be told to translate into, such as '>>deu<<'.
        more: of the configuration.
    """
    import sentencepiece
    import torch
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()
    pieces = sentence_pieces(60, "unigram")
    processor = sentencepiece.SentencePieceProcessor(model_proto=pieces)
    own = [processor.id_to_piece(n) for n in range(processor.get_piece_size())]
    words = ["</s>", "<unk>", *(piece for piece in own if not piece.startswith("<")), *codes, "<pad>"]
    (folder / "source.spm").write_bytes(pieces)
    (folder / "target.spm").write_bytes(pieces)
    (folder / "vocab.json").write_text(json.dumps({word: n for n, word in enumerate(words)}))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Recommended: pip install sacremoses")
        tokenizer = transformers.MarianTokenizer(
            *(str(folder / name) for name in ("source.spm", "target.spm", "vocab.json"))
        )
    tokenizer.save_pretrained(folder)
    sizes = {
        "encoder_layers": 2, "decoder_layers": 2, "d_model": 16, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "max_position_embeddings": 512,
    }  # fmt: skip
    marks = {"pad_token_id": len(words) - 1, "decoder_start_token_id": len(words) - 1, "eos_token_id": 0}
    config = transformers.MarianConfig(vocab_size=len(words), tie_word_embeddings=False, **{**sizes, **marks, **more})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = getattr(transformers, kind)(config)
        if kind == "MarianMTModel":
            _speak(network)
            network.generation_config.update(
                max_length=512, num_beams=4, renormalize_logits=True, bad_words_ids=[[len(words) - 1]]
            )
        network.save_pretrained(folder)
    return folder


def sentence_pieces(n_pieces: int, kind: str, **more: Any) -> bytes:
    """A sentencepiece model of SENTENCES; always the same."""
    import sentencepiece

    model = BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES), model_writer=model, vocab_size=n_pieces, model_type=kind, num_threads=1,
        minloglevel=2, hard_vocab_limit=False, **more,
    )  # fmt: skip
    return model.getvalue()


def _speak(network: Any) -> None:
    """Makes the next piece depend on the text and on what was said: a network drawn by lot repeats itself for ever."""
    import torch

    with torch.no_grad():
        for parameter in network.model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(12)
        network.lm_head.weight.normal_()
        network.final_logits_bias[0, 0] = 4.0  # the end is likelier than others
