"""How extraction scales with workers, and what a task run costs, under each task runner.

    PYTHONPATH=. python benchmarks/scaling.py extraction [N] [FOLDER] [RUNNER ...] [--write]
    PYTHONPATH=. python benchmarks/scaling.py orchestration [RUNNER ...] [--write]

With --write the table goes into BENCHMARKS.md.

**extraction**: N utterances of synthesised speech in IEMOCAP's layout (1,000; written to FOLDER once), openSMILE's
ComParE LLDs by `emolake extract` in a new lake, with one worker and with two: the whole command, and its stage alone.

**orchestration**: what is left where works cost nothing but time. Tasks of the flow sleep as long as a shard takes, for
1, 2, 16 and 64 workers that are threads of one process (of the flow's, or of one Dask worker), so that two cores hold
them; Prefect's engine, its server and its events are those of any run. A worker of a real cluster is a process with an
engine of its own: what many threads wait for each other in one process is therefore too much, not too little.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.line import CORPUS, Cost, folder_for, timed, with_fresh_lake, write
from benchmarks.marked import put_between
from flows.server import prefect_server

PAGE = Path(__file__).parents[1] / "BENCHMARKS.md"
SCRIPTS = {what: f"benchmarks/scaling.py {what}" for what in ("extraction", "orchestration")}
RECIPE = f"""
name = "scaling"
title = "One extractor"
[corpora.{CORPUS}]
reader = "iemocap"
[features.lld]
extractor = "opensmile"
corpora = ["{CORPUS}"]
feature_set = "ComParE_2016"
level = "lld_and_deltas"
"""
STEP = "extract lld"
SHARD_S = 2.0
"""About what 240 s of sound take openSMILE on a core: the smallest shard that a run has many of."""

SIZES = ((1, 10), (2, 20), (16, 128), (64, 512))
"""Workers and tasks."""

COUNTS = (10, 100, 400)
"""Tasks that do nothing."""

ORCHESTRATED = ["threads", "dask"]
WHY_NOT = "their workers are processes, of which two cores do not hold 64"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=SCRIPTS)
    parser.add_argument("rest", nargs="*")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    if given.what == "extraction":
        n, folder, *names = [*given.rest, *("1000", "", "threads")[len(given.rest) :]]
        lines = extraction(int(n), folder, names)
    else:
        names = given.rest or ORCHESTRATED
        if others := set(names) - set(ORCHESTRATED):
            parser.error(f"orchestration has {' and '.join(ORCHESTRATED)}, not {', '.join(sorted(others))}: {WHY_NOT}")
        lines = orchestration(names)
    told = []
    for line in lines:
        print(line, flush=True)
        told.append(line)
    if given.write:
        put_between(PAGE, SCRIPTS[given.what], "\n".join(told))


# -- one worker and two ------------------------------------------------------------------------------------------------


def extraction(n: int, folder: str, runners: Sequence[str]) -> Iterator[str]:
    """A row per runner and number of workers."""
    with folder_for(folder) as place:
        tree = place / f"tree-{n}"
        n_utterances = write(tree, n)
        yield f"{n_utterances} utterances; load {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores before it.\n"
        yield "| runner | workers | whole command, s | ratio | the extraction alone, s | ratio |"
        yield "|---|---|---|---|---|---|"
        for runner in runners:
            one: tuple[float, float] | None = None
            for n_workers in (1, 2):
                cost, step_s = with_fresh_lake(place / "lake", partial(extracted, tree, runner, n_workers))
                one = one or (cost.clock_s, step_s)
                ratios = f"{one[0] / cost.clock_s:.2f}", f"{one[1] / step_s:.2f}"
                yield f"| {runner} | {n_workers} | {cost.clock_s:.1f} | {ratios[0]} | {step_s:.1f} | {ratios[1]} |"


def extracted(tree: Path, runner: str, n_workers: int, lake: Path) -> tuple[Cost, float]:
    """What the command costs, and the seconds of its extraction."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "scaling.toml"
        recipe.write_text(RECIPE)
        command = [sys.executable, "-m", "flows", "extract", str(recipe), "--lake", str(lake), "--json"]
        command += ["--root", f"{CORPUS}={tree}", "--workers", str(n_workers)]
        environ = os.environ | {"EMOLAKE_RUNNER": runner}
        done, cost = timed(partial(subprocess.run, command, check=True, stdout=subprocess.PIPE, env=environ))
    return cost, next(step["seconds"] for step in json.loads(done.stdout)["steps"] if step["step"] == STEP)


# -- orchestration alone -----------------------------------------------------------------------------------------------


def orchestration(runners: Sequence[str]) -> Iterator[str]:
    """What tasks cost that sleep, and tasks that do nothing."""
    yield f"Load {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores before it.\n"
    yield "| runner | workers | tasks of | at best, s | flow, s | of the best | records written after, s | ms a task |"
    yield "|---|---|---|---|---|---|---|---|"
    for runner in runners:
        for n_workers, n_tasks in SIZES:
            yield row(runner, n_workers, n_tasks, SHARD_S)
        for n_tasks in COUNTS:
            yield row(runner, 2, n_tasks, 0.0)


def row(runner: str, n_workers: int, n_tasks: int, seconds: float) -> str:
    """One row, measured with a server of its own."""
    flow_s, after_s = slept(runner, n_workers, n_tasks, seconds)
    best_s = n_tasks * seconds / n_workers
    share = f"{best_s / flow_s:.3f}" if seconds else ""
    cost_ms = 1000 * (flow_s + after_s - best_s) / n_tasks
    asked = f"| {runner} | {n_workers} | {n_tasks} × {seconds:g} s | {best_s:.0f} "
    return f"{asked}| {flow_s:.1f} | {share} | {after_s:.1f} | {cost_ms:.0f} |"


def slept(runner: str, n_workers: int, n_tasks: int, seconds: float) -> tuple[float, float]:
    """Seconds of the flow, and from its end until its server had all records."""
    with tempfile.TemporaryDirectory() as home:
        with prefect_server(Path(home)) as wait_until_ready:
            wait_until_ready()
            from prefect import flow, task
            from prefect.cache_policies import NO_CACHE

            @task(name="nap", cache_policy=NO_CACHE, persist_result=False)
            def nap(seconds: float) -> None:
                time.sleep(seconds)

            @flow(name="naps", persist_result=False)
            def naps() -> float:
                with threads_of(runner, n_workers) as threads:
                    threads.submit(nap, {"seconds": 0.0}).result()  # whoever does tasks imports what that needs
                    began = time.perf_counter()
                    for future in [threads.submit(nap, {"seconds": seconds}) for _ in range(n_tasks)]:
                        future.result()
                    return time.perf_counter() - began

            flow_s = naps()
            ended = time.perf_counter()
        return flow_s, time.perf_counter() - ended


@contextmanager
def threads_of(runner: str, n_workers: int) -> Iterator[Any]:
    """A task runner whose workers are threads of one process."""
    if runner == "threads":
        from prefect.task_runners import ThreadPoolTaskRunner

        with ThreadPoolTaskRunner(max_workers=n_workers) as threads:
            yield threads
        return
    import logging

    from distributed import LocalCluster
    from prefect_dask import DaskTaskRunner

    settings: dict[str, Any] = {"dashboard_address": None, "memory_limit": 0, "silence_logs": logging.CRITICAL}
    os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
    with (
        LocalCluster(n_workers=1, threads_per_worker=n_workers, processes=True, **settings) as cluster,
        DaskTaskRunner(cluster=cluster) as threads,
    ):
        yield threads


if __name__ == "__main__":
    main()
