"""Works in processes of their own: their mistakes come back, their crashes take nothing else along."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from flows import run_log
from flows.doer import Unmade
from flows.tasks import answer
from flows.workers import kept_workers, workers
from infra.launch import JobError, run_job
from tests.flows import deeds
from tests.flows.recorded import events
from warehouse import Request, Warehouse, Work
from warehouse.errors import DiskFull, Untreatable, WorkerDied

QUIET = lambda done, total, note: None  # noqa: E731


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return Warehouse(tmp_path / "lake", create=True).root


def work(name: str, **arguments: str) -> Work:
    return Work(Request("made", name, 1, arguments), getattr(deeds, name), arguments)


def test_a_work_is_done_in_another_process(lake: Path) -> None:
    with workers(lake, 1, "cpu") as pool:
        [artifact] = pool.answer([work("write_pid")], QUIET)
    assert int(artifact.path("pid").read_text()) != os.getpid()


def test_what_a_work_raises_comes_back_as_it_was(lake: Path) -> None:
    with workers(lake, 1, "cpu") as pool, pytest.raises(Untreatable, match="the clip is too odd"):
        pool.answer([work("refuse", reason="the clip is too odd")], QUIET)


def test_a_native_crash_is_one_sentence_and_no_artifact(lake: Path) -> None:
    with workers(lake, 1, "cpu") as pool, pytest.raises(WorkerDied, match="a worker process died while it did 'crash'"):
        pool.answer([work("crash")], QUIET)
    warehouse = Warehouse(lake)
    assert warehouse.artifacts() == [] and not list((lake / ".scratch").glob("*"))


def test_a_full_disk_is_one_sentence_and_no_artifact(lake: Path) -> None:
    with workers(lake, 1, "cpu") as pool, pytest.raises(DiskFull, match=r"no space left on .* while 'fill'"):
        pool.answer([work("fill")], QUIET)
    assert Warehouse(lake).artifacts() == [] and not list((lake / ".scratch").glob("*"))


def test_functions_go_one_by_one_and_jobs_are_dealt_out(lake: Path) -> None:
    functions = [work("write_pid", number=str(n)) for n in range(2)]
    jobs = [Work(Request("made", "students.x", 1, {"n": n})) for n in range(5)]
    with workers(lake, 2, "cpu") as pool:
        batches = pool.batches([*functions, *jobs])
    assert batches == [[functions[0]], [functions[1]], jobs[0::2], jobs[1::2]]
    with workers(lake, 2, "cuda") as pool:
        assert pool.batches(jobs) == [jobs], "one accelerator is not shared by processes"


def test_leaving_ends_busy_processes_at_once(lake: Path) -> None:
    began = time.monotonic()
    with workers(lake, 1, "cpu") as pool:
        pool._pool.submit(time.sleep, 60)
        time.sleep(0.2)
    assert time.monotonic() - began < 30


def test_leaving_in_the_middle_of_a_work_leaves_no_scratch(lake: Path, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with workers(lake, 1, "cpu") as pool:
        pool._submit(pool._pool, work("begin_and_sleep", path=str(note)))
        _text_when_there(note)
        assert len(list((lake / ".scratch").glob("*/half"))) == 1
    assert not list((lake / ".scratch").glob("*"))


def test_what_a_stop_ends_is_told_as_no_failure(lake: Path, tmp_path: Path) -> None:
    """Ctrl-C stops the workers; the threads that wait for their answers hear of processes and jobs that died."""
    note = tmp_path / "pid"
    asleep, job = work("begin_and_sleep", path=str(note)), Work(Request("checkpoint", "students.x", 1))
    with run_log.logged(lake, "small"), ThreadPoolExecutor() as threads:
        with workers(lake, 1, "cpu") as pool:
            answered = threads.submit(answer.fn, pool, [asleep], QUIET)
            _text_when_there(note)
        with pytest.raises(WorkerDied):
            answered.result(30)
        with pytest.raises(JobError):
            answer.fn(pool, [job], QUIET)
    told = [(event["event"], event["maker"]) for event in events(Warehouse(lake)) if "maker" in event]
    assert told == [("began", "begin_and_sleep"), ("began", "students.x")]


def test_a_job_that_a_thread_begins_after_the_stop_is_ended(lake: Path) -> None:
    with workers(lake, 1, "cpu") as pool:
        pass
    with pytest.raises(JobError, match=r"the job 'students\.x' was ended by signal 15"):
        pool.answer([Work(Request("checkpoint", "students.x", 1))], QUIET)


def test_whoever_launched_no_job_ends_none(lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others of the same process may have some: kept ones leave whenever they have been idle for long enough."""
    job, begun, go = Work(Request("checkpoint", "students.x", 1)), threading.Event(), tmp_path / "go"
    program = (
        "import os, time\n"
        """print('{"done": 0, "total": 1, "note": ""}', flush=True)\n"""
        f"while not os.path.exists({str(go)!r}): time.sleep(0.02)\n"
        f"""print('{{"key": "{job.request.key}", "error": "it makes nothing"}}')\n"""
    )
    command = [sys.executable, "-S", "-c", program]
    monkeypatch.setattr("flows.workers.launcher_of", lambda runtime: partial(run_job, command=command))
    with ThreadPoolExecutor() as threads, workers(lake, 1, "cpu") as pool:
        answered = threads.submit(pool.answer, [job], lambda *told: begun.set())
        assert begun.wait(30)
        with workers(lake, 1, "cpu"):
            pass
        go.touch()
        assert answered.result(30) == [Unmade(job.request.key, "it makes nothing")]


