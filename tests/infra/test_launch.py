from __future__ import annotations

import copy
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from infra.launch import JobError, call_name, is_gone, run_job, stop_jobs
from warehouse import Warehouse
from warehouse.in_progress import is_here, owner

REQUEST = {"kind": "checkpoint", "step": "students.mced", "version": 1, "params": {"λ": 0.5}, "inputs": {}}

LIFELINE = """
import os, signal, threading, time
def watch():
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)
if os.environ.get("EMOLAKE_PARENT_PIPE") == "1":
    threading.Thread(target=watch, daemon=True).start()
"""


def _job(folder: Path, body: str) -> list[str]:
    """A stand-in for models.job."""
    script = folder / "job.py"
    script.write_text("import json, os, sys\n" + body, encoding="utf-8")
    return [sys.executable, str(script)]


def _wait_until(true_of: object, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true_of():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_call_is_gone_with_the_process_of_this_host_that_made_it() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    host = socket.gethostname()
    assert call_name() != call_name() and not is_gone(call_name())
    assert is_gone(f"{host}-{ended.pid}-0a")
    assert not is_gone(f"another-{host}-{ended.pid}-0a"), "of other hosts nobody knows"
    assert is_gone(call_name().replace(f"-{os.getpid()}-", f"-{ended.pid}-"))
    assert not any(is_gone(name) for name in ("", "x", f"{host}-x-0a", f"{host}-{os.getpid()}-0a"))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="has no /proc")
