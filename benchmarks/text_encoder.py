"""What extracting with a text encoder costs beyond the network's own time, on one core.

Run as `PYTHONPATH=. python benchmarks/text_encoder.py [LAYERS [LINES]]`. The network has the size of BERT base (12
blocks of 768 unless LAYERS says fewer) and random weights: time does not depend on them. The floor is one batch of
texts of equal length, as long as the mean of all, on one thread. Beside it: the first N_PADDED of the texts padded to
the longest of each batch, in the order they come, as is usual; our rows, from the table of utterances to a table of two
layers on disk, float16. Everything is in processor seconds, because other work on the machine makes seconds longer.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from features.extract import extract
from features.ingest import ingest
from warehouse import Warehouse
from warehouse.catalog import build

N_LINES, N_WORDS, FULL, N_PADDED, N_TIMES = 840, 20_000, 512, 64, 6
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def main() -> None:
    """Prints processor seconds per thousand tokens, and the ratio to the floor."""
    n_layers = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    n_lines = int(sys.argv[2]) if len(sys.argv) > 2 else N_LINES
    torch.set_num_threads(1)
    layers = [n_layers // 2, n_layers]
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint"
        network = write_checkpoint(checkpoint, n_layers)
        warehouse = Warehouse(Path(folder) / "lake", create=True)
        write_corpus(warehouse, Path(folder) / "few", "few", 20, seed=1)
        mean = write_corpus(warehouse, Path(folder) / "lines", "lines", n_lines, seed=0)
        packed = torch.randint(len(SPECIAL), N_WORDS, (FULL // mean, mean))
        began = time.process_time()
        before = extract(warehouse, "encoder", ["few"], checkpoint=checkpoint, layers=layers, dtype="float16")
        first_s = time.process_time() - began

        floor_s = [timed(lambda: network(packed))]
        passed: list[torch.Size] = []
        counting = torch.nn.modules.module.register_module_forward_pre_hook(count_into(passed))
        began = time.process_time()
        found = extract(warehouse, "encoder", ["lines"], checkpoint=checkpoint, layers=layers, dtype="float16")
        own_s = time.process_time() - began
        counting.remove()
        known = {artifact.key for artifact in before}
        lengths = [n for a in found if a.key not in known for n in lengths_in(a.path("features.parquet"))]
        n_tokens, n_calls = sum(lengths), len(found) - len(before)
        filled = 1 - n_tokens / sum(shape.numel() for shape in passed)
        floor_s.append(timed(lambda: network(packed)))
        padded = [(size, *in_batches(network, lengths[:N_PADDED], size)) for size in (8, 32)]
    print(f"{len(lengths)} texts of {min(lengths)} to {max(lengths)} tokens, {n_tokens} in all, {n_layers} blocks")
    print(f"load {os.getloadavg()[0]:.1f}; processor seconds per thousand tokens, one thread")
    alone_s = sum(floor_s) / len(floor_s) / packed.numel() * n_tokens
    for what, seconds in (
        (f"network alone, one batch of {FULL // mean} x {mean} tokens", alone_s),
        *((f"padded batches of {size}, {waste:.1%} of them padding", s * n_tokens) for size, s, waste in padded),
        (f"tokenised, {len(passed)} passes in {n_calls} calls, {filled:.1%} fillings, written to disk", own_s),
    ):
        print(f"{what:<75}{seconds / n_tokens * 1e3:.3f}   {seconds / alone_s:.2f}")
    print(f"hashing the weights, the canary, loading and {len(before)} small call, once: {first_s:.1f} s")


def count_into(passed: list[torch.Size]) -> Callable[[Any, Any], None]:
    """A hook that notes the shape of what each pass reads."""

    def note(module: Any, given: Any) -> None:
        if isinstance(module, torch.nn.Embedding) and module.num_embeddings == N_WORDS:
            passed.append(given[0].shape)

    return note


def timed(run: Callable[[], object]) -> float:
    """The mean of N_TIMES, after one that warms up; no least of several, for it is held against one long run."""
    with torch.inference_mode():
        run()
        began = time.process_time()
        for _ in range(N_TIMES):
            run()
    return (time.process_time() - began) / N_TIMES


def in_batches(network: Any, lengths: Sequence[int], size: int) -> tuple[float, float]:
    """Processor seconds a token of texts in batches padded to their longest, and how much of them is padding."""
    n_passed = 0
    began = time.process_time()
    with torch.inference_mode():
        for at in range(0, len(lengths), size):
            own = torch.tensor(lengths[at : at + size])
            mask = (torch.arange(int(own.max())) < own[:, None]).long()
            network(mask * 9, attention_mask=mask)
            n_passed += mask.numel()
    return (time.process_time() - began) / sum(lengths), 1 - sum(lengths) / n_passed


def lengths_in(path: Path) -> list[int]:
    """Tokens of each row."""
    return [shape[1] for shape in pq.read_table(path, columns=["hidden_shape"]).column(0).to_pylist()]


def write_checkpoint(folder: Path, n_layers: int) -> transformers.BertModel:
    """Writes a network of base size, whose every word is a token, and gives it back."""
    words = [*SPECIAL, *(word(rank) for rank in range(N_WORDS - len(SPECIAL)))]
    tokenizer = Tokenizer(models.WordLevel({each: n for n, each in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)  # fmt: skip
    network = transformers.BertModel(transformers.BertConfig(vocab_size=N_WORDS, num_hidden_layers=n_layers)).eval()
    network.save_pretrained(folder)
    return network


def write_corpus(warehouse: Warehouse, root: Path, name: str, n_lines: int, seed: int) -> int:
    """Lines as long as utterances of dialogues (median 9 words), ingested, of which all but a few are kept; returns how
    many tokens they have in the mean."""
    choose = random.Random(seed)
    root.mkdir()
    lines = []
    for _ in range(n_lines):
        n_words = max(1, round(choose.lognormvariate(2.2, 0.7)))
        lines.append(" ".join(word(int(choose.paretovariate(0.5)) % 15_000) for _ in range(n_words)).capitalize() + ".")
    (root / "OpenSubtitles.en-zh_cn.en").write_text("\n".join(lines) + "\n", encoding="utf-8")
    reader = build("features.corpora", "opensubtitles", {}, "the benchmark")
    ingest(warehouse, name, "corpora.opensubtitles", reader, root)
    return round(sum(min(64, len(line.split()) + 3) for line in lines) / len(lines))


def word(rank: int) -> str:
    """A word of letters only."""
    return "".join("bdfgklmnprstvz"[rank // 14**n % 14] + "aeiou"[n] for n in range(4))


if __name__ == "__main__":
    main()
