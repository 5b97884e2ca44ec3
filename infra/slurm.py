"""Starts the job that answers requests on Slurm, through submitit: the same command, the same lines (`infra.launch`).
What is asked of the cluster are settings: see `infra.slurm_options`.

What becomes of a job:

* Before its time is up, or where it is pre-empted, the job gets SIGUSR2: it is queued again with the same id, and the
  fit goes on from the state that is in the lake (`models.resume`), on the store where the lake is on one.
* A job that ends without a word (its node was lost, or it was pre-empted without being queued again) is submitted
  again, at most `TRIES` times in all. One that was cancelled, or that ran out of memory, is not.
* Whatever stops the call cancels the job that it submitted; who followed that one has lost it. `kill -9` cannot: the
  job goes on. Whoever asks for the same requests while a job is under way, or for some of them, follows it and submits
  none. It is not found where the requests were dealt out otherwise; then two jobs make the same for a while, and the
  lake keeps the first answer. A follower that is stopped leaves the job alone, unless its submitter was a process of
  this host that runs no more, or has given no sign of life for `LEFT_S`, wherever it was: then the job is the
  follower's. Whoever owns a job touches `owner` every `BEAT_S`, which it promises there, as earlier versions did not,
  and how long ago that was is told by the disk's clock alone. Silence is looked at by a follower that is stopped and by
  nobody else, so that a submitter that slept for longer is at worst told that its job was cancelled.

Layout, on a disk that the nodes share:
    LAKE/.logs/slurm/<name>/    request.json, `owner` (whose job it is: `infra.launch.call_name`), what submitit writes,
                                and `over` once nobody need follow it

Nothing there is an artifact, and it may be deleted; folders that are over go after `KEPT_S`. submitit pickles what it
runs, which is `Command`: words and nothing else. We read none of these files back.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from infra.launch import (
    COMMAND,
    GRACE_S,
    JobError,
    JobLost,
    call_name,
    checked,
    command_of,
    end,
    is_gone,
    last_line,
    message_of,
    stoppable,
)
from infra.slurm_options import Options, load_submitit, read_options

TRIES = 3
PAUSE_S = 20.0
"""Seconds before a lost job is submitted again; twice as many the next time."""

POLL_S = 1.0
LAG_S = 30.0
"""How long a shared disk may take to show what was written on another host."""

BEAT_S = 60.0
LEFT_S = 900.0
"""So long after the last sign of life of whoever owns a job, on whatever host, who follows it may cancel it."""

_BEATS = " gives signs of life"
"""Follows the name of an owner that does."""

KEPT_S = 7 * 86_400.0
FORGOTTEN_S = 3_600.0
"""After so long, a job of which Slurm knows nothing is over; before, it may not know of it yet."""
_TAIL = 16_384
_INTERRUPTED = {130, -signal.SIGINT, -signal.SIGTERM, -signal.SIGUSR2}
"""Exit codes of a job that somebody ended from outside."""

_FOR_GOOD = ("CANCELLED", "OUT_OF_MEMORY", "DEADLINE")
"""States in which to submit a lost job again would bring nothing, or is not wanted."""

_QUEUED = ("PENDING", "REQUEUED", "PREEMPTED")

_lock = threading.RLock()
"""submitit changes the environment and keeps the states of all jobs in one place."""


@dataclass(frozen=True)
class Command:
    """What is submitted: words to start as a process, and to start again where the node is taken away.

    Its output goes where this process's own goes, and then one line more, `{"ended": 0}`, with the exit code.
    """

    words: tuple[str, ...]

    def __call__(self) -> int:
        environ = {**os.environ, "EMOLAKE_PARENT_PIPE": "1"}  # if this process is killed, so is the job
        stdin = subprocess.PIPE
        with subprocess.Popen(self.words, stdin=stdin, env=environ, start_new_session=True) as job:
            try:
                code = job.wait()
                if code in _INTERRUPTED:
                    time.sleep(GRACE_S)  # the signal was for all processes of the node: ours comes, and ends this here
            finally:
                end(job, GRACE_S)
        print(json.dumps({"ended": code}), flush=True)
        return code

    def checkpoint(self) -> Any:
        """What submitit queues in place of this: the same, because all that is to be kept is in the lake."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


@dataclass
class _Told:
    """What a job has said so far, and in which state Slurm left it."""

    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    code: int | None = None
    state: str = "UNKNOWN"


