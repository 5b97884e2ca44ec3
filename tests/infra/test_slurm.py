"""On the cluster of `tests.infra.cluster`, whose jobs are real processes, and on submitit's own local one."""

from __future__ import annotations

import copy
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from infra.launch import COMMAND, JobError, JobLost, stop_jobs
from infra.slurm import LEFT_S, Command, _is_ours, _requests_of, run_slurm_job
from tests.infra.cluster import Cluster

REQUESTS = [
    {"kind": "checkpoint", "step": "students.mced", "version": 1, "params": {"λ": 0.5}, "inputs": {}},
    {"kind": "checkpoint", "step": "students.mced", "version": 1, "params": {"λ": 0.7}, "inputs": {}},
]

HEAD = """
import json, os, pathlib, signal, sys, threading, time
def watch():
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=watch, daemon=True).start()
def say(**line):
    print(json.dumps(line), flush=True)
def answer():
    for number, _ in enumerate(json.load(open(sys.argv[2], encoding="utf-8"))):
        say(key=f"k{number}", digest=f"d{number}")
notes = pathlib.Path(__file__).parent / "began"
with open(notes, "a") as began:
    began.write(f"{os.getpid()} {os.getppid()}\\n")
n_began = len(notes.read_text().splitlines())
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    made = Cluster(tmp_path / "cluster")
    monkeypatch.setenv("PATH", f"{made.root / 'bin'}:{os.environ['PATH']}")
    yield made
    made.close()


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOLAKE_SLURM_CLUSTER", "local")


def _run(folder: Path, body: str, heard: list[tuple[int, int, str]] | None = None, **options: Any) -> list[Any]:
    """The answers of a stand-in for models.job, in a lake beside it."""
    script = folder / "job.py"
    script.write_text(HEAD + body, encoding="utf-8")
    told = heard if heard is not None else []
    options = {"on_progress": lambda *progress: told.append(progress), "requests": REQUESTS} | options
    requests = options.pop("requests")
    command = [sys.executable, "-S", str(script)]
    return run_slurm_job(folder / "lake", requests, "cuda", command=command, pause_s=0.01, poll_s=0.05, **options)


def _began(folder: Path) -> list[list[int]]:
    """The process and the parent of each start of the stand-in."""
    return [[int(pid) for pid in line.split()] for line in (folder / "began").read_text().splitlines()]


def _is_gone(pid: int, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def test_a_job_is_what_the_settings_ask_for_and_answers(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"partition": "gpu", "gres": "gpu:h100:1", "time": "90", "requeue": "true", "mem": "32GB"}
    for name, value in asked.items():
        monkeypatch.setenv(f"EMOLAKE_SLURM_{name.upper()}", value)
    monkeypatch.setenv("SLURM_JOB_ID", "7")  # as in a flow that is a job of the cluster itself
    heard: list[tuple[int, int, str]] = []
    body = """
say(done=1, total=2, note="epoch 1 λ")
print("a library says hello")
answer()
say(key="k1", digest="d1", saw=[*sys.argv[1:], os.environ["EMOLAKE_PARENT_PIPE"], os.environ["SLURM_JOB_ID"]])
"""
    told = _run(tmp_path, body, heard, weights={"w": Path("/weights")})
    lake = tmp_path / "lake"
    [job] = cluster.jobs
    [order] = lake.glob(".logs/slurm/*/request.json")
    said = told[1].pop("saw")
    assert told == [{"key": "k0", "digest": "d0"}, {"key": "k1", "digest": "d1"}]
    assert said == [str(lake), str(order), "--device", "cuda", "--weights", "w=/weights", "1", job.name]
    assert json.loads(order.read_text()) == REQUESTS
    assert (1, 2, "epoch 1 λ") in heard
    script = (job / "script").read_text().splitlines()
    wanted = ["partition=gpu", "gres=gpu:h100:1", "time=90", "requeue", "mem=32GB", "job-name=emolake-students.mced"]
    assert {f"#SBATCH --{option}" for option in wanted} <= set(script)
    assert "#SBATCH --signal=USR2@90" in script, "a while before its time is up, so that it can be queued again"
    assert os.environ["SLURM_JOB_ID"] == "7"
    assert {path.name for path in lake.iterdir()} == {".logs"}


def test_a_preempted_job_is_queued_again_and_goes_on(tmp_path: Path, cluster: Cluster) -> None:
    body = """
say(done=n_began, total=2)
if n_began == 1:
    os.kill(os.getppid(), signal.SIGUSR2)
    time.sleep(60)
