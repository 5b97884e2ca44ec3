"""What ten million lines of subtitles cost: memory above all, then lines per second, beside hashing the same file.

Run as `PYTHONPATH=. python benchmarks/text.py [N_LINES [FOLDER]]`; it needs some 4 GB of disk. One process, one unit
after the other, as ingestion goes on one core.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

from features import ingest
from features.raw import RawDigests
from warehouse import Warehouse
from warehouse.catalog import build
from warehouse.hashing import file_digest

N = 10_000_000
ODD = ("Subtitles by a friend", "[door slams]", "♪ La la la ♪", "- Is it you? - No.", "Yes.", "- Yes.", "Come on!")


def main() -> None:
    """Prints one row: lines read and kept, seconds of each part, lines per second, the ratio to hashing, memory."""
    n_lines = int(sys.argv[1]) if len(sys.argv) > 1 else N
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as folder:
        root = Path(folder) / "opensubtitles"
        root.mkdir()
        path = root / "OpenSubtitles.en-zh_cn.en"
        write(path, n_lines)
        before_mb = peak_mb()
        hash_s = timed(lambda: file_digest(path))
        warehouse = Warehouse(Path(folder) / "lake", create=True)
        reader = build("features.corpora", "opensubtitles", {}, "the benchmark")
        began = time.perf_counter()
        digests = RawDigests(warehouse.root)
        raw = ingest.raw_works(digests, "subtitles", reader, root)
        digests.close()
        recorded = {unit: (work, warehouse.perform(work)) for unit, work in raw.items()}
        kept = 0
        works = ingest.unit_works(warehouse.root, "subtitles", "corpora.opensubtitles", reader, root, recorded)
        for work in works:
            artifact = warehouse.perform(work)
            if artifact.request.kind == "utterances":
                kept += pq.read_metadata(artifact.path("utterances.parquet")).num_rows
        ingest_s = time.perf_counter() - began
        print(f"{n_lines} lines, {path.stat().st_size / 1e6:.0f} MB, {len(raw)} units, {kept} kept")
        print(
            f"ingested in {ingest_s:.0f} s: {n_lines / ingest_s:.0f} lines/s, {ingest_s / hash_s:.0f} x hashing "
            f"({hash_s:.2f} s); peak memory {peak_mb():.0f} MB (before: {before_mb:.0f} MB)"
        )


def write(path: Path, n_lines: int) -> None:
    """Lines as long as in films (median 6 words), words as frequent as in speech; a fifth is odd or was said before."""
    rng = random.Random(0)
    vocabulary = [f"word{rank}" if rank > 200 else f"w{rank}" for rank in range(20_000)]
    weights = [1 / (rank + 1) for rank in range(20_000)]
    total, sums = 0.0, []
    for weight in weights:
        total += weight
        sums.append(total)
    with open(path, "w", encoding="utf-8", newline="\n") as stream:
        for _ in range(n_lines):
            if rng.random() < 0.2:
                stream.write(rng.choice(ODD) + "\n")
            else:
                n_words = min(20, max(1, round(rng.lognormvariate(1.8, 0.6))))
                words = rng.choices(vocabulary, cum_weights=sums, k=n_words)
                stream.write(f"{words[0].capitalize()} {' '.join(words[1:])}.\n")


def timed(call: object) -> float:
    """Seconds of a call."""
    began = time.perf_counter()
    call()  # type: ignore[operator]
    return time.perf_counter() - began


def peak_mb() -> float:
    """The most memory this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
