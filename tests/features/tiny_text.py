"""Checkpoint folders of text encoders other than BERT: two blocks of 16 dimensions, written as `transformers` does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.features.tiny_bert import write_bert

ARCHITECTURES = ("roberta", "deberta", "distilbert", "electra", "mpnet")

_SIZES: dict[str, dict[str, Any]] = {
    "roberta": {
        "max_position_embeddings": 40, "type_vocab_size": 1, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
    },
    "deberta": {
        "relative_attention": True, "position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": True,
        "pos_att_type": "p2c|c2p", "position_biased_input": False, "type_vocab_size": 0,
    },
    "electra": {"embedding_size": 8},
    "mpnet": {"max_position_embeddings": 40},
    "distilbert": {},
}  # fmt: skip
_CLASSES = {
    "roberta": "Roberta", "deberta": "DebertaV2", "distilbert": "DistilBert", "electra": "Electra", "mpnet": "MPNet",
}  # fmt: skip


def write_text_encoder(
    folder: Path, architecture: str, head: str = "ForSequenceClassification", width: int = 16, n_heads: int = 2
) -> Path:
    """Writes tokenizer, config and random weights (always the same) of one of ARCHITECTURES; returns the folder."""
    import torch
    import transformers
    from transformers.utils import logging

    n_words = {"roberta": _byte_pairs, "deberta": _unigrams}.get(architecture, _pieces)(folder)
    within = 32 if width == 16 else 4 * width
    blocks = {"hidden_size": width, "num_attention_heads": n_heads, "intermediate_size": within}
    sizes = {"num_hidden_layers": 2} | blocks | _SIZES[architecture] | {"vocab_size": n_words}
    if architecture == "distilbert":
        sizes = {"dim": width, "n_layers": 2, "n_heads": n_heads, "hidden_dim": within, "vocab_size": n_words}
    config = getattr(transformers, f"{_CLASSES[architecture]}Config")(num_labels=3, **sizes)
    logging.disable_progress_bar()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        getattr(transformers, f"{_CLASSES[architecture]}{head}")(config).save_pretrained(folder)
    return folder


def write_sentence_encoder(
    folder: Path, mode: str = "mean", kinds: Sequence[str] = ("Transformer", "Pooling", "Normalize")
) -> Path:
    """Writes a BERT with what says how it pools, as sentence-transformers lays it out; returns the folder."""
    write_bert(folder, "BertModel")
    paths = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    modules = [
        {"idx": n, "name": str(n), "path": paths.get(kind, kind), "type": f"sentence_transformers.models.{kind}"}
        for n, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    names = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens", "max": "pooling_mode_max_tokens"}
    said = {"word_embedding_dimension": 16} | {name: own == mode for own, name in names.items()}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(said))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 32, "do_lower_case": False}))
    return folder


def _byte_pairs(folder: Path) -> int:
    """RoBERTa's tokenizer: every byte, and a few pairs."""
    from tokenizers import pre_tokenizers
    from transformers import RobertaTokenizer

    pairs = [("a", "p"), ("Ġ", "s"), ("Ġs", "o"), ("o", "u"), ("Ġ", "a")]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ["<s>", "<pad>", "</s>", "<unk>", *letters, *("".join(pair) for pair in pairs), "<mask>"]
    RobertaTokenizer({word: n for n, word in enumerate(words)}, pairs, model_max_length=512).save_pretrained(folder)
    return len(words)


def _unigrams(folder: Path) -> int:
    """DeBERTa's tokenizer: letters and a few longer pieces, with the marks of a word's beginning."""
    from transformers import DebertaV2Tokenizer

    pieces = [*"▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'-,.!?", "▁so", "▁you", "app", "▁I", "an't"]
    words = [(word, 0.0) for word in ("[PAD]", "[CLS]", "[SEP]", "[UNK]")]
    words += [(piece, -float(n) - 1) for n, piece in enumerate(pieces)] + [("[MASK]", 0.0)]
    DebertaV2Tokenizer(words, unk_id=3).save_pretrained(folder)
    return len(words)


def _pieces(folder: Path) -> int:
    """BERT's tokenizer; the network beside it is replaced."""
    write_bert(folder)
    return len(json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"])