def run_slurm_job(
    lake: Path,
    requests: Sequence[Mapping[str, Any]],
    device: str,
    on_progress: Callable[[int, int, str], None] | None = None,
    *,
    stopped: threading.Event | None = None,
    weights: Mapping[str, Path] | None = None,
    command: Sequence[str] = COMMAND,
    pause_s: float = PAUSE_S,
    poll_s: float = POLL_S,
) -> list[dict[str, Any]]:
    """Runs one job that answers some requests on the cluster, and waits for it: `infra.launch.run_job`, elsewhere.

    Args:
        pause_s: before the first time that a lost job is submitted again.
        poll_s: between two looks at what the job has said.

    Raises:
        BadSetting: the cluster or one of the options cannot be used.
        JobError: as `run_job`; or sbatch refused.
        JobLost: the job ended without a word, too often or for good.
    """
    step = str(requests[0].get("step", "job"))
    options = read_options()
    root = Path(lake).absolute() / ".logs" / "slurm"
    root.mkdir(parents=True, exist_ok=True)
    stopped, note = stopped or threading.Event(), on_progress or _nobody
    call = call_name()
    job, n_requests = _under_way(root, options, requests)
    for n_tries in count(1):
        if job is None:
            job = _submit(root, lake, requests, device, weights, command, options, step, call)
            n_requests = len(requests)
        told = _followed(job, call, note, n_requests, stopped, poll_s)
        results, tail = list(told.results.values()), _last_word(job)
        if told.code is not None and told.code not in _INTERRUPTED:
            return checked(step, told.code, results, n_requests, tail)
        if len(results) == n_requests:
            return results  # it was lost after its last word
        if stopped.is_set():
            raise JobError(step, -signal.SIGTERM, tail)
        if n_tries == TRIES or told.state.startswith(_FOR_GOOD):
            raise JobLost(step, f"{options.cluster} job {job.job_id}", told.state, n_tries, tail)
        note(0, n_requests, f"job {job.job_id} was lost ({told.state}) and is submitted again")
        stopped.wait(pause_s * 2 ** (n_tries - 1))
        job = None
    return []


def _nobody(done: int, total: int, note: str) -> None:
    """Is told how far a job is where nobody wants to know."""


def _submit(
    root: Path, lake: Path, requests: Sequence[Mapping[str, Any]], device: str, weights: Mapping[str, Path] | None,
    command: Sequence[str], options: Options, step: str, call: str,
) -> Any:  # fmt: skip
    """The job that was submitted just now.

    Raises:
        JobError: sbatch refused; with the reason that it gives.
    """
    submitit = load_submitit()
    folder = root / uuid.uuid4().hex
    folder.mkdir()
    order = folder / "request.json"
    order.write_text(json.dumps(list(requests)), encoding="utf-8")
    _own(folder, call)
    words = Command(tuple(command_of(str(Path(lake).absolute()), order, device, weights, command)))
    counts = {} if options.max_num_timeout is None else {"slurm_max_num_timeout": options.max_num_timeout}
    python = {f"{options.cluster}_python": options.python}
    try:
        with _lock, submitit.helpers.clean_env():  # we may be a job of Slurm ourselves
            executor = submitit.AutoExecutor(folder, cluster=options.cluster, **python, **counts)
            executor.update_parameters(**{"name": f"emolake-{step}", **options.parameters})
            return executor.submit(words)
    except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
        shutil.rmtree(folder)
        raise JobError(step, 1, last_line(str(error).encode())) from error


def _under_way(root: Path, options: Options, requests: Sequence[Mapping[str, Any]]) -> tuple[Any | None, int]:
    """A job that somebody has submitted and that will answer all these requests, and how many it answers; old folders
    go in passing."""
    submitit = load_submitit()
    kind = {"slurm": submitit.SlurmJob, "local": submitit.LocalJob}[options.cluster]
    for folder in sorted(root.iterdir()):
        age_s = time.time() - folder.stat().st_mtime
        if (folder / "over").exists():
            if age_s > KEPT_S:
                shutil.rmtree(folder, ignore_errors=True)
            continue
        wanted = _requests_of(folder)
        if all(request in wanted for request in requests):
            for submitted in folder.glob("*_submitted.pkl"):
                job = kind(folder, submitted.name.partition("_")[0])
                state, is_over = _look(job)
                if not is_over and (state != "UNKNOWN" or age_s < FORGOTTEN_S):
                    return job, len(wanted)
                (folder / "over").touch()
    return None, 0


def _requests_of(folder: Path) -> list[Any]:
    """What a job answers; nothing where that cannot be read, so that it is nobody's to follow."""
    try:
        order = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # somebody begins just now, or cleans up
        return []
    return order if isinstance(order, list) else []


def _own(folder: Path, call: str) -> None:
    (folder / call).write_text(f"{call}{_BEATS}", encoding="utf-8")
    os.replace(folder / call, folder / "owner")


def _is_ours(job: Any, call: str, is_stopped: bool = False) -> bool:
    """Whether this call may cancel the job: it submitted it, or takes it over here from one that is gone, for which
    silence is taken only when this call is stopped."""
    folder = job.paths.folder
    try:
        told = (folder / "owner").read_text(encoding="utf-8")
        owner, is_silent = told.removesuffix(_BEATS), is_stopped and told.endswith(_BEATS)
        if owner != call and (is_gone(owner) or (is_silent and _silent_s(folder) > LEFT_S)):
            _own(folder, call)
            return True
    except OSError:  # who cleaned up has seen that it is over
        return False
    return owner == call


