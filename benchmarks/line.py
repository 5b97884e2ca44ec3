"""Ingest, align, extract as one command, against its slowest stage alone.

    PYTHONPATH=. python benchmarks/line.py [N] [FOLDER] [RECIPE ...]

N utterances of synthesised speech in IEMOCAP's layout (10,000; 2.7 s each on average), written to FOLDER once, or to a
temporary one. First every stage alone: its works, answered by a pool of two processes as runs use it, started for it,
with no Prefect, no plan and no canary. Then each recipe as `emolake run` does it, from nothing, in a process and a lake
of its own: everything between its start and its end counts. Stages that all compute cannot hide behind each other where
there are only as many cores as processes: what a line can reach at most is then slowest / sum, and that is printed too.
Beside other work only the processor seconds mean something.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from features.aligners import provided
from features.extract import works as row_works
from features.ingest import raw_works, unit_works
from features.raw import RawDigests
from features.sandbox import iemocap
from flows.workers import Workers, workers
from warehouse import Warehouse
from warehouse.artifact import Artifact, Work
from warehouse.catalog import build

N_PROCESSES = 2
CORPUS, READER_STEP = "iemocap", "corpora.iemocap"
READER = build("features.corpora", "iemocap", {}, "the benchmark")

PLUGINS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "provided": ("align", "provided", {}),
    "pocketsphinx": ("align", "pocketsphinx", {}),
    "lld": ("features", "opensmile", {"feature_set": "ComParE_2016", "level": "lld_and_deltas"}),
    "mfcc": ("features", "mfcc", {}),
}
RECIPES = {
    "a": ("provided", "lld"),
    "b": ("pocketsphinx", "lld"),
    "c": ("pocketsphinx", "mfcc"),
}

T = TypeVar("T")
Recorded = Mapping[str, tuple[Work, Artifact]]
"""Unit -> the work that records its raw files, and the record."""


class Cost(NamedTuple):
    """Seconds of the clock, and of all processors, for this process and those that it started and that have ended."""

    clock_s: float
    processor_s: float


def main() -> None:
    """Prints each stage alone, and for each recipe the whole, what it can reach, and what it loses beyond the sum."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what this started ends, too
    n, folder, names = read(sys.argv[1:])
    with folder_for(folder) as place:
        tree = place / f"tree-{n}"
        n_utterances = write(tree, n)
        print(f"{n_utterances} utterances; load at the beginning: {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores")
        wanted = list(dict.fromkeys(name for recipe in names for name in RECIPES[recipe]))
        alone = with_fresh_lake(place / "lake", partial(stages_alone, tree, wanted))
        for stage, cost in alone.items():
            print(line_of(f"{stage} alone", cost, n_utterances))
        for recipe in names:
            cost, steps = with_fresh_lake(place / "lake", partial(whole, tree, recipe, n_utterances))
            own = [alone[stage] for stage in ("ingest", *RECIPES[recipe])]
            slowest_s, sum_s = max(one.clock_s for one in own), sum(one.clock_s for one in own)
            more_s = cost.processor_s - sum(one.processor_s for one in own)
            print(f"{recipe}: ingest, {', '.join(RECIPES[recipe])}; load {os.getloadavg()[0]:.2f}")
            print(line_of("whole", cost, n_utterances))
            reached, bound = slowest_s / cost.clock_s, slowest_s / sum_s
            print(f"  speed of the slowest stage alone: {reached:.2f}, of {bound:.2f} at most")
            print(f"  speed of the stages one after the other: {sum_s / cost.clock_s:.2f};")
            print(f"  {cost.clock_s - sum_s:.1f} s are lost, {more_s:.1f} processor seconds more are used")
            print("  " + ", ".join(f"{step['step']} {step['seconds']:.1f} s" for step in steps), flush=True)


def line_of(what: str, cost: Cost, n_utterances: int) -> str:
    speed = n_utterances / cost.clock_s
    return f"  {what:20}{cost.clock_s:8.1f} s {cost.processor_s:8.1f} processor seconds {speed:9.1f} utterances/s"


def timed(call: Callable[[], T]) -> tuple[T, Cost]:
    clock_s, processor_s = time.perf_counter(), processors_s()
    made = call()
    return made, Cost(time.perf_counter() - clock_s, processors_s() - processor_s)


def processors_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def read(arguments: Sequence[str]) -> tuple[int, str, list[str]]:
    parser = argparse.ArgumentParser()
    parser.add_argument("n", nargs="?", type=int, default=10_000)
    parser.add_argument("folder", nargs="?", default="")
    parser.add_argument("recipe", nargs="*", default=list(RECIPES))
    given = parser.parse_args(arguments)
    return given.n, given.folder, given.recipe


