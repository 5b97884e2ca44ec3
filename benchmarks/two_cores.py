"""How much faster two processes extract and align than one.

Run as `PYTHONPATH=. python benchmarks/two_cores.py`. Works are given to the pool that runs use; the first of each
process, which imports what it needs, are not timed. One lake per run, so that nothing is there already.
"""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from features import sandbox
from features.extract import works
from features.ingest import ingest
from flows.workers import workers
from warehouse import Warehouse
from warehouse.artifact import Artifact, Work
from warehouse.catalog import build

BATCH_S = 12.0
PLUGINS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("extractors", "opensmile", {"feature_set": "ComParE_2016", "level": "lld_and_deltas"}),
    ("aligners", "pocketsphinx", {}),
)


def main() -> None:
    """Prints, for each plug-in, × real time with one process and with two, and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        root = sandbox.write(Path(folder) / "sandbox", scale=1.0)["iemocap"]
        print("plug-in                      one process   two   ratio   (× real time)")
        for room, name, fields in PLUGINS:
            plugin = build(f"features.{room}", name, fields, "the benchmark")
            speeds = [speed(Path(folder) / f"lake-{name}-{n}", root, f"{room}.{name}", plugin, n) for n in (1, 2)]
            print(f"{name:28} {speeds[0]:11.0f} {speeds[1]:5.0f} {speeds[1] / speeds[0]:7.2f}")


def speed(lake: Path, root: Path, step: str, plugin: Any, n_processes: int) -> float:
    """Seconds of sound per second."""
    warehouse = Warehouse(lake, create=True)
    todo = works(warehouse, step, plugin, ingested(warehouse, root), {"sandbox": root}, batch_s=BATCH_S)
    warm, timed = todo[: 2 * n_processes], todo[2 * n_processes :]
    with workers(lake, n_processes, "cpu") as pool, ThreadPoolExecutor(n_processes) as threads:

        def answer(work: Work) -> None:
            pool.answer([work], lambda *_: None)

        list(threads.map(answer, warm))
        began = time.perf_counter()
        list(threads.map(answer, timed))
        seconds = time.perf_counter() - began
    return sum(row["end_s"] - row["start_s"] for work in timed for row in work.arguments["rows"]) / seconds


def ingested(warehouse: Warehouse, root: Path) -> list[Artifact]:
    """The utterances of the sandbox's IEMOCAP."""
    reader = build("features.corpora", "iemocap", {}, "the benchmark")
    made = ingest(warehouse, "sandbox", "corpora.iemocap", reader, root)
    return [artifact for artifact in made if artifact.request.kind == "utterances"]


if __name__ == "__main__":
    main()
