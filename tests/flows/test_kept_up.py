"""Processes that die, and what takes their place."""

from __future__ import annotations

import subprocess
import threading
import time

import pytest

from flows import kept_up
from flows.kept_up import KeptUp


class Begun:
    """Starts processes that only wait, and counts."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        self.is_given_up = threading.Event()
        self.fails = False

    def __call__(self) -> subprocess.Popen[bytes]:
        if self.fails:
            raise OSError("no more processes")
        self.processes.append(subprocess.Popen(["sleep", "60"]))
        return self.processes[-1]

    def kill_the_last(self, n: int) -> None:
        """As soon as there are so many."""
        deadline = time.monotonic() + 30
        while len(self.processes) < n:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        self.processes[-1].kill()


def test_who_dies_is_replaced_until_nobody_wants_it_any_more() -> None:
    begun = Begun()
    kept = KeptUp(begun, begun.is_given_up.set)
    kept.watch()
    begun.kill_the_last(1)
    begun.kill_the_last(2)
    while len(begun.processes) < 3:
        time.sleep(0.005)
    last = kept.last()
    last.kill()
    last.wait()
    time.sleep(0.1)
    assert len(begun.processes) == 3 and not begun.is_given_up.is_set()


@pytest.mark.parametrize("fails", [False, True])
def test_who_always_dies_or_cannot_be_started_is_given_up(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    monkeypatch.setattr(kept_up, "MOST_DEATHS", 2)
    begun = Begun()
    kept = KeptUp(begun, begun.is_given_up.set)
    begun.fails = fails
    kept.watch()
    for number in range(1, 2 if fails else 4):
        begun.kill_the_last(number)
    assert begun.is_given_up.wait(30)
    kept.last().wait()


def test_a_death_before_the_watch_is_the_starters_to_complain_of() -> None:
    begun = Begun()
    kept = KeptUp(begun, begun.is_given_up.set)
    kept.process.kill()
    kept.process.wait()
    time.sleep(0.05)
    assert len(begun.processes) == 1
