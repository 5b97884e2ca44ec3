"""The flows of a schedule, as far as they go without a server: what they say, and what they try again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from prefect.states import Completed, Failed
from prefect.task_engine import TaskRunTimeoutError

from flows.operate import scheduled
from flows.run import Setup
from infra.launch import JobError
from infra.runtime import BadSetting
from tests.flows.operate.nightly import SCHEDULE, read
from warehouse import Warehouse
from warehouse.audit.errors import UnfinishedPurge
from warehouse.audit.tombstones import JOURNALS, refuse_unfinished
from warehouse.errors import EmolakeError, MissingFolder, NothingSelected, UnknownName, WorkerDied


def test_a_mistake_is_a_failed_state_with_its_sentence() -> None:
    def fail(error: Exception) -> Any:
        def work() -> Any:
            raise error

        return scheduled._answered(work, timeout_h=1.5)

    for error in (UnknownName("recipe", "dmeo", ["demo"]), JobError("students.mced", 1, "no memory"), OSError("full"),
                  BadSetting("EMOLAKE_WORKERS", "0", "a whole number from 1 on")):  # fmt: skip
        state = fail(error)
        assert (state.type.value, state.message) == ("FAILED", str(error))
    state = fail(TaskRunTimeoutError("Scope timed out"))
    assert state.message == "not done within 1.5 h: what was finished is kept, and the next run goes on there"
    assert fail(TimeoutError("timed out")).message == "timed out", "a socket's, which is no limit of ours"
    assert fail(TimeoutError()).message == "TimeoutError"
    with pytest.raises(ZeroDivisionError):  # a fault of our own is told with its place, by Prefect
        fail(ZeroDivisionError())
    done = Completed(message="all there")
    assert scheduled._answered(lambda: done) is done


def test_only_what_may_pass_is_tried_again() -> None:
    away = MissingFolder("films", Path("/mnt"), "mount it")
    for error in (JobError("x", -9, ""), WorkerDied("x"), OSError(), TimeoutError(), away):
        assert scheduled._may_pass(None, None, Failed(data=error))
    for mistake in (UnknownName("recipe", "dmeo", []), TaskRunTimeoutError(), EmolakeError("no"), ValueError()):
        assert not scheduled._may_pass(None, None, Failed(data=mistake))


def test_what_is_not_given_is_the_environments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in (("LAKE", tmp_path / "a"), ("DEVICE", "cuda"), ("WORKERS", 3), ("ROOT_FILMS", "/films")):
        monkeypatch.setenv(f"EMOLAKE_{name}", str(value))
    path, recipe, setup = scheduled._setup("demo", None, None, None, None)
    assert (path.stem, recipe.name) == ("demo", "demo")
    assert setup == Setup(tmp_path / "a", {"films": Path("/films")}, "cuda", 3, None)
    given = scheduled._setup("demo", str(tmp_path / "b"), {"films": "/f"}, "cpu", 1)[2]
    assert given == Setup(tmp_path / "b", {"films": Path("/f")}, "cpu", 1, None)


def recipe_in(folder: Path) -> dict[str, Any]:
    """The small recipe, over a lake and folders with nothing in them."""
    read(folder, SCHEDULE)
    roots = {name: str(folder / name) for name in ("iemocap", "meld", "films")}
    return {"recipe": str(folder / "small.toml"), "lake": str(folder / "lake"), "roots": roots, "device": "cpu"}


def test_where_a_purge_is_unfinished_nothing_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def looked(*given: Any) -> Any:
        raise AssertionError("it was looked at all the same")

    warehouse, given = Warehouse(tmp_path / "lake", create=True), recipe_in(tmp_path)
    (warehouse.root / JOURNALS).mkdir(exist_ok=True)
    (warehouse.root / JOURNALS / "one.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(scheduled, "salience", looked)
    monkeypatch.setattr(scheduled, "trials", looked)
    monkeypatch.setattr(scheduled, "concurrency", lambda names: nullcontext())
    with pytest.raises(UnfinishedPurge) as unfinished:
        refuse_unfinished(warehouse.root)
    for state in (scheduled.train.fn(selection="salient", new_salient_h=1, **given), scheduled.canary.fn(**given)):
        assert (state.type.value, state.message) == ("FAILED", str(unfinished.value))


def test_before_anything_is_chosen_training_is_not_yet_worth_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*given: Any) -> Any:
        raise NothingSelected(12)

    monkeypatch.setattr(scheduled, "salience", none)
    state = scheduled.train.fn(selection="salient", new_salient_h=1, **recipe_in(tmp_path))
    assert (state.type.value, state.name) == ("COMPLETED", "NotYet")
    assert str(state.message).startswith("the teacher is sure of none of 12 utterances")


def test_a_run_that_could_not_compare_what_was_learned_from_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    did = {"new": 0, "rows": 7, "seconds": 1.0, "steps": [], "report": None, "not_compared": "it was not: damaged"}
    monkeypatch.setattr(scheduled, "concurrency", lambda names, **how: nullcontext())
    monkeypatch.setattr(scheduled, "publish", lambda *given: None)
    monkeypatch.setattr(scheduled, "attempt", Mock(with_options=lambda **how: lambda *given: did))
    setup = Setup(Path("lake"), {}, "cpu", 1)
    state = scheduled._built(Path("x.toml"), Mock(), setup, "run", 0, 0.0, None)
    assert (state.type.value, state.message) == ("COMPLETED", "0 of 7 rows new, 1.0 s; it was not: damaged")


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
