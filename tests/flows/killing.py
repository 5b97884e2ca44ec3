"""Kills the command line at chosen moments, and looks for what it left behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from warehouse import Warehouse

HERE = Path(__file__).resolve().parents[2]
INTERRUPTED = "emolake: interrupted: what was finished is kept, and the same command continues there\n"
"""All that Ctrl-C has a command say."""

ORPHANS_S = 60.0
"""How long what a killed process leaves may take to notice: the server first writes what it has received."""


@dataclass(frozen=True)
class Moment:
    """So many seconds after a file of the run is there, but no later than another one is: a run may be faster than the
    one that the seconds were counted on."""

    path: str
    delay_s: float
    until: str


class Running:
    """A command of ours in a session of its own. Every process that descends from it can be found, wherever it went.

    Args:
        before: what runs the command, if it does not run by itself.
        module: that is run.
        environment: more of it.
    """

    def __init__(
        self, *arguments: str, cwd: Path, before: Sequence[str] = (), module: str = "flows", **environment: str
    ) -> None:
        self._mark = f"EMOLAKE_TEST_MARK={uuid.uuid4().hex}"
        name, _, value = self._mark.partition("=")
        self._out, self._err = cwd / f"{value}.out", cwd / f"{value}.err"
        with open(self._out, "wb") as out, open(self._err, "wb") as err:
            self.process = subprocess.Popen(
                [*before, sys.executable, "-m", module, *arguments], cwd=cwd, stdout=out, stderr=err,
                env=os.environ | {"PYTHONPATH": str(HERE), "COLUMNS": "160", name: value} | environment,
                start_new_session=True,
            )  # fmt: skip

    @property
    def printed(self) -> str:
        return self._out.read_text(encoding="utf-8")

    @property
    def complaint(self) -> str:
        return self._err.read_text(encoding="utf-8")

    def wait_for(self, happened: Callable[[], object], timeout_s: float = 300) -> None:
        deadline = time.monotonic() + timeout_s
        while not happened():
            assert self.process.poll() is None, f"it ended with {self.process.returncode}: {self.complaint}"
            assert time.monotonic() < deadline, "what was waited for never happened"
            time.sleep(0.01)

    def interrupt(self) -> int:
        """Ctrl-C at a terminal reaches the whole foreground group."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.end(timeout_s=120)

    def end(self, timeout_s: float) -> int:
        """Waits for the exit code; ends a process that hangs, so that it does not outlive the tests."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            found = self.descendants()
            self.kill(group=True)
            raise AssertionError(f"it hung: {found}, {self.printed}, {self.complaint}") from None

    def kill(self, group: bool) -> None:
        if group:
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.wait()

    def descendants(self) -> list[str]:
        """Command lines of the processes of this run that are alive."""
        return [*self.processes().values()]

    def processes(self) -> dict[int, str]:
        """The processes of this run that are alive, with their command lines."""
        found = {}
        for process in Path("/proc").iterdir():
            try:
                if process.name.isdigit() and self._mark.encode() in (process / "environ").read_bytes().split(b"\0"):
                    command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found[int(process.name)] = command
            except OSError:
                continue  # gone, or a zombie, or none of ours
        return found

    def wait_until_nobody_is_left(self) -> None:
        deadline = time.monotonic() + ORPHANS_S
        while left := self.descendants():
            assert time.monotonic() < deadline, f"orphans live on: {left}"
            time.sleep(0.05)


def identities(lake: Path) -> dict[str, str]:
    """Key -> digest of everything in a lake."""
    return {artifact.key: artifact.digest for artifact in Warehouse(lake).artifacts()}


def left_behind(folder: Path) -> list[str]:
    """What is half-written below a folder that holds a lake: scratch folders, and files beside those they replace."""
    lake = folder / "lake"
    found = [*(lake / ".scratch").glob("*"), *folder.glob(".*.writing-*"), *lake.glob(".*.json.*")]
    found += (lake / ".resume").glob("*")
    found += [*(lake / "refs").rglob(".*"), *(lake / "artifacts").rglob(".*")]
    found += [path for path in (lake / "artifacts").glob("*/*") if not (path / "manifest.json").exists()]
    return [str(path.relative_to(folder)) for path in found]


def timeline(folder: Path) -> list[tuple[float, str]]:
    """When each file of an undisturbed run was there, in order: the sandbox's files, the lake's marker, manifests."""
    found = [path for path in (folder / "sandbox").rglob("*") if path.is_file()]
    found += [folder / "lake" / "lake.json", *(folder / "lake" / "artifacts").glob("*/*/manifest.json")]
    return sorted((path.stat().st_mtime, path.relative_to(folder).as_posix()) for path in found)


def moments(times: Sequence[tuple[float, str]], n: int, seed: int) -> list[Moment]:
    """One random moment in each n-th of an undisturbed run, in order, told by the file that came before it."""
    chance = random.Random(seed)
    start_s, length_s = times[0][0], times[-1][0] - times[0][0]
    found = []
    for number in range(n):
        at_s = start_s + length_s * (number + chance.random()) / n
        before_s, path = max(entry for entry in times if entry[0] <= at_s)
        _, until = min(entry for entry in times if entry[0] > at_s)
        found.append(Moment(path, at_s - before_s, until))
    return found


def is_there(folder: Path, path: str) -> bool:
    """Whether a file of the run is there; the sandbox is written beside its folder first."""
    written, _, rest = path.partition("/")
    return (folder / path).exists() or any(folder.glob(f".{written}.writing-*/{rest}"))


def run_with_kills(arguments: Sequence[str], folder: Path, when: Sequence[Moment]) -> Running:
    """Kills a command at each moment, the process and its group in turn, starts it again at once, and lets the last
    one end.

    Returns:
        The last run, which has ended; of all the others nothing is alive either.
    """
    killed = []
    for number, moment in enumerate(when):
        running = Running(*arguments, cwd=folder)
        running.wait_for(lambda moment=moment: is_there(folder, moment.path))
        deadline = time.monotonic() + moment.delay_s
        running.wait_for(lambda moment=moment, deadline=deadline: (
            time.monotonic() >= deadline or is_there(folder, moment.until)
        ))  # fmt: skip
        assert running.process.poll() is None, f"it ended before it could be killed: {running.complaint}"
        running.kill(group=number % 2 == 1)
        killed.append(running)
    last = Running(*arguments, cwd=folder)
    code = last.end(timeout_s=1800)
    assert code == 0, last.complaint
    for running in [*killed, last]:
        running.wait_until_nobody_is_left()
        assert running.complaint == ""
    return last
