"""Starts the job that answers requests: here, as a local process. On Slurm `infra.slurm` does, which keeps to the same
signature and the same lines; the setting EMOLAKE_LAUNCHER says who is asked.

The job is `python -m models.job LAKE REQUEST.json --device D [--processes N] [--weights DIGEST=FOLDER …]`, N being
EMOLAKE_PROCESSES where that is not 1: devices of this host that share each fit. For several hosts `torchrun` starts
the same command on each, see `models.job`. What the two agree on:

* **stdout** is for machines: one JSON object per line. `{"done": 3, "total": 10, "note": "epoch 3"}` is progress, and
  `{"key": …, "digest": …}`, one for each request, names the artifact that was made; `{"key": …, "error": …}`
  says in its place what kept it from being made. Other lines count as stderr.
* **stderr** is for people: when the exit code is not 0, its last line is the sentence that is shown.
* **stdin** is a lifeline. When EMOLAKE_PARENT_PIPE is '1', nothing is ever written to it, and its end means that the
  parent is gone (even by `kill -9`): the job must then kill its own process group, which it leads. It has to read the
  descriptor itself, `os.read(0, 1)` in a daemon thread: a thread that sits in `sys.stdin.read` makes the
  interpreter abort at exit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from infra.runtime import read_runtime

COMMAND = (sys.executable, "-P", "-m", "models.job")  # -P: the working folder is no place to import from
GRACE_S = 5.0
_TAIL = 16_384  # bytes of stderr that are kept

_running: set[subprocess.Popen[bytes]] = set()
_elsewhere: set[Callable[[], None]] = set()
_lock = threading.Lock()


class Launch(Protocol):
    """What every launcher does: it starts one job that answers some requests, follows it, and waits (`run_job`)."""

    def __call__(
        self,
        lake: Path,
        requests: Sequence[Mapping[str, Any]],
        device: str,
        on_progress: Callable[[int, int, str], None] | None = None,
        *,
        stopped: threading.Event | None = None,
        weights: Mapping[str, Path] | None = None,
    ) -> list[dict[str, Any]]: ...


class JobError(Exception):
    """A job that ended without its artifact."""

    def __init__(self, step: str, code: int, last_line: str) -> None:
        self.step, self.code, self.last_line = step, code, last_line
        ended = f"ended with exit code {code}"
        if code < 0:
            ended = f"was ended by signal {-code} ({signal.strsignal(-code)})"
        super().__init__(f"the job '{step}' {ended}: {last_line or 'it printed nothing'}")

    def __reduce__(self) -> tuple[type[JobError], tuple[str, int, str]]:
        return type(self), (self.step, self.code, self.last_line)


class JobLost(JobError):
    """A job whose end nobody told, as where its host was lost."""

    def __init__(self, step: str, where: str, state: str, n_tries: int, last_line: str) -> None:
        super().__init__(step, 1, last_line)
        self.where, self.state, self.n_tries = where, state, n_tries
        tried = "tried once" if n_tries == 1 else f"tried {n_tries} times"
        self.args = (f"the job '{step}' on {where} ended as {state}, {tried}: {last_line or 'it printed nothing'}",)

    def __reduce__(self) -> tuple[type[JobLost], tuple[Any, ...]]:
        return type(self), (self.step, self.where, self.state, self.n_tries, self.last_line)


def run_job(
    lake: Path,
    requests: Sequence[Mapping[str, Any]],
    device: str,
    on_progress: Callable[[int, int, str], None] | None = None,
    *,
    stopped: threading.Event | None = None,
    weights: Mapping[str, Path] | None = None,
    command: Sequence[str] = COMMAND,
    grace_s: float = GRACE_S,
) -> list[dict[str, Any]]:
    """Runs one job that answers some requests, one after the other, and waits for it. Several requests in one job
    share the cost of its start; each is kept as soon as it is answered.

    The job leads a process group of its own. Whatever stops this call (Ctrl-C, a cancelled task, a fault in
    `on_progress`) ends that whole group first: SIGTERM, then SIGKILL when it lives `grace_s` longer.

    Args:
        lake: the folder of the lake.
        requests: as JSON.
        device: where the job computes.
        on_progress: called with (done, total, note) as the job reports.
        stopped: when set, the job is ended at once: whoever sets it and then calls `stop_jobs` misses none, the one
            that another thread is just starting neither.
        weights: digest of the record of a placed checkpoint -> its folder; appended as --weights DIGEST=FOLDER each.
        command: what is started; LAKE, REQUEST.json and --device D are appended.
        grace_s: between SIGTERM and SIGKILL.

    Returns:
        For each request, in order, what the job said of its artifact: `key`, and `digest` or `error`.

    Raises:
        JobError: the job did not say of each request what became of it, or its exit code is not 0 although it says of
            none that it could not be made.
    """
    step = str(requests[0].get("step", "job"))
    scratch = Path(lake) / ".scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    # Named as the lake names its scratch, and so swept with it where this process is killed.
    with tempfile.TemporaryDirectory(prefix=_owner(), dir=scratch) as folder:
        order = Path(folder) / "request.json"
        order.write_text(json.dumps(list(requests)), encoding="utf-8")
        job = subprocess.Popen(
            command_of(str(lake), order, device, weights, command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "EMOLAKE_PARENT_PIPE": "1"},
            start_new_session=True,  # and with it a process group, so that Ctrl-C reaches it through us alone
        )
        with _lock:
            _running.add(job)
        try:
            if stopped is not None and stopped.is_set():
                end(job, grace_s)
            results, tail = _listen(job, on_progress)
            code = job.wait()
        finally:
            with _lock:
                _running.discard(job)
            end(job, grace_s)
            for pipe in (job.stdin, job.stdout, job.stderr):
                if pipe is not None:
                    pipe.close()
    return checked(step, code, results, len(requests), last_line(tail))


def stop_jobs(grace_s: float = GRACE_S) -> None:
    """Ends every job that any thread of this process waits for; their `run_job` calls then raise JobError.

    Ctrl-C interrupts the main thread only: call this there when jobs were started from the threads of a task runner.
    """
    with _lock:
        jobs, cancels = list(_running), list(_elsewhere)
    for cancel in cancels:
        cancel()
    for job in jobs:
        _signal(job, signal.SIGTERM)
    for job in jobs:
        end(job, grace_s)


@contextlib.contextmanager
def stoppable(cancel: Callable[[], None]) -> Iterator[None]:
    """Within it `stop_jobs` calls `cancel` too, which ends a job on another host and raises nothing."""
    with _lock:
        _elsewhere.add(cancel)
    try:
        yield
    finally:
        with _lock:
            _elsewhere.discard(cancel)


def call_name() -> str:
    """Names a call of this process, for others to tell a job that is theirs from one whose submitter is gone."""
    return f"{_owner()}{uuid.uuid4().hex[:12]}"


def is_gone(call: str) -> bool:
    """Whether a process of this host made a call and runs no more. Of other hosts, and of other containers of this
    one, nobody knows: they are not gone."""
    import psutil  # here: a twentieth of a second that others do not spend

    place, _, pid = call.rpartition("-")[0].rpartition("-")
    if place not in (_place(), socket.gethostname()) or not (pid.isascii() and pid.isdigit()):
        return False
    try:
        return psutil.Process(int(pid)).status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:  # it runs as somebody else
        return False


def _owner() -> str:
    return f"{_place()}-{os.getpid()}-"


def _place() -> str:
    """Where the number of a process means something, as the lake says it, which sweeps what bears such a name
    (`warehouse.in_progress`, of which this room knows nothing)."""
    host, proc = socket.gethostname(), Path("/proc")
    with contextlib.suppress(OSError):
        boot = (proc / "sys/kernel/random/boot_id").read_text().replace("-", "")
        place = f"{host}~{boot[:12]}.{(proc / 'self/ns/pid').stat().st_ino:x}"
        with contextlib.suppress(OSError):
            if told := Path("/etc/machine-id").read_bytes().strip():
                return f"{place}.{hashlib.sha256(b'emolake' + told).hexdigest()[:12]}"
        return place
    return host


def command_of(
    lake: str,
    order: Path,
    device: str,
    weights: Mapping[str, Path] | None,
    command: Sequence[str] = COMMAND,
) -> list[str]:
    """The words that start a job, on whatever host: see the head of this module."""
    n_processes = read_runtime().processes
    shared = ["--processes", str(n_processes)] if n_processes > 1 else []
    placed = [word for digest, at in (weights or {}).items() for word in ("--weights", f"{digest}={at}")]
    return [*command, lake, str(order), "--device", device, *shared, *placed]


def checked(
    step: str, code: int, results: list[dict[str, Any]], n_requests: int, last_line: str
) -> list[dict[str, Any]]:
    """What a job that ended with this exit code said, if that is enough.

    Raises:
        JobError: as `run_job`.
    """
    are_all_told = len(results) == n_requests
    if code != 0 and not (are_all_told and any("error" in result for result in results)):
        raise JobError(step, code, last_line)
    if not are_all_told:
        raise JobError(step, code, "it did not print the key and digest of what it made")
    return results


def _listen(
    job: subprocess.Popen[bytes], on_progress: Callable[[int, int, str], None] | None
) -> tuple[list[dict[str, Any]], bytes]:
    """Reads both pipes until the job is gone; the short timeout lets a cancelled thread notice."""
    results: list[dict[str, Any]] = []
    tail = unfinished = b""
    with selectors.DefaultSelector() as selector:
        for pipe in (job.stdout, job.stderr):
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(timeout=0.2)
            if not ready and job.poll() is not None:
                break  # a grandchild may hold the pipes open for ever
            for key, _ in ready:
                chunk = os.read(key.fd, 65_536)
                if not chunk:
                    selector.unregister(key.fileobj)
                elif key.fileobj is job.stderr:
                    tail = (tail + chunk)[-_TAIL:]
                else:
                    *lines, unfinished = (unfinished + chunk).split(b"\n")
                    for line in lines:
                        message = message_of(line)
                        if message is None:
                            tail = (tail + line + b"\n")[-_TAIL:]
                        elif "key" in message:
                            results.append(message)
                        elif on_progress is not None:
                            on_progress(message["done"], message["total"], str(message.get("note", "")))
    return results, tail


def message_of(line: bytes) -> dict[str, Any] | None:
    """The progress or result that a line of stdout tells; None for anything a library may print."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    if not isinstance(message, dict):
        return None
    is_progress = all(isinstance(message.get(name), int) for name in ("done", "total"))
    is_answer = "key" in message and ("digest" in message or "error" in message)
    return message if is_progress or is_answer else None


def last_line(tail: bytes) -> str:
    """The last line that says anything, as the sentence that is shown."""
    lines = [line.strip() for line in tail.decode("utf-8", errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "")


def end(job: subprocess.Popen[bytes], grace_s: float) -> None:
    """Ends a job and its whole process group: SIGTERM, then SIGKILL; what its leader left behind too."""
    if job.poll() is None:
        _signal(job, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            job.wait(timeout=grace_s)
    _signal(job, signal.SIGKILL)
    job.wait()


def _signal(job: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody of the group is left
        os.killpg(job.pid, number)
