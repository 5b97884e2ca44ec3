"""Encoders in miniature with weights drawn by lot: with them a recipe of any system runs where no real ones lie.

    python -m features.sandbox.checkpoints sandbox/weights

writes `wav2vec2/` and `bert/`, which are loaded as real ones are. They know nothing, and neither does what they tell.
"""

from __future__ import annotations

import string
import sys
from pathlib import Path

WIDTH, N_BLOCKS, N_HEADS = 32, 2, 2
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def write(folder: Path) -> None:
    """Writes both checkpoints below a folder; the same bytes each time.

    Example:
        ``write(Path("sandbox/weights"))``
    """
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        _write_wav2vec2(folder / "wav2vec2")
        _write_bert(folder / "bert")


def _write_wav2vec2(folder: Path) -> None:
    import transformers

    config = transformers.Wav2Vec2Config(
        hidden_size=WIDTH, num_hidden_layers=N_BLOCKS, num_attention_heads=N_HEADS, intermediate_size=2 * WIDTH,
        conv_dim=(WIDTH,) * 7, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=4,
    )  # fmt: skip
    transformers.Wav2Vec2Model(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(return_attention_mask=False).save_pretrained(folder)


def _write_bert(folder: Path) -> None:
    """Its word pieces are single letters, so that it reads whatever is said."""
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    letters = string.ascii_lowercase + string.digits
    pieces = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *string.punctuation]
    known = {piece: position for position, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(known, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", known["[SEP]"]), ("[CLS]", known["[CLS]"]))
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)  # fmt: skip
    config = transformers.BertConfig(
        vocab_size=len(pieces), hidden_size=WIDTH, num_hidden_layers=N_BLOCKS, num_attention_heads=N_HEADS,
        intermediate_size=2 * WIDTH,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