def _silent_s(folder: Path) -> float:
    """How long ago the owner of a job gave a sign of life, by the clock of the disk: hosts may differ by hours."""
    with tempfile.TemporaryFile(dir=folder) as nameless:
        return os.fstat(nameless.fileno()).st_mtime - (folder / "owner").stat().st_mtime


def _followed(
    job: Any, call: str, note: Callable[[int, int, str], None], n_requests: int, stopped: threading.Event, poll_s: float
) -> _Told:
    """What the job has said when it is over, or this call is stopped; whatever stops it cancels its own job first."""
    told, lines, waits = _Told(), _lines(job.paths.stdout), _Waits()
    is_over, is_ours, signed_s = False, _is_ours(job, call), time.monotonic()

    def withdraw() -> None:
        nonlocal is_ours
        if job.paths.folder.exists():  # it may be deleted; the job that was ours stays ours
            is_ours = _is_ours(job, call, is_stopped=True)
        if is_ours:
            _cancel(job)

    with stoppable(withdraw):
        try:
            while not (is_over or stopped.is_set()):
                state, is_done = _look(job)  # before reading: what it said last is read then
                if state != told.state and state.startswith(_QUEUED):
                    note(0, n_requests, f"job {job.job_id} waits in the queue ({state})")
                told.state = state
                for line in next(lines):
                    _hear(line, told, note)
                if is_ours and time.monotonic() - signed_s > BEAT_S:
                    signed_s = time.monotonic()
                    with contextlib.suppress(OSError):
                        os.utime(job.paths.folder / "owner")
                is_over = is_done and told.code is not None
                if not is_over:
                    is_over = waits.are_over(job, state, is_done)
                    stopped.wait(0 if is_over else poll_s)
        finally:
            if not is_over:
                withdraw()
    if not (is_over or is_ours):
        return told
    if told.code is None or told.code in _INTERRUPTED:
        with _lock:
            job.get_info(mode="force")  # what has been asked last may be old
        told.state, _ = _look(job)
    (job.paths.folder / "over").touch()
    return told


class _Waits:
    """How long one waits for the last word of a job."""

    def __init__(self) -> None:
        self._done_s = self._preempted_s = 0.0

    def are_over(self, job: Any, state: str, is_done: bool) -> bool:
        """A job that left its result has said it all, but a shared disk may show it later. One that Slurm pre-empts is
        done only if it is not queued again, which submitit would wait for in vain."""
        now = time.monotonic()
        self._done_s = self._done_s or now if is_done else 0.0
        self._preempted_s = self._preempted_s or now if state == "PREEMPTED" else 0.0
        if is_done:
            return not job.paths.result_pickle.exists() or now - self._done_s > LAG_S
        if self._preempted_s and now - self._preempted_s > LAG_S:
            with _lock:
                return bool(job.get_info(mode="force").get("State") == "PREEMPTED")
        return False


def _look(job: Any) -> tuple[str, bool]:
    """The state of a job, and whether it is over, as far as is known."""
    with _lock:
        is_done = bool(job.done())
        return str(job.state), is_done


def _cancel(job: Any) -> None:
    process = getattr(job, "_process", None)
    if process is None:
        with _lock:
            job.cancel(check=False)
        return
    import psutil

    while process.poll() is None:  # 'local', whose own way is Ctrl-C: deaf in the background, and else a traceback
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children():
                child.kill()
        time.sleep(0.05)


def _lines(path: Path) -> Iterator[list[bytes]]:
    """At each turn the lines that were added to a file, which need not be there yet, and may begin anew."""
    place, unfinished = 0, b""
    while True:
        added = b""
        with contextlib.suppress(FileNotFoundError), open(path, "rb") as stream:
            if stream.seek(0, os.SEEK_END) < place:
                place, unfinished = 0, b""
            stream.seek(place)
            added = stream.read()
            place = stream.tell()
        *lines, unfinished = (unfinished + added).split(b"\n")
        yield lines


def _hear(line: bytes, told: _Told, note: Callable[[int, int, str], None]) -> None:
    if line.startswith(b'{"ended": '):
        told.code = int(json.loads(line)["ended"])
    elif (message := message_of(line)) is None:
        pass  # for people
    elif "key" in message:
        told.results[str(message["key"])] = message
    else:
        note(message["done"], message["total"], str(message.get("note", "")))


def _last_word(job: Any) -> str:
    """The last line of its stderr, or why there is none."""
    with contextlib.suppress(FileNotFoundError), open(job.paths.stderr, "rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - _TAIL))
        return last_line(stream.read())
    return f"it wrote nothing into {job.paths.folder}: do the nodes see that folder?"