answer()
"""
    heard: list[tuple[int, int, str]] = []
    assert [one["digest"] for one in _run(tmp_path, body, heard)] == ["d0", "d1"]
    [job] = cluster.jobs
    assert cluster.calls("scontrol") == [["requeue", job.name]]
    assert [done for done, _, note in heard if not note] == [1, 2]
    assert _is_gone(_began(tmp_path)[0][0]), "the first is ended before the second begins"


def test_a_job_whose_node_is_lost_is_submitted_again(tmp_path: Path, cluster: Cluster) -> None:
    heard: list[tuple[int, int, str]] = []

    def note(*told: Any) -> None:
        heard.append(told)
        if told == (1, 2, ""):
            cluster.lose(cluster.jobs[0])

    body = "say(done=n_began, total=2)\nif n_began == 1:\n    time.sleep(60)\nanswer()"
    assert [one["digest"] for one in _run(tmp_path, body, on_progress=note)] == ["d0", "d1"]
    first, _ = cluster.jobs
    assert (0, 2, f"job {first.name} was lost (NODE_FAIL) and is submitted again") in heard
    assert (2, 2, "") in heard


def test_a_job_that_somebody_cancels_is_not_submitted_again(tmp_path: Path, cluster: Cluster) -> None:
    state = "CANCELLED by 1000"
    body = "print('so it goes', file=sys.stderr, flush=True)\nsay(done=0, total=1)\ntime.sleep(60)"
    sentence = rf"the job 'students\.mced' on slurm job \d+ ended as {state}, tried once: so it goes$"
    with pytest.raises(JobLost, match=sentence) as caught:
        _run(tmp_path, body, on_progress=lambda *told: cluster.lose(cluster.jobs[0], state) if not told[2] else None)
    again = copy.copy(caught.value)  # as when a task runner sends it between processes
    assert (again.state, str(again)) == (state, str(caught.value))
    assert len(cluster.jobs) == 1


def test_whoever_comes_after_a_kill_follows_the_job_that_goes_on(tmp_path: Path, cluster: Cluster) -> None:
    """Whoever submitted the job neither cancels it nor tells that it is over, as after `kill -9`."""
    go = tmp_path / "go"
    body = f"say(done=1, total=2)\nwhile not pathlib.Path({str(go)!r}).exists():\n    time.sleep(0.02)\nanswer()"
    _kill(tmp_path, body)
    [over] = [path.parent / "over" for path in tmp_path.glob("lake/.logs/slurm/*/request.json")]
    assert not over.exists()
    told = _run(tmp_path, body, requests=REQUESTS[1:], on_progress=lambda *one: go.touch())  # or it may be over before
    assert {one["key"] for one in told} == {"k0", "k1"}, "it answers what the first had asked"
    assert (len(cluster.jobs), len(_began(tmp_path))) == (1, 1)
    assert over.exists()
    _run(tmp_path, body, requests=REQUESTS[1:])
    assert len(cluster.jobs) == 2, "one that is over is not followed"


def test_a_follower_that_is_stopped_leaves_the_job_to_whoever_submitted_it(tmp_path: Path, cluster: Cluster) -> None:
    go, began, stopped = tmp_path / "go", threading.Event(), threading.Event()
    body = f"say(done=1, total=2)\nwhile not pathlib.Path({str(go)!r}).exists():\n    time.sleep(0.02)\nanswer()"
    told: list[Any] = []
    first = threading.Thread(
        target=lambda: told.extend(_run(tmp_path, body, on_progress=lambda *one: began.set() if one[0] else None))
    )
    first.start()
    assert began.wait(10)
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path, body, on_progress=_raise(KeyboardInterrupt()))
    with pytest.raises(JobError, match="was ended by signal 15"):
        _run(tmp_path, body, on_progress=lambda *one: stopped.set(), stopped=stopped)
    assert not list(tmp_path.glob("lake/.logs/slurm/*/over")), "who comes next may follow it"
    go.touch()
    first.join(10)
    assert [one["digest"] for one in told] == ["d0", "d1"]
    assert (len(cluster.jobs), cluster.calls("scancel")) == (1, [])


def test_a_follower_owns_a_job_whose_submitter_is_gone(tmp_path: Path, cluster: Cluster) -> None:
    body = "say(done=1, total=2)\ntime.sleep(60)"
    _kill(tmp_path, body)
    [owner] = tmp_path.glob("lake/.logs/slurm/*/owner")
    with subprocess.Popen(["true"]) as ended:
        pass
    owner.write_text(f"{socket.gethostname()}-{ended.pid}-0a")
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path, body, on_progress=_raise(KeyboardInterrupt()))
    [job] = cluster.jobs
    assert cluster.calls("scancel") == [[job.name]]
    assert f"-{os.getpid()}-" in owner.read_text(), "it is not the next follower's too"


def test_a_submitter_of_another_host_is_gone_when_it_gave_no_sign_for_long(tmp_path: Path, cluster: Cluster) -> None:
    body = "say(done=1, total=2)\ntime.sleep(60)"
    _kill(tmp_path, body)
    [owner] = tmp_path.glob("lake/.logs/slurm/*/owner")
    earlier, now = "another-host-7-0a", "another-host-7-0a gives signs of life"
    for told, silent_s, n_cancelled in (
        (now, 0, 0), (now, LEFT_S - 60, 0), (earlier, LEFT_S + 60, 0), (now, LEFT_S + 60, 1),
    ):  # fmt: skip
        owner.write_text(told)
        os.utime(owner, (time.time() - silent_s,) * 2)
        with pytest.raises(KeyboardInterrupt):
            _run(tmp_path, body, on_progress=_raise(KeyboardInterrupt()))
        assert len(cluster.calls("scancel")) == n_cancelled, silent_s
    assert f"-{os.getpid()}-" in owner.read_text()


def test_who_begins_to_follow_takes_nothing_over_for_silence(tmp_path: Path) -> None:
    (tmp_path / "owner").write_text("another-host-7-0a gives signs of life")
    os.utime(tmp_path / "owner", (1, 1))
    job = SimpleNamespace(paths=SimpleNamespace(folder=tmp_path))
    assert not _is_ours(job, "mine-7-0b") and _is_ours(job, "mine-7-0b", is_stopped=True)
    assert _is_ours(job, "mine-7-0b") and not _is_ours(job, "another-host-7-0a")


def test_whoever_waits_for_its_job_gives_signs_of_life(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.slurm.BEAT_S", 0.0)
    go = tmp_path / "go"

    def forget(*_: object) -> None:
        [owner] = tmp_path.glob("lake/.logs/slurm/*/owner")
        os.utime(owner, (1, 1))
        threading.Timer(0.3, lambda: go.write_text(str(owner.stat().st_mtime))).start()

    body = f"say(done=1, total=2)\nwhile not pathlib.Path({str(go)!r}).exists():\n    time.sleep(0.02)\nanswer()"
    _run(tmp_path, body, on_progress=lambda *one: forget() if one[0] == 1 else None)
    assert float(go.read_text()) > 1


@pytest.mark.parametrize("order", ["3", "{", '{"step": "students.mced"}', None])
def test_a_request_that_cannot_be_read_is_not_this_job(tmp_path: Path, order: str | None) -> None:
    if order is None:
        (tmp_path / "request.json").mkdir()
    else:
        (tmp_path / "request.json").write_text(order)
    assert _requests_of(tmp_path) == []


def test_a_job_that_answers_nothing_is_a_mistake_even_if_its_order_is_lost(tmp_path: Path, local: None) -> None:
    body = "pathlib.Path(sys.argv[2]).unlink()"
    with pytest.MonkeyPatch.context() as unreadable:
        unreadable.setattr("infra.slurm._requests_of", lambda folder: [])
        with pytest.raises(JobError, match="it did not print the key and digest of what it made"):
            _run(tmp_path, body)


def test_a_node_that_does_not_see_the_disk_is_one_sentence(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.slurm.TRIES", 1)
    (cluster.root / "blind").touch()
    sentence = (
        r"'students\.mced' on slurm job \d+ ended as FAILED, tried once: it wrote nothing into "
        rf"{tmp_path}/lake/\.logs/slurm/\w+: do the nodes see that folder\?$"
    )
    with pytest.raises(JobLost, match=sentence):
        _run(tmp_path, "answer()")


def test_what_is_over_goes_after_a_while(tmp_path: Path, cluster: Cluster) -> None:
    old, new = (tmp_path / "lake" / ".logs" / "slurm" / name for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "over").touch()
    os.utime(old, (0, 0))
    _run(tmp_path, "answer()")
    assert not old.exists() and new.exists()


def test_stopping_cancels_the_job(tmp_path: Path, cluster: Cluster) -> None:
    stopped, caught = threading.Event(), []

    def note(done: int, total: int, text: str) -> None:
        if not text:  # it does not wait in the queue any more
            stopped.set()

    def wait() -> None:
        try:
            _run(tmp_path, "say(done=1, total=2)\ntime.sleep(60)", on_progress=note, stopped=stopped)
        except JobError as error:
            caught.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    assert stopped.wait(10)
    stop_jobs()
    thread.join(10)
    assert caught == ["the job 'students.mced' was ended by signal 15 (Terminated): it printed nothing"]
    [job] = cluster.jobs
    assert [job.name] in cluster.calls("scancel")
    assert _is_gone(_began(tmp_path)[0][0])


def test_a_refusal_of_sbatch_is_one_sentence(tmp_path: Path, cluster: Cluster) -> None:
    (cluster.root / "refusal").write_text("sbatch: error: invalid partition specified: gpux")
    with pytest.raises(JobError, match=r"'students\.mced' ended with exit code 1: sbatch: error: invalid partition"):
        _run(tmp_path, "answer()")
    assert not list(tmp_path.glob("lake/.logs/slurm/*"))


def test_a_job_that_fails_is_not_tried_again(tmp_path: Path, local: None) -> None:
    body = "print('ValueError: the shards are empty', file=sys.stderr)\nsys.exit(3)"
    with pytest.raises(JobError, match=r"ended with exit code 3: ValueError: the shards are empty$"):
        _run(tmp_path, body)
    assert len(_began(tmp_path)) == 1


def test_what_could_not_be_made_is_told_beside_what_was(tmp_path: Path, local: None) -> None:
    body = "say(key='k0', error='the loss is no number')\nsay(key='k1', digest='d1')\nsys.exit('the loss is no number')"
    told = _run(tmp_path, body)
    assert told == [{"key": "k0", "error": "the loss is no number"}, {"key": "k1", "digest": "d1"}]


def test_a_job_that_is_lost_time_and_again_is_given_up(tmp_path: Path, local: None) -> None:
    body = "os.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(60)"
    with pytest.raises(JobLost, match=r"on local job \d+ ended as FINISHED, tried 3 times: it printed nothing"):
        _run(tmp_path, body)
    assert len(_began(tmp_path)) == 3
    assert all(_is_gone(pid) for pid, _ in _began(tmp_path)), "a job whose parent is killed ends"


def test_whatever_stops_the_wait_ends_a_local_job(tmp_path: Path, local: None) -> None:
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path, "say(done=0, total=1)\ntime.sleep(60)", on_progress=_raise(KeyboardInterrupt()))
    [[pid, parent]] = _began(tmp_path)
    assert _is_gone(pid) and _is_gone(parent)


def test_the_command_says_how_it_ended_and_is_begun_again_as_it_is(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.slurm.GRACE_S", 0.0)
    code = "import os; print(os.environ['EMOLAKE_PARENT_PIPE'], flush=True); os.kill(os.getpid(), 15)"
    command = Command((sys.executable, "-S", "-c", code))
    assert command() == -15
    assert capfd.readouterr().out == '1\n{"ended": -15}\n'
    assert command.checkpoint().function == command


@pytest.mark.slow
def test_a_preempted_fit_goes_on_from_its_state_and_has_the_same_bytes(tmp_path: Path, cluster: Cluster) -> None:
    from tests.models.tiny_lake import fitted, order, tiny_lake  # which imports torch

    lake, undisturbed = tiny_lake(tmp_path / "lake"), tiny_lake(tmp_path / "undisturbed")
    request = order(lake, "mced", seed=9, fit={"epochs": 300})
    root = lake.warehouse.root
    heard: list[int] = []
    preempted: list[int] = []

    def note(done: int, total: int, text: str) -> None:
        heard.append(done)
        if not preempted and done > 100 and list(root.glob(".resume/*/*.safetensors")):
            [job] = [path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline") if _works_in(path, root)]
            os.kill(int(Path(f"/proc/{job}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGUSR2)
            preempted.append(len(heard))

    command = (*COMMAND, "--save-every", "0.05")
    [told] = run_slurm_job(root, [request.as_json()], "cpu", note, command=command, poll_s=0.05)
    assert told == {"key": request.key, "digest": fitted(undisturbed, request).digest}
    [job] = cluster.jobs
    assert cluster.calls("scontrol") == [["requeue", job.name]]
    [place] = preempted
    went_on = [done for done in heard[place:] if done]
    assert min(went_on) > 1, "it did not begin anew"
    assert not list(root.glob(".resume/*"))


def _works_in(cmdline: Path, lake: Path) -> bool:
    try:
        words = cmdline.read_bytes().split(b"\0")
    except OSError:
        return False
    return b"models.job" in words and str(lake).encode() in words and b"-P" in words


def _kill(folder: Path, body: str) -> None:
    """Submits a job and leaves it to itself, as `kill -9` does."""
    with pytest.MonkeyPatch.context() as killed:
        killed.setattr("infra.slurm._cancel", lambda job: None)
        with pytest.raises(RuntimeError, match="killed"):
            _run(folder, body, on_progress=_raise(RuntimeError("killed")))


def _raise(error: BaseException) -> Any:
    def note(*told: Any) -> None:
        raise error

    return note
