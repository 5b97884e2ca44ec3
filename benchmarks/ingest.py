"""What ingesting IEMOCAP costs: 10,039 utterances with published counts, and noise as long as their speech.

    PYTHONPATH=. python benchmarks/ingest.py [FOLDER]

FOLDER, or a temporary one, gets the tree: 40,452 files, 1.4 GB, written before the clock starts: in the page cache.
Hashing is timed against its floor, reading each file whole and hashing it with hashlib and nothing else; ingesting,
in two processes, against reading every text and the first bytes of every sound. The best of three runs each, taken
in turns, because other work on the machine only ever adds.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa

from features import ingest
from features.corpora.iemocap import Iemocap
from features.plugin import RATE_HZ
from features.raw import RawDigests
from features.sandbox import full_iemocap
from warehouse import Warehouse, Work
from warehouse.schema import LABELS, UTTERANCES
from warehouse.tables import read_table

STEP, CORPUS, READER = "corpora.iemocap", "iemocap", Iemocap()
HEADER = 44  # bytes of a plain wav before its sound


def main() -> None:
    """Prints hashing and ingesting, each with its floor and their ratio."""
    with folder_for(sys.argv[1:]) as folder:
        tree, lake = folder / "IEMOCAP_full_release", folder / "lake"
        write(tree)
        paths = sorted(path for own in READER.units(tree).values() for path in own)
        sounds = [path for path in paths if path.endswith(".wav")]
        texts = [path for path in paths if not path.endswith(".wav")]
        print(f"load at the beginning: {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores")

        for name, own in (("sound", sounds), ("alignments and texts", texts)):
            n_bytes = sum((tree / path).stat().st_size for path in own)
            floor_s, hashed_s = in_turns(partial(floor_of_hashing, tree, own), partial(hashed, tree, own))
            print(f"hashing {name}: {len(own)} files, {n_bytes / 1e6:.0f} MB, {n_bytes / 1e6 / hashed_s:.0f} MB/s")
            print(f"  {hashed_s:.2f} s, hashlib alone {floor_s:.2f} s: {floor_s / hashed_s:.0%} of what it reaches")

        remember(lake, tree)
        floor_s, ingest_s, again_s = in_turns(
            partial(floor_of_ingesting, tree, paths), partial(ingested, lake, tree), partial(recorded, lake, tree)
        )
        n_utterances, n_labels = n_rows(lake, "utterances", UTTERANCES), n_rows(lake, "labels", LABELS)
        print(f"ingesting {n_utterances} utterances with {n_labels} labels, digests known, two processes")
        print(f"  {ingest_s:.2f} s, of which {again_s:.2f} s to see that nothing changed;")
        print(f"  reading the same bytes {floor_s:.2f} s: {ingest_s / floor_s:.1f} times the floor")
        print(f"load at the end: {os.getloadavg()[0]:.2f}")


@contextmanager
def folder_for(arguments: Sequence[str]) -> Iterator[Path]:
    if arguments:
        yield Path(arguments[0])
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def write(tree: Path) -> None:
    """The tree, each sentence 1 to 8 s of noise: 4.5 s on average, as IEMOCAP's 12.4 hours have it."""
    if not tree.exists():
        full_iemocap.write(tree)
        rng = np.random.default_rng(0)
        noise = rng.integers(-3000, 3000, 10 * RATE_HZ, dtype=np.int16)
        for path in sorted(tree.glob("Session*/sentences/wav/*/*.wav")):
            begin, n = rng.integers(0, RATE_HZ), rng.integers(RATE_HZ, 8 * RATE_HZ)
            with wave.open(str(path), "wb") as stream:
                stream.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
                stream.writeframes(noise[begin : begin + n].tobytes())


def in_turns(*calls: Callable[[], object]) -> list[float]:
    """The shortest of three runs of each call, in seconds."""
    found: list[list[float]] = [[] for _ in calls]
    for _ in range(3):
        for call, seconds in zip(calls, found, strict=True):
            began = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - began)
    return [min(seconds) for seconds in found]


def floor_of_hashing(tree: Path, paths: Sequence[str]) -> None:
    for path in paths:
        with open(tree / path, "rb") as stream:
            hashlib.sha256(stream.read()).hexdigest()


def hashed(tree: Path, paths: Sequence[str]) -> None:
    """As a lake that knows nothing yet."""
    with tempfile.TemporaryDirectory() as lake:
        digests = RawDigests(Path(lake))
        digests.raw_files(tree, paths)
        digests.close()


def remember(lake: Path, tree: Path) -> None:
    """Hashes everything once: what the clock of ingesting does not count."""
    Warehouse(lake, create=True)
    recorded(lake, tree)


def recorded(lake: Path, tree: Path) -> dict[str, Work]:
    """What every ingest begins with: looking whether a file changed."""
    digests = RawDigests(lake)
    works = ingest.raw_works(digests, CORPUS, READER, tree)
    digests.close()
    return works


def ingested(lake: Path, tree: Path) -> None:
    """Everything after hashing, from raw tree to committed artifacts; the start of the processes is counted too."""
    shutil.rmtree(lake / "artifacts", ignore_errors=True)
    warehouse = Warehouse(lake)
    raw = {unit: (work, warehouse.perform(work)) for unit, work in recorded(lake, tree).items()}
    works = ingest.unit_works(lake, CORPUS, STEP, READER, tree, raw)
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        list(pool.map(perform, [lake] * len(works), works))


def perform(lake: Path, work: Work) -> None:
    Warehouse(lake).perform(work)


def floor_of_ingesting(tree: Path, paths: Sequence[str]) -> None:
    for path in paths:
        with open(tree / path, "rb") as stream:
            stream.read(HEADER if path.endswith(".wav") else -1)


def n_rows(lake: Path, kind: str, schema: pa.Schema) -> int:
    artifacts = Warehouse(lake).artifacts(kind)
    return sum(read_table(artifact.path(f"{kind}.parquet"), schema).num_rows for artifact in artifacts)


if __name__ == "__main__":
    main()