@contextmanager
def folder_for(name: str) -> Iterator[Path]:
    if name:
        yield Path(name).absolute()
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def write(tree: Path, n: int) -> int:
    """Speaks the corpus where it is not there yet, and returns how many utterances it has."""
    dialogues = iemocap.plan(seed=0, scale=n / (10 * sum(iemocap.PER_SPEAKER.values())))
    n_utterances = sum(len(dialogue.turns) for dialogue in dialogues)
    n_spoken = 0

    def spoke() -> None:
        nonlocal n_spoken
        n_spoken += 1
        if n_spoken % 500 == 0:
            print(f"spoke {n_spoken} of {n_utterances}", flush=True)

    if not tree.exists():
        unfinished = tree.with_name(f"{tree.name}-unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        iemocap.write(unfinished, dialogues, 0, spoke)
        unfinished.rename(tree)
    return n_utterances


def with_fresh_lake(lake: Path, measure: Callable[[Path], T]) -> T:
    shutil.rmtree(lake, ignore_errors=True)
    try:
        return measure(lake)
    finally:
        shutil.rmtree(lake, ignore_errors=True)


def stages_alone(tree: Path, names: Sequence[str], lake: Path) -> dict[str, Cost]:
    """Stage -> what it costs."""
    warehouse = Warehouse(lake, create=True)
    found = {}
    (recorded, utterances), found["ingest"] = timed(partial(ingested, warehouse, tree))
    for name in names:
        print(f"  {name} alone …", flush=True)
        _, found[name] = timed(partial(rows_made, name, warehouse, tree, recorded, utterances))
    return found


def ingested(warehouse: Warehouse, tree: Path) -> tuple[Recorded, list[Artifact]]:
    """The record of each unit, and its utterances."""
    digests = RawDigests(warehouse.root)
    works = raw_works(digests, CORPUS, READER, tree)
    digests.close()
    with workers(warehouse.root, N_PROCESSES, "cpu") as pool:
        records = answered(pool, list(works.values()))
        recorded = {unit: (work, record) for (unit, work), record in zip(works.items(), records, strict=True)}
        made = answered(pool, unit_works(warehouse.root, CORPUS, READER_STEP, READER, tree, recorded))
    return recorded, [artifact for artifact in made if artifact.request.kind == "utterances"]


def rows_made(name: str, warehouse: Warehouse, tree: Path, recorded: Recorded, utterances: Sequence[Artifact]) -> None:
    """All rows of one of the plug-ins."""
    section, plugin_name, fields = PLUGINS[name]
    room = {"align": "aligners", "features": "extractors"}[section]
    plugin = build(f"features.{room}", plugin_name, fields, "the benchmark")
    if name == "provided":
        units = {
            unit: (work.arguments["files"], record, own)
            for (unit, (work, record)), own in zip(recorded.items(), utterances, strict=True)
        }
        works = provided.works(warehouse.root, plugin, CORPUS, READER_STEP, READER, tree, units)
    else:
        works = row_works(warehouse, f"{room}.{plugin_name}", plugin, utterances, {CORPUS: tree})
    with workers(warehouse.root, N_PROCESSES, "cpu") as pool:
        answered(pool, works)


def answered(pool: Workers, works: Sequence[Work]) -> list[Artifact]:
    """Their artifacts, in order; the longest works are begun first."""
    with ThreadPoolExecutor(N_PROCESSES) as threads:
        begun = {
            work.request.key: threads.submit(pool.answer, [work], lambda *_: None)
            for work in sorted(works, key=lambda work: -work.n_rows)
        }
        return [artifact for work in works for artifact in begun[work.request.key].result()]


def whole(tree: Path, recipe: str, n_utterances: int, lake: Path) -> tuple[Cost, list[dict[str, Any]]]:
    """What the command costs, and what it says of its steps."""
    print(f"{recipe} whole …", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "line.toml"
        path.write_text(recipe_text(recipe, n_utterances))
        command = [sys.executable, "-m", "flows", "run", str(path), "--lake", str(lake), "--json"]
        command += ["--root", f"{CORPUS}={tree}", "--workers", str(N_PROCESSES)]
        done, cost = timed(partial(subprocess.run, command, check=True, stdout=subprocess.PIPE))
        return cost, json.loads(done.stdout)["steps"]


def recipe_text(recipe: str, n_utterances: int) -> str:
    """The recipe; what pocketsphinx refuses does not stop it."""
    lines = [f'name = "line-{recipe}"', 'title = "The whole line"', f"failures.allowed = {n_utterances}"]
    lines += [f"[corpora.{CORPUS}]", 'reader = "iemocap"']
    for name in RECIPES[recipe]:
        section, plugin, fields = PLUGINS[name]
        naming = {"align": "aligner", "features": "extractor"}[section]
        lines += [f"[{section}.{name}]", f'{naming} = "{plugin}"', f'corpora = ["{CORPUS}"]']
        lines += [f'{field} = "{value}"' for field, value in fields.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
