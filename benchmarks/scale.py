"""A build of ten million utterances, simulated: hours on N workers, and what of them is not work.

    PYTHONPATH=. python benchmarks/scale.py [--write]

Prints the tables of `infra/SCALE.md`; with `--write` puts them there, between their marks. Nothing here was run at that
size: durations are costs that were measured on two cores (`BENCHMARKS.md`), multiplied up, and what lies between the
works is what Prefect and a store were measured or assumed to cost. Every such number is in `COSTS` with its source.

The model: works wait in one line, the longest first. A worker that is free asks the one server, which answers one after
the other, each in so many seconds of its own; then it works, and commits what it made to the store, which takes so many
bytes a second from all workers together. What the server has to write down at the end, it writes when all is done.
"""

from __future__ import annotations

import heapq
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.marked import put_between

N_UTTERANCES, UTTERANCE_S, BATCH_S = 10_000_000, 3.0, 240.0
WORKERS = (1, 2, 16, 64)
PAGE = Path(__file__).parent.parent / "infra" / "SCALE.md"
SCRIPT = "benchmarks/scale.py"


@dataclass(frozen=True)
class Costs:
    """What lies between works.

    Args:
        start_s: until the first work begins.
        ask_s: of the server, for each task that it hands out.
        end_s: of the server, for each task, when all are done.
        commit_s: of a worker, for each artifact: its files and its manifest, written and flushed one after the other.
        store_bytes_per_s: of all workers together; 0 for a store that takes everything at once.
    """

    start_s: float = 0.0
    ask_s: float = 0.0
    end_s: float = 0.0
    commit_s: float = 0.0
    store_bytes_per_s: float = 0.0


NOTHING = Costs()


@dataclass(frozen=True)
class Run:
    """What became of a simulated build.

    Args:
        seconds: from the first to the last.
        work_s: of all works together, without what lies between them.
        flush_s: of the seconds, those at the end in which only the server is busy.
        server_s: in which the server handed out tasks.
        store_s: in which the store took bytes.
    """

    seconds: float
    work_s: float
    flush_s: float
    server_s: float
    store_s: float

    def efficiency(self, n_workers: int) -> float:
        """The share of the workers' time that was work."""
        return self.work_s / (self.seconds * n_workers) if self.seconds else 1.0


def simulate(works_s: Iterable[float], n_workers: int, costs: Costs = NOTHING, n_bytes: float = 0.0) -> Run:
    """A build of works that take so many seconds each, on so many workers.

    Both the server and the store are lines in which one is served after the other, in the order in which they come.

    Args:
        n_bytes: that each work commits.
    """
    waiting = sorted(works_s, reverse=True)
    transfer_s = n_bytes / costs.store_bytes_per_s if costs.store_bytes_per_s else 0.0
    events = [(costs.start_s, worker, False) for worker in range(n_workers)]  # when, who, whether with a work computed
    server = store = end = costs.start_s
    n_asked = 0
    while events:
        at, worker, is_computed = heapq.heappop(events)
        if is_computed:
            store = max(store, at) + transfer_s
            end = max(end, store + costs.commit_s)
            heapq.heappush(events, (store + costs.commit_s, worker, False))
        elif n_asked < len(waiting):
            server = max(server, at) + costs.ask_s
            heapq.heappush(events, (server + waiting[n_asked], worker, True))
            n_asked += 1
    flush_s = len(waiting) * costs.end_s
    return Run(end + flush_s, sum(waiting), flush_s, len(waiting) * costs.ask_s, len(waiting) * transfer_s)