def test_a_process_is_deaf_to_ctrl_c_from_its_start(lake: Path) -> None:
    with workers(lake, 1, "cpu") as pool:
        future = pool._submit(pool._pool, work("write_pid"))
        (process,) = (pool._pool._processes or {}).values()
        blocked = re.search(r"SigBlk:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())
        assert blocked and int(blocked[1], 16) >> (signal.SIGINT - 1) & 1
        future.result()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_processes_that_are_kept_serve_the_next_task_and_leave_when_none_comes(lake: Path) -> None:
    """Two tasks at once, as a Dask worker of our own has them, take turns at its one process."""
    asked = [Work(Request("made", "write_pid", 1, {"number": number}), deeds.write_pid) for number in range(3)]
    with kept_workers(str(lake), 1, idle_s=60) as first, ThreadPoolExecutor() as threads:
        [made], [beside] = threads.map(lambda one: first.answer([one], QUIET), asked[:2])
        assert len(first._pool._processes or {}) == 1
    with kept_workers(str(lake), 1, idle_s=0.05) as again:
        [next_one] = again.answer(asked[2:], QUIET)
    assert again is first
    assert len({one.path("pid").read_text() for one in (made, beside, next_one)}) == 1
    deadline = time.monotonic() + 30
    while _is_alive(int(made.path("pid").read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_parent_takes_its_processes_along(lake: Path, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program = (
        "from pathlib import Path; from flows.workers import workers; from tests.flows import deeds\n"
        f"with workers(Path({str(lake)!r}), 1, 'cpu') as pool:\n"
        f"    pool._pool.submit(deeds.note_pid_and_sleep, {str(note)!r}).result()\n"
    )
    here = Path(__file__).resolve().parents[2]
    command, variables = [sys.executable, "-c", program], os.environ | {"PYTHONPATH": str(here)}
    parent = subprocess.Popen(command, cwd=here, env=variables, stderr=subprocess.PIPE)
    child = int(_text_when_there(note))
    parent.send_signal(signal.SIGKILL)
    _, complaint = parent.communicate(timeout=60)  # until nobody is left who could say something
    assert complaint == b""
    deadline = time.monotonic() + 10
    while _is_alive(child):
        assert time.monotonic() < deadline, "an orphan lives on"
        time.sleep(0.05)


def _text_when_there(path: Path) -> str:
    deadline = time.monotonic() + 60
    while not path.exists() or not path.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return path.read_text()


def _is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