def test_a_call_is_gone_with_a_process_that_nobody_asked_for_its_end() -> None:
    with subprocess.Popen(["true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie
        assert is_gone(f"{socket.gethostname()}-{ended.pid}-0a")


def test_a_call_is_named_as_the_lake_names_what_it_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or what a killed launcher left in the lake would stay."""
    assert call_name().startswith(owner()) and is_here(Path(call_name()))
    monkeypatch.setattr(socket, "gethostname", lambda: "other")
    assert call_name().startswith(owner()) and owner().startswith("other")


def test_the_job_gets_its_order_and_answers(tmp_path: Path) -> None:
    command = _job(
        tmp_path,
        """
lake, order, flag, device = sys.argv[1:]
request = json.load(open(order, encoding="utf-8"))
print("a library says hello")
for done in range(3):
    print(json.dumps({"done": done, "total": 2, "note": f"epoch {done} λ"}), flush=True)
print(json.dumps({"key": "k", "digest": "d", "saw": [lake, request, flag, device, os.environ["EMOLAKE_PARENT_PIPE"]]}))
""",
    )
    heard: list[tuple[int, int, str]] = []
    [result] = run_job(tmp_path, [REQUEST], "cpu", lambda *progress: heard.append(progress), command=command)
    assert (result["key"], result["digest"]) == ("k", "d")
    assert result["saw"] == [str(tmp_path), [REQUEST], "--device", "cpu", "1"]
    assert heard == [(0, 2, "epoch 0 λ"), (1, 2, "epoch 1 λ"), (2, 2, "epoch 2 λ")]


def test_the_job_is_told_where_placed_checkpoints_lie(tmp_path: Path) -> None:
    body = 'print(json.dumps({"key": "k", "digest": "d", "saw": sys.argv[3:]}))'
    weights = {"d1": Path("/a folder"), "d2": Path("/b=c")}
    [result] = run_job(tmp_path, [REQUEST], "cpu", command=_job(tmp_path, body), weights=weights)
    assert result["saw"] == ["--device", "cpu", "--weights", "d1=/a folder", "--weights", "d2=/b=c"]


def test_the_job_is_told_how_many_devices_share_a_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOLAKE_PROCESSES", "4")
    body = 'print(json.dumps({"key": "k", "digest": "d", "saw": sys.argv[3:]}))'
    [result] = run_job(tmp_path, [REQUEST], "cuda", command=_job(tmp_path, body))
    assert result["saw"] == ["--device", "cuda", "--processes", "4"]


def test_several_requests_share_one_job(tmp_path: Path) -> None:
    body = """
for order in json.load(open(sys.argv[2], encoding="utf-8")):
    print(json.dumps({"key": order["step"], "digest": "d"}))
"""
    found = run_job(tmp_path, [REQUEST, {"step": "other"}], "cpu", command=_job(tmp_path, body))
    assert [one["key"] for one in found] == ["students.mced", "other"]
    with pytest.raises(JobError, match="did not print the key and digest of what it made"):
        run_job(tmp_path, [REQUEST], "cpu", command=_job(tmp_path, body * 2))


def test_what_could_not_be_made_is_told_beside_what_was(tmp_path: Path) -> None:
    body = """
print(json.dumps({"key": "a", "error": "the loss is no number"}))
print(json.dumps({"key": "b", "digest": "d"}))
sys.exit("the loss is no number")
"""
    told = run_job(tmp_path, [REQUEST, REQUEST], "cpu", command=_job(tmp_path, body))
    assert told == [{"key": "a", "error": "the loss is no number"}, {"key": "b", "digest": "d"}]
    with pytest.raises(JobError, match="ended with exit code 1: the loss is no number"):
        run_job(tmp_path, [REQUEST] * 3, "cpu", command=_job(tmp_path, body))


def test_much_output_on_both_pipes_blocks_nothing(tmp_path: Path) -> None:
    command = _job(
        tmp_path,
        """
for i in range(3000):
    print("x" * 100, file=sys.stderr)
    print(json.dumps({"done": i, "total": 3000, "note": "y" * 100}))
print(json.dumps({"key": "k", "digest": "d"}))
""",
    )
    heard: list[int] = []
    [result] = run_job(tmp_path, [REQUEST], "cpu", lambda done, *_: heard.append(done), command=command)
    assert result["digest"] == "d"
    assert heard == list(range(3000))


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (
            "print('Traceback …\\nValueError: the shards are empty\\n\\n', file=sys.stderr); sys.exit(3)",
            r"the job 'students.mced' ended with exit code 3: ValueError: the shards are empty$",
        ),
        ("sys.exit(1)", r"ended with exit code 1: it printed nothing$"),
        ("os.kill(os.getpid(), 9)", r"was ended by signal 9 \(Killed\): it printed nothing$"),
        ("print('done')", r"ended with exit code 0: it did not print the key and digest of what it made$"),
        ('print(\'[1, 2]\\n{"done": "x", "total": 3}\'); sys.exit(1)', r"exit code 1: \{\"done\": \"x\""),
    ],
)
def test_a_job_without_an_artifact_is_one_sentence(tmp_path: Path, body: str, sentence: str) -> None:
    with pytest.raises(JobError, match=sentence) as caught:
        run_job(tmp_path, [REQUEST], "cpu", command=_job(tmp_path, body))
    assert "\n" not in str(caught.value)
    again = copy.copy(caught.value)  # as when a task runner sends it between processes
    assert (again.step, again.code, str(again)) == ("students.mced", caught.value.code, str(caught.value))


def test_whatever_stops_the_wait_stops_the_whole_group(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    command = _job(
        tmp_path,
        f"""
import subprocess
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open({str(pids)!r}, "w").write(f"{{os.getpid()}} {{child.pid}}")
print(json.dumps({{"done": 0, "total": 1}}), flush=True)
import time; time.sleep(60)
""",
    )

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(tmp_path, [REQUEST], "cpu", interrupt, command=command)
    for pid in pids.read_text().split():
        _wait_until(lambda pid=pid: not _is_alive(int(pid)))


def test_a_job_that_ignores_term_is_killed(tmp_path: Path) -> None:
    body = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    body += "print(json.dumps({'done': 0, 'total': 1}), flush=True); time.sleep(60)"

    def cancel(*_: object) -> None:
        raise RuntimeError("cancelled")

    started = time.monotonic()
    with pytest.raises(RuntimeError, match="cancelled"):
        run_job(tmp_path, [REQUEST], "cpu", cancel, command=_job(tmp_path, body), grace_s=0.2)
    assert time.monotonic() - started < 10


def test_a_grandchild_that_keeps_the_pipes_does_not_keep_us(tmp_path: Path) -> None:
    body = "import subprocess; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    body += "print(json.dumps({'key': 'k', 'digest': 'd'}))"
    started = time.monotonic()
    assert run_job(tmp_path, [REQUEST], "cpu", command=_job(tmp_path, body))[0]["key"] == "k"
    assert time.monotonic() - started < 10


def test_jobs_of_other_threads_can_be_stopped(tmp_path: Path) -> None:
    begun, caught = threading.Event(), []
    body = "import time; print(json.dumps({'done': 0, 'total': 1}), flush=True); time.sleep(60)"

    def wait() -> None:
        try:
            run_job(tmp_path, [REQUEST], "cpu", lambda *_: begun.set(), command=_job(tmp_path, body))
        except JobError as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert begun.wait(10)
    stop_jobs()
    thread.join(10)
    assert [error.code for error in caught] == [-signal.SIGTERM]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for the job in /proc")
def test_a_parent_killed_with_9_takes_the_job_along_and_what_it_left_is_swept(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    body = LIFELINE + f"open({str(pids)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    lake, command = tmp_path / "lake", _job(tmp_path, body)
    program = f"from infra.launch import run_job; run_job({str(lake)!r}, [{{}}], 'cpu', command={command!r})"
    with subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[2]) as parent:
        _wait_until(lambda: pids.exists() and pids.read_text())
        Warehouse(lake, create=True)
        assert list(lake.glob(".scratch/*/request.json")), "the order of a living process is its own"
        parent.kill()
    _wait_until(lambda: not _is_alive(int(pids.read_text())))
    assert list(lake.glob(".scratch/*"))
    Warehouse(lake)
    assert not list(lake.glob(".scratch/*"))


def test_the_order_is_not_left_behind(tmp_path: Path) -> None:
    command = _job(tmp_path, "print(json.dumps({'key': sys.argv[2], 'digest': 'd'}))")
    order = run_job(tmp_path, [REQUEST], "cpu", command=command)[0]["key"]
    assert not Path(order).exists()
    assert [path.name for path in tmp_path.rglob("*")] == [".scratch", "job.py"]


def test_a_job_that_starts_after_the_stop_is_ended_too(tmp_path: Path) -> None:
    stopped = threading.Event()
    stopped.set()
    began = time.monotonic()
    with pytest.raises(JobError, match=r"'students\.mced' was ended by signal 15"):
        run_job(tmp_path, [REQUEST], "cpu", command=_job(tmp_path, "import time; time.sleep(60)"), stopped=stopped)
    assert time.monotonic() - began < 30