# -- what was measured -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """A plug-in over a corpus of speech.

    Args:
        work_s: of one worker, for a second of sound.
        n_bytes: that a second of sound becomes.
        source: of both numbers.
    """

    name: str
    work_s: float
    n_bytes: float
    source: str


TOKENS = 14  # of an utterance
STEPS = (
    Step("mfcc", 1 / 1069, 100 * 13 * 4, "1069 × real time (Extraction); 13 numbers, 100 Hz"),
    Step("openSMILE, 130-d frames", 1 / 96, 223e6 / 4261, "96 × (Two processes); 223 MB of 4261 s (Shards to batches)"),
    Step("openSMILE, functionals", 1 / 61, (88 * 4 + 32) / UTTERANCE_S, "61 × (Extraction); 88 numbers and an id"),
    Step("pocketsphinx", 1 / 27, 58 * 12 / UTTERANCE_S, "27 × (Two processes); 58 intervals of 12 bytes (the demo)"),
    Step(
        "text encoder, base, 2 layers, CPU", 2.35e-3 * TOKENS / UTTERANCE_S, 2 * TOKENS * 768 * 2 / UTTERANCE_S,
        f"2.35 s per 1,000 tokens (A text encoder); {TOKENS} tokens, float16",
    ),
    Step(
        "speech encoder, base, 2 layers, CPU", 0.168, 2 * 50 * 768 * 2,
        "0.168 s per second (A speech encoder); 50 Hz, float16",
    ),
)  # fmt: skip

PREFECT = Costs(start_s=11.1, ask_s=0.003, end_s=0.030)
"""Measured: the embedded server is up after some 10 s, an empty flow takes 1.1 s; a task run costs 3 ms while the flow
runs, and 30 ms more at its end (800 task runs: 17 to 30 s)."""

DISK = replace(PREFECT, commit_s=0.010)
"""And three files and a folder, flushed: assumed."""

BUCKET = replace(PREFECT, commit_s=0.200, store_bytes_per_s=1.25e9)
"""And three puts, one after the other, of 67 ms; a network of 10 Gbit/s for all: both assumed."""


def works_of(step: Step, total_s: float, batch_s: float) -> list[float]:
    """Seconds of each work: batches end with an utterance, and are a little shorter than they may be."""
    n = round(total_s / batch_s)
    return [step.work_s * batch_s * (0.975 + 0.05 * (number * 7919 % 101) / 101) for number in range(n)]


# -- the tables ------------------------------------------------------------------------------------------------------


def main() -> None:
    """Prints the tables, or puts them into the page."""
    text = "\n\n".join([amounts(), hours(), sizes(), checks()])
    print(text)
    if "--write" in sys.argv:
        put_between(PAGE, SCRIPT, text)


def amounts() -> str:
    """What the lake would hold of each step."""
    rows = [["step", "artifacts of 240 s", "objects", "list requests", "bytes", "worker-hours", "from"]]
    total_s = N_UTTERANCES * UTTERANCE_S
    for step in STEPS:
        n = round(total_s / BATCH_S)
        rows.append([step.name, f"{n:,}", f"{3 * n:,}", f"{-(-3 * n // 1000):,}", in_bytes(step.n_bytes * total_s),
                     f"{step.work_s * total_s / 3600:,.0f}", step.source])  # fmt: skip
    return markdown(rows)


def hours() -> str:
    """Hours on N workers, and the share of them that is work."""
    rows = [["step, batches of 240 s", *(f"{n} worker{'s' * (n > 1)}" for n in WORKERS), f"{WORKERS[-1]}, on a bucket"]]
    total_s = N_UTTERANCES * UTTERANCE_S
    for step in STEPS:
        works = works_of(step, total_s, BATCH_S)
        cells = [told(simulate(works, n, DISK), n) for n in WORKERS]
        bucket = simulate(works, WORKERS[-1], BUCKET, step.n_bytes * BATCH_S)
        rows.append([step.name, *cells, told(bucket, WORKERS[-1])])
    return markdown(rows)


def sizes() -> str:
    """What the size of a task costs, for the two ends of what there is."""
    batches = (60.0, 240.0, 960.0, 3840.0, 15360.0)
    rows = [["work and workers", *(f"tasks of {batch:,.0f} s" for batch in batches)]]
    total_s = N_UTTERANCES * UTTERANCE_S
    rows.append(["task runs", *(f"{total_s / batch:,.0f}" for batch in batches)])
    rows.append(["the server's end, hours", *(f"{total_s / batch * PREFECT.end_s / 3600:.2f}" for batch in batches)])
    for step in (STEPS[1], STEPS[3]):
        for n in WORKERS:
            runs = [simulate(works_of(step, total_s, batch), n, DISK) for batch in batches]
            rows.append([f"{step.name}, {n}", *(told(run, n) for run in runs)])
    return markdown(rows)


def checks() -> str:
    """The model against what was measured at small sizes."""
    lld = STEPS[1]
    one, two = (simulate([12 * lld.work_s] * 100, n) for n in (1, 2))
    n_works = round(10_000 * 2.7 / BATCH_S)
    line = simulate([154.2 * 2 / n_works] * n_works, 2, replace(PREFECT, start_s=1.1))
    rest = (
        13.2 + 5.2 + 15 * (PREFECT.ask_s + PREFECT.end_s)
    )  # ingest and the shipped alignment, with works of their own
    return markdown([
        ["what", "simulated", "measured", "from"],
        ["openSMILE frames, works of 12 s, two processes against one", f"{one.seconds / two.seconds:.2f}", "1.95",
         "Two processes against one"],
        ["10,000 utterances: ingest, shipped alignment and openSMILE frames as one run, two processes, s",
         f"{line.seconds + rest:.1f}", "177.3", "The whole line (the server starts beside the hashing)"],
    ])  # fmt: skip


def told(run: Run, n_workers: int) -> str:
    """Hours, and the share that is work."""
    return f"{run.seconds / 3600:,.1f} h, {run.efficiency(n_workers):.0%}"


def in_bytes(n: float) -> str:
    """In GB or TB."""
    return f"{n / 1e12:.1f} TB" if n >= 1e12 else f"{n / 1e9:.0f} GB"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is its head."""
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


if __name__ == "__main__":
    main()
