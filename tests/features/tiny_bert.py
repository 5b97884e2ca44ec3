"""Checkpoint folders of a BERT with three blocks of 16 dimensions, written as `transformers` writes them."""

from __future__ import annotations

from pathlib import Path

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] i am so happy sad you are angry today ! ."
EMOTIONS = {0: "angry", 1: "happy", 2: "sad"}


def write_bert(folder: Path, kind: str = "BertForSequenceClassification", words: str = WORDS) -> Path:
    """Writes tokenizer, config and random weights (always the same) of one of the BERT classes; returns the folder.

    Args:
        words: that it knows, after the five special ones.
    """
    import torch
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers.utils import logging

    vocabulary = {word: position for position, word in enumerate(words.split())}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)  # fmt: skip
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32,
        id2label=EMOTIONS, label2id={name: number for number, name in EMOTIONS.items()},
    )  # fmt: skip
    logging.disable_progress_bar()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        getattr(transformers, kind)(config).save_pretrained(folder)
    return folder
