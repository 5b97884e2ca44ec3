"""What kills, a full disk, clocks and second schedulers cost a build: rounds, counted into RELIABILITY.md.

Run as `PYTHONPATH=. python benchmarks/reliability.py --rounds 110`, the last part of `make test-all`. The rounds are
those of `tests/reliability`: a small build of the whole command is disturbed at a random moment, finished by the same
command, and held against one that nobody disturbed. What happens when is drawn from the seed alone; which work it meets
depends on how fast the machine is. The exit code is 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path

from benchmarks.marked import put_between
from tests.reliability.rounds import DISTURBANCES, N_WORKERS, Bench, Found, play

PAGE = Path(__file__).parents[1] / "RELIABILITY.md"
SCRIPT = "benchmarks/reliability.py"
HEADS = (
    "what happened", "rounds", "before the build was done", "the run went on by itself", "lost, doubled or other",
    "found by `verify --deep`", "half-written or alive", "works begun again, at most in a round",
)  # fmt: skip


def asked(n_rounds: int, seed: int) -> list[tuple[str, int]]:
    """The rounds: of each disturbance its share, and at least one."""
    total = sum(disturbance.share for disturbance in DISTURBANCES.values())
    return [
        (what, seed + number)
        for what, disturbance in DISTURBANCES.items()
        for number in range(max(1, round(disturbance.share * n_rounds / total)))
    ]


def measure(folder: Path, rounds: Sequence[tuple[str, int]], n_at_once: int) -> list[Found]:
    """Plays rounds that this machine can play, some at once, and tells of each."""
    bench = Bench(folder)
    possible = {what for what in {what for what, _ in rounds} if DISTURBANCES[what].is_possible()}
    if not possible:
        return []
    with bench.served(), ThreadPoolExecutor(n_at_once) as threads:
        bench.prepare()
        found = []
        for one in threads.map(partial(_played, bench), [each for each in rounds if each[0] in possible]):
            found.append(one)
            problems = "; ".join(one.problems) or "nothing lost"
            print(f"{len(found)} {one.what}, seed {one.seed}: {problems}", flush=True)
    return found


def _played(bench: Bench, asked: tuple[str, int]) -> Found:
    return play(bench, *asked)


def table(found: Sequence[Found], seed: int, lasted_s: float) -> str:
    """The rounds for RELIABILITY.md; what could not be played here is said."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("emolake", "prefect", "pyarrow", "duckdb"))
    lines = [
        f"{len(found)} rounds from seed {seed}, {N_WORKERS} workers, in {lasted_s / 60:.0f} minutes: {versions}, "
        f"Python {platform.python_version()}, {platform.system()}.",
        "",
        f"| {' | '.join(HEADS)} |",
        "|---" * len(HEADS) + "|",
    ]
    for what in DISTURBANCES:
        own = [one for one in found if one.what == what]
        if not own:
            lines.append(f"| {what} | none: this machine cannot |" + " |" * (len(HEADS) - 2))
            continue
        cells = [
            what, len(own), sum(one.was_disturbed for one in own), sum(one.went_on for one in own),
            sum(len(one.losses) for one in own), sum(len(one.faults) for one in own), sum(len(one.left) for one in own),
            max(one.n_repeated for one in own),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    problems = [f"* {one.what}, seed {one.seed}: {problem}" for one in found for problem in one.problems]
    return "\n".join([*lines, *(["", *problems] if problems else [])])


def main(arguments: Sequence[str] | None = None, page: Path = PAGE) -> int:
    """Plays the rounds and writes them into the page, where any can be played; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100, help="how many, of all disturbances together")
    parser.add_argument("--seed", type=int, default=0, help="of the first round of each")
    parser.add_argument("--at-once", type=int, default=2, help="rounds that are played at once")
    chosen = parser.parse_args(arguments)
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder) / "bench", asked(chosen.rounds, chosen.seed), chosen.at_once)
    if not found:
        print("none of these rounds can be played on this machine: see `needs` in tests/reliability/rounds.py")
        return 0
    text = table(found, chosen.seed, time.monotonic() - began_s)
    print(text)
    put_between(page, SCRIPT, text)
    return int(any(one.problems for one in found))


if __name__ == "__main__":
    sys.exit(main())
