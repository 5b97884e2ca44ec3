"""The sums of the runs under way as Prometheus reads them, while a run goes and EMOLAKE_METRICS says where.

They are counted from the logs of the lake's runs whenever somebody asks, and by nobody else: a run that is not asked
costs nothing more. So one process serves all runs of its lake; a second, which finds the port taken, leaves it at that.
What Prometheus serves an OpenTelemetry collector takes too (its receiver `prometheus`), so there is one way out.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from flows.run_events import Reader, is_live, run_folders
from flows.run_log import tell
from flows.tally import StepTally, Tally
from infra.gpus import gpus

_COUNTERS: dict[str, tuple[str, Callable[[StepTally], float]]] = {
    "emolake_rows_wanted": ("Rows that steps asked for.", lambda step: step.rows),
    "emolake_rows_found": ("Rows wanted that the lake had.", lambda step: step.rows - step.new),
    "emolake_rows_made": ("Rows of works that were made.", lambda step: step.rows_made),
    "emolake_rows_failed": ("Utterances that could not be treated.", lambda step: step.rows_failed),
    "emolake_works_found": ("Works whose artifacts the lake had.", lambda step: step.found),
    "emolake_works_made": ("Works that were made.", lambda step: step.made),
    "emolake_works_failed": ("Works that could not be made.", lambda step: step.failed),
    "emolake_works_retried": ("Works begun again after a process died.", lambda step: step.retried),
    "emolake_workers_died": ("Processes that died at a work.", lambda step: step.died),
    "emolake_committed_bytes": ("Bytes of the artifacts that were made.", lambda step: step.n_bytes),
    "emolake_work_seconds": ("Seconds of work, of all processes together.", lambda step: step.work_s),
}
"""Name without '_total' -> what it says, and how it is counted. Labels: recipe, step."""


class Runs(Collector):
    """Collects the sums of a lake's runs: of those under way, and of each recipe's last that ended meanwhile, so that
    what it did at the end is not lost.

    Args:
        lake: its folder.
    """

    def __init__(self, lake: Path) -> None:
        self.lake = lake
        self._known: dict[str, tuple[Reader, Tally]] = {}
        self._lock = threading.Lock()  # two may ask at once

    def describe(self) -> list[Metric]:
        """Nothing: a registry then does not collect, which reads files, when this is registered."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Reads what the logs say since the last time."""
        with self._lock:
            return list(self._collected())

    def _collected(self) -> Iterator[Metric]:
        runs, now = self._runs(), time.time()
        by_step: dict[tuple[str, str], list[StepTally]] = defaultdict(list)
        for recipe, tally, _ in runs:
            for step in tally.steps.values():
                by_step[(recipe, step.name)].append(step)
        for name, (what, count) in _COUNTERS.items():
            counter = CounterMetricFamily(name, what, labels=("recipe", "step"))
            for labels, steps in by_step.items():
                counter.add_metric(labels, sum(map(count, steps)))
            yield counter
        yield from _of_steps(by_step, now)
        yield from _of_runs(runs)
        yield from _of_gpus()

    def _runs(self) -> list[tuple[str, Tally, bool]]:
        """Recipe, sums, and whether it is under way."""
        folders = {folder.name: folder for folder in run_folders(self.lake)}
        live = {name for name, folder in folders.items() if is_live(folder)}
        for name in sorted(live - self._known.keys()):
            self._known[name] = (Reader(folders[name]), Tally())
        for reader, tally in self._known.values():
            tally.add(reader.more())
        last = {str(tally.began.get("recipe", "")): name for name, (_, tally) in sorted(self._known.items())}
        for name, (_, tally) in list(self._known.items()):
            if name not in live and last[str(tally.began.get("recipe", ""))] != name:
                del self._known[name]
        return [(str(t.began.get("recipe", "")), t, name in live) for name, (_, t) in self._known.items()]


def _of_steps(by_step: dict[tuple[str, str], list[StepTally]], now: float) -> Iterator[Metric]:
    labels = ("recipe", "step")
    pace = GaugeMetricFamily("emolake_rows_per_second", "Rows made per second of the step.", labels=labels)
    hits = GaugeMetricFamily("emolake_cache_hit_ratio", "Rows found, of those wanted.", labels=labels)
    seconds = GaugeMetricFamily("emolake_step_seconds", "Seconds that the step has taken.", labels=labels)
    for own, steps in by_step.items():
        rates = [rate for step in steps if (rate := step.rows_per_s(now)) is not None]
        wanted = sum(step.rows for step in steps)
        if rates:
            pace.add_metric(own, sum(rates))
        if wanted:
            hits.add_metric(own, sum(step.rows - step.new for step in steps) / wanted)
        seconds.add_metric(own, sum(step.lasted_s(now) for step in steps))
    yield from (pace, hits, seconds)


def _of_runs(runs: list[tuple[str, Tally, bool]]) -> Iterator[Metric]:
    queue: dict[str, int] = defaultdict(int)
    hands: dict[str, int] = defaultdict(int)
    count: dict[str, int] = defaultdict(int)
    for recipe, tally, is_under_way in runs:
        queue[recipe] += tally.waiting if is_under_way else 0
        hands[recipe] += len(tally.running) if is_under_way else 0
        count[recipe] += is_under_way
    told = (
        ("emolake_works_waiting", "Works that nobody has begun: the depth of the queue.", queue),
        ("emolake_works_in_flight", "Works that somebody is at.", hands),
        ("emolake_runs", "Runs under way.", count),
    )
    for name, what, counts in told:
        gauge = GaugeMetricFamily(name, what, labels=("recipe",))
        for recipe, n in counts.items():
            gauge.add_metric((recipe,), n)
        yield gauge


def _of_gpus() -> Iterator[Metric]:
    """Nothing where no accelerator says anything: absent is not idle."""
    busy = GaugeMetricFamily("emolake_gpu_utilization_ratio", "How busy the accelerator is.", labels=("gpu",))
    used = GaugeMetricFamily("emolake_gpu_memory_used_bytes", "Memory used of the accelerator.", labels=("gpu",))
    for gpu in gpus():
        if gpu.busy is not None:
            busy.add_metric((str(gpu.number),), gpu.busy)
        if gpu.used is not None:
            used.add_metric((str(gpu.number),), gpu.used)
    yield from (family for family in (busy, used) if family.samples)


@contextmanager
def served(lake: Path, where: tuple[str, int] | None) -> Iterator[int | None]:
    """Within it, the metrics of a lake's runs are at `http://<host>:<port>/metrics`.

    The hard case is a port that is taken: whoever has it may serve the same lake, and a run does not fail for its
    metrics; the run's log says why there are none.

    Args:
        where: host and port; None serves nothing.

    Returns:
        The port, or None where nothing is served.
    """
    server = None
    if where is not None:
        registry = CollectorRegistry()
        registry.register(Runs(lake))
        try:
            server, thread = start_http_server(where[1], where[0], registry)
        except OSError as error:
            tell("metrics", served=False, why=str(error.strerror or error))
    try:
        yield server.server_port if server else None
    finally:
        if server:
            server.shutdown()
            server.server_close()
            thread.join()
