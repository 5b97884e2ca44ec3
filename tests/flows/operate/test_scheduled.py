"""The flows of a schedule, as far as they go without a server: what they say, and what they try again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from prefect.states import Completed, Failed

from flows.operate import scheduled
from flows.run import Setup
from infra.launch import JobError
from infra.runtime import BadSetting
from warehouse.errors import EmolakeError, MissingFolder, UnknownName, WorkerDied


def test_a_mistake_is_a_failed_state_with_its_sentence() -> None:
    def fail(error: Exception) -> Any:
        def work() -> Any:
            raise error

        return scheduled._answered(work, timeout_h=1.5)

    for error in (UnknownName("recipe", "dmeo", ["demo"]), JobError("students.mced", 1, "no memory"), OSError("full"),
                  BadSetting("EMOLAKE_WORKERS", "0", "a whole number from 1 on")):  # fmt: skip
        state = fail(error)
        assert (state.type.value, state.message) == ("FAILED", str(error))
    state = fail(TimeoutError("Scope timed out"))
    assert state.message == "not done within 1.5 h: what was finished is kept, and the next run goes on there"
    with pytest.raises(ZeroDivisionError):  # a fault of our own is told with its place, by Prefect
        fail(ZeroDivisionError())
    done = Completed(message="all there")
    assert scheduled._answered(lambda: done) is done


def test_only_what_may_pass_is_tried_again() -> None:
    for error in (JobError("x", -9, ""), WorkerDied("x"), OSError(), MissingFolder("films", Path("/mnt"), "mount it")):
        assert scheduled._may_pass(None, None, Failed(data=error))
    for mistake in (UnknownName("recipe", "dmeo", []), TimeoutError(), EmolakeError("no"), ValueError()):
        assert not scheduled._may_pass(None, None, Failed(data=mistake))


def test_what_is_not_given_is_the_environments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in (("LAKE", tmp_path / "a"), ("DEVICE", "cuda"), ("WORKERS", 3), ("ROOT_FILMS", "/films")):
        monkeypatch.setenv(f"EMOLAKE_{name}", str(value))
    path, recipe, setup = scheduled._setup("demo", None, None, None, None)
    assert (path.stem, recipe.name) == ("demo", "demo")
    assert setup == Setup(tmp_path / "a", {"films": Path("/films")}, "cuda", 3, None)
    given = scheduled._setup("demo", str(tmp_path / "b"), {"films": "/f"}, "cpu", 1)[2]
    assert given == Setup(tmp_path / "b", {"films": Path("/f")}, "cpu", 1, None)


def test_long_lists_are_cut() -> None:
    assert scheduled._listed("abc") == "a; b; c"
    assert scheduled._listed("abcdefg") == "a; b; c; d; e; and 2 more"


def test_a_run_ends_with_the_process_that_serves() -> None:
    program = (
        "import os, subprocess, sys, time\n"
        "own = 'import os, sys, time; from flows.operate.scheduled import _end_with; _end_with(sys.argv[1]); "
        "print(os.getpid(), flush=True); time.sleep(60)'\n"
        "subprocess.Popen([sys.executable, '-c', own, str(os.getpid())])\n"
        "time.sleep(60)\n"
    )
    command, here = [sys.executable, "-c", program], Path(__file__).parents[3]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=here) as server:
        assert server.stdout is not None
        run = int(server.stdout.readline())
        server.kill()
        server.wait()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{run}/stat").exists() and "Z" not in Path(f"/proc/{run}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline, "it outlived who serves"
        time.sleep(0.05)


def test_others_are_not_ended() -> None:
    scheduled._end_with("")
    scheduled._end_with(str(os.getppid() + 1))
