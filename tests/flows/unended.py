"""A run that is logged by a process of its own and goes on until somebody ends it. Imports no Prefect."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.doer import new_step
from flows.run_events import Reader
from flows.run_log import logged, step_began, tell_began
from warehouse import Request, Work

WORKS = [Work(Request("made", "write", 1, {"text": text}), n_rows=10) for text in "abc"]


@contextmanager
def unended(lake: Path, recipe: str = "unended") -> Iterator[subprocess.Popen[bytes]]:
    """Within it the run is under way, and its process is at the first of three works."""
    command = [sys.executable, "-m", "tests.flows.unended", str(lake), recipe]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    try:
        while not is_begun(lake, recipe):
            if process.poll() is not None:
                raise ChildProcessError(process.returncode)
            time.sleep(0.01)
        yield process
    finally:
        process.kill()
        process.wait()


def is_begun(lake: Path, recipe: str) -> bool:
    """Whether it is at its work."""
    folders = (lake / ".logs" / "runs").glob(f"*-{recipe}-*")
    return any(event["event"] == "began" for folder in folders for event in Reader(folder).more())


def go_on(lake: Path, recipe: str) -> None:
    """The run."""
    with logged(lake, recipe, verb="run", workers=1):
        step_began(new_step("one", WORKS, WORKS, 40), WORKS, {work.request.key: None for work in WORKS})
        tell_began(WORKS[:1])
        time.sleep(120)


if __name__ == "__main__":
    go_on(Path(sys.argv[1]), sys.argv[2])
