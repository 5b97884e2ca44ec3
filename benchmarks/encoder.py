"""What extracting with a speech encoder costs beyond the network's own time, on one core.

Run as `PYTHONPATH=. python benchmarks/encoder.py [LAYERS]`. The network has the size of wav2vec 2.0 base (12 blocks of
768 unless LAYERS says fewer) and random weights: time does not depend on them. The floor is one batch of clips of equal
length, without a sample of padding, on one thread. Beside it: the same clips padded to the longest of each batch, as is
usual; our rows, one clip at a time, from recordings on disk to a table of frames on disk.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
import transformers

from features.extract import extract
from features.ingest import ingest
from features.plugin import RATE_HZ
from warehouse import Warehouse
from warehouse.catalog import build

N_CLIPS, BATCH = 24, 8


def main() -> None:
    """Prints seconds of work per second of sound, and the ratio to the floor."""
    n_layers = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    torch.set_num_threads(1)
    choose = np.random.default_rng(0)
    lengths = np.clip(choose.lognormal(1.2, 0.6, N_CLIPS), 1.0, 12.0)
    waves = [choose.normal(0, 0.1, round(s * RATE_HZ)).astype(np.float32) for s in lengths]
    total_s = sum(map(len, waves)) / RATE_HZ
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, root = Path(folder) / "checkpoint", Path(folder) / "clips"
        network = write_checkpoint(checkpoint, n_layers)
        warehouse = Warehouse(Path(folder) / "lake", create=True)
        write_corpus(warehouse, root, waves)

        mean = round(total_s / N_CLIPS * RATE_HZ)
        packed = torch.from_numpy(np.stack([np.resize(wave, mean) for wave in waves[:BATCH]]))
        floor_s = timed(lambda: network(packed)) / (packed.numel() / RATE_HZ)
        padded = [pad(waves[at : at + BATCH]) for at in range(0, N_CLIPS, BATCH)]
        padded_s = timed(lambda: [network(batch) for batch in padded]) / total_s
        waste = 1 - total_s * RATE_HZ / sum(batch.numel() for batch in padded)
        layers = [6, 12] if n_layers >= 12 else [n_layers]
        began = time.perf_counter()
        found = extract(warehouse, "speech_encoder", ["clips"], checkpoint=checkpoint, layers=layers, dtype="float16")
        first_s = time.perf_counter() - began
        own_s = sum(artifact.environment["work_s"] for artifact in found) / total_s
    print(f"{N_CLIPS} clips, {total_s:.0f} s of sound, {n_layers} blocks; seconds per second of sound, one thread")
    print(f"network alone, batches of {BATCH} of equal length   {floor_s:.4f}   1.00")
    print(f"padded batches of {BATCH}, {waste:.0%} of them padding    {padded_s:.4f}   {padded_s / floor_s:.2f}")
    print(f"decoded, one by one, written to disk         {own_s:.4f}   {own_s / floor_s:.2f}")
    print(f"the same with hashing the weights and the canary, once: {first_s:.1f} s in all")


def timed(run: Callable[[], object]) -> float:
    """The least of three, after one that warms up."""
    with torch.inference_mode():
        run()
        seconds = []
        for _ in range(3):
            began = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - began)
    return min(seconds)


def pad(waves: list[np.ndarray]) -> torch.Tensor:
    """float32 [clip, n_samples]."""
    longest = max(map(len, waves))
    return torch.from_numpy(np.stack([np.pad(wave, (0, longest - len(wave))) for wave in waves]))


def write_checkpoint(folder: Path, n_layers: int) -> transformers.Wav2Vec2Model:
    """Writes a network of base size and gives it back."""
    network = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(num_hidden_layers=n_layers)).eval()
    network.save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=False).save_pretrained(folder)
    return network


def write_corpus(warehouse: Warehouse, root: Path, waves: list[np.ndarray]) -> None:
    """A table of clips, ingested."""
    root.mkdir()
    for number, wave in enumerate(waves):
        soundfile.write(root / f"{number:03d}.wav", wave, RATE_HZ, subtype="PCM_16")
    (root / "clips.csv").write_text("path\n" + "".join(f"{number:03d}.wav\n" for number in range(len(waves))))
    fields = {"file": "clips.csv", "text": "", "speaker": "", "label": ""}
    reader = build("features.corpora", "table", fields, "the benchmark")
    ingest(warehouse, "clips", "corpora.table", reader, root)


if __name__ == "__main__":
    main()
