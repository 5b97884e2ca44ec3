"""Processes that do works: not the flow's own, so that a crash in a native library takes a clip and not the run."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from features.guard import Apart, apart
from flows.doer import Unmade
from flows.launchers import launcher_of, n_jobs_at_once
from flows.run_log import Telling, log_told_to, take_in, tell_again, tell_began
from infra.launch import stop_jobs
from infra.runtime import read_runtime
from warehouse import Warehouse
from warehouse.artifact import Artifact, Work
from warehouse.errors import WorkerDied

MOST_DIED = 10
"""Clips of one work that may kill processes; if more do, the library is held to be at fault and not they."""

_FROM_OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM)
"""Exit codes of processes that did not die of themselves: memory ran out, or somebody ended them."""

_OF_CLIPS = ("features", "intervals")
"""Kinds of works that can record what became of each clip."""

_LONGEST_PLACE = 256

_Answered = tuple[Artifact, list[str]]
"""What a process of the pool made, and lines of the run's log that it could not write."""

IDLE_S = 60.0
"""How long processes that a worker of a cluster keeps wait for the next work: they hold what plug-ins have loaded."""


class Workers:
    """Answers works: functions in a pool of processes, jobs through the launcher.

    A process that dies breaks the pool and every work in flight with it. None of them is guilty yet: each is done
    again, in a process of its own while nothing else is begun. A work that kills this one too is done clip by clip, in
    a new process after each death, which begins with the clips at which those before it died. At the second crash at
    one clip, or at one recording that is decoded, it is left out as a failure. A process that is killed from outside
    says nothing of the clip: its work is done again too, but a second kill at one clip stops the run.

    Args:
        n_workers: processes of the pool.
        device: of jobs.
    """

    def __init__(self, lake: Path, n_workers: int, device: str) -> None:
        self.lake, self.n_workers, self.device = lake, n_workers, device
        self._stopped = threading.Event()
        self._n_launched = 0  # jobs that have not ended
        # 'spawn': the parent has threads, and a forked child could inherit a held lock.
        self._context = multiprocessing.get_context("spawn")
        _start_tracker()
        self._beginning = threading.Lock()
        self._alone = threading.Lock()
        self._place = self._context.RawArray("c", _LONGEST_PLACE)
        self._pool = self._single = self._processes(n_workers)

    def _processes(self, n_workers: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(n_workers, self._context, _prepare, (os.getpid(), self._place))

    @property
    def is_stopped(self) -> bool:
        """Whether all were ended: those who wait for answers hear that processes and jobs died, which is no mistake."""
        return self._stopped.is_set()

    @property
    def n_jobs_at_once(self) -> int:
        """How many jobs may be under way."""
        return n_jobs_at_once(read_runtime(), self.device, self.n_workers)

    def batches(self, works: Iterable[Work]) -> list[list[Work]]:
        """The works as they are answered: functions one by one; jobs dealt out to as many processes as there are
        workers, because a process that starts torch for one small fit costs more than the fit, and to a single one
        where there is one accelerator to share."""
        works = list(works)
        jobs = [work for work in works if work.function is None]
        n_processes = min(self.n_jobs_at_once, len(jobs))
        dealt = [jobs[start::n_processes] for start in range(n_processes)]
        return [[work] for work in works if work.function is not None] + dealt

    def answer(self, works: Sequence[Work], note: Callable[[int, int, str], None]) -> list[Artifact | Unmade]:
        """Does one of the `batches`, or finds that it is done. Of jobs also what could not be made.

        Raises:
            WorkerDied: processes that did it were killed or crashed, and it was no clip's fault. Whatever the work
                itself raised.
        """
        if works[0].function is None:
            tell_began(works)
            requests = [work.request.as_json() for work in works]
            weights = {d: folder for work in works for d, folder in work.arguments.get("weights", {}).items()}
            launch = launcher_of(read_runtime())
            with self._counted():
                told = launch(self.lake, requests, self.device, note, stopped=self._stopped, weights=weights)
            mistakes = {one["key"]: one["error"] for one in told if "error" in one}
            warehouse = Warehouse(self.lake)
            return [
                Unmade(work.request.key, mistakes[work.request.key]) if work.request.key in mistakes
                else warehouse.find_folder(warehouse.folder_of(work.request))
                for work in works
            ]  # fmt: skip
        return [self._answer(work) for work in works]

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Within it a job may run. One that begins after the stop sees `_stopped` itself."""
        with self._beginning:
            self._n_launched += 1
        try:
            yield
        finally:
            with self._beginning:
                self._n_launched -= 1

    def _answer(self, work: Work) -> Artifact:
        try:
            with self._alone:
                future = self._submit(self._pool, work)
            return _received(future)
        except BrokenProcessPool:
            with self._alone:
                self._tell_again(work)
                if self._pool._broken:
                    self._pool = self._processes(self.n_workers)
                return self._again(work)

    def _again(self, work: Work) -> Artifact:
        """Does a work whose process died, and leaves out the clips that processes die of.

        Raises:
            WorkerDied: they die at no clip, or at too many of them, or the work has no clips; or two were killed at one
                clip.
        """
        crashes, kills, died = Counter[str](), Counter[str](), dict[str, int]()
        how = None
        while True:
            answer = self._attempt(work, how)
            if isinstance(answer, Artifact):
                return answer
            place, exit_code = answer
            self._tell_again(work, "worker died", status=exit_code, place=place)
            deaths = kills if exit_code in _FROM_OUTSIDE else crashes
            deaths[place] += 1
            if deaths[place] == 2:
                if deaths is kills:
                    raise WorkerDied(work.request.step, _utterance_at(place, work))
                died[place] = exit_code
            if work.request.kind not in _OF_CLIPS or "" in died or max(len(died), len(kills)) > MOST_DIED:
                raise WorkerDied(work.request.step)
            how = Apart(_note, frozenset(crashes + kills), dict(died))

    def _tell_again(self, work: Work, *event: str, **fields: Any) -> None:
        if not self.is_stopped:  # nothing is done again
            tell_again(work, *event, **fields)

    def _attempt(self, work: Work, how: Apart | None) -> Artifact | tuple[str, int]:
        """Does a work in a process of its own, or says at which clip or recording it died ('' at none) and how."""
        self._place.value = b""
        pool = self._single = self._processes(1)
        try:
            future = self._submit(pool, work, how)
            processes = _members(pool)  # none if they were stopped since
            return _received(future)
        except BrokenProcessPool:
            pool.shutdown()  # when this returns, the process is gone and has an exit code
            return self._place.value.decode(), sum(process.exitcode or 0 for process in processes)
        finally:
            pool.shutdown()

    def _submit(self, pool: ProcessPoolExecutor, work: Work, how: Apart | None = None) -> Future[_Answered]:
        """Gives a work to a pool, which may start a process for it.

        Raises:
            WorkerDied: the processes were stopped.
        """
        with self._beginning:
            if self._stopped.is_set():
                raise WorkerDied(work.request.step)
            with deaf():
                return pool.submit(_perform, self.lake, work, how, log_told_to())

    def stop(self) -> None:
        """Ends the processes and jobs, the busy ones too: Ctrl-C reaches only the thread that waits for them. Where
        none of its own runs no job is ended: `stop_jobs` ends those of all Workers of this process."""
        with self._beginning:
            self._stopped.set()
            has_jobs = self._n_launched > 0
        if has_jobs:
            stop_jobs()
        pools = (self._pool, self._single)
        processes = [process for pool in pools for process in _members(pool)]
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()
        Warehouse(self.lake)  # opening it sweeps the scratch of those that were ended in the middle of a work


@contextmanager
def workers(lake: Path, n_workers: int, device: str) -> Iterator[Workers]:
    """Workers that are gone on the way out, whatever the reason."""
    pool = Workers(lake, n_workers, device)
    try:
        yield pool
    finally:
        pool.stop()


_kept: dict[tuple[str, ...], Workers] = {}
_leaving: dict[tuple[str, ...], threading.Timer] = {}
_n_busy = Counter[tuple[str, ...]]()
_keeping = threading.Lock()


@contextmanager
def kept_workers(lake: str, n_processes: int | None = None, idle_s: float = IDLE_S) -> Iterator[Workers]:
    """Workers of a process that does the tasks of a cluster. They are kept for the tasks after this one, and are gone
    when none came for `idle_s`.

    Args:
        lake: folder or URL.
        n_processes: of theirs; one for each task that is done here at once where None is given.
    """
    multiprocessing.current_process().daemon = False  # as Dask's are, which then may start no process
    # Ray says to each task anew which GPU is its own.
    own = lake, os.environ.get("CUDA_VISIBLE_DEVICES", ""), str(n_processes)
    with _keeping:
        if own not in _kept:
            # A process is started only when all others are busy.
            _kept[own] = Workers(Warehouse(lake).root, n_processes or os.cpu_count() or 1, "cpu")
        _n_busy[own] += 1
        if own in _leaving:
            _leaving.pop(own).cancel()
    try:
        yield _kept[own]
    finally:
        with _keeping:
            _n_busy[own] -= 1
            if not _n_busy[own]:
                _leaving[own] = timer = threading.Timer(idle_s, _leave, (own,))
                timer.daemon = True
                timer.start()


def _leave(own: tuple[str, ...]) -> None:
    with _keeping:
        if not _n_busy[own] and own in _kept:
            _kept.pop(own).stop()


@contextmanager
def deaf() -> Iterator[None]:
    """Ctrl-C waits while a process may be started: one that is hit before `live_with` would print a traceback."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited by what this thread starts
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_tracker() -> None:
    """Starts the process that clears up the semaphores of a parent killed with -9, so that it does not also say so."""
    sys.warnoptions.append("ignore:resource_tracker")  # becomes an option of its command line
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.pop()


def _members(pool: ProcessPoolExecutor) -> list[Any]:
    """The processes of a pool; none of one that was shut down."""
    return list((pool._processes or {}).values())


def _utterance_at(place: str, work: Work) -> str:
    """The utterance of a clip, or the first of a recording; '' where no clip is known."""
    rows = work.arguments.get("rows", ()) if place else ()
    return next((row["utterance_id"] for row in rows if place in (row["input_id"], row["recording_id"])), place)


def _perform(lake: Path, work: Work, how: Apart | None, log: str) -> _Answered:
    with Telling(log) as lines, apart(how):
        tell_began([work])
        return Warehouse(lake).perform(work), lines


def _received(future: Future[_Answered]) -> Artifact:
    artifact, lines = future.result()
    take_in(lines)
    return artifact


def _note(place: str) -> None:
    _places[-1].value = place.encode()


_places: list[Any] = []
"""Of a process of the pool: memory that outlives it, for what it is at."""


def _prepare(parent: int, place: Any) -> None:
    _places.append(place)
    live_with(parent)


def live_with(parent: int) -> None:
    """In each process: Ctrl-C is the parent's to answer, and a parent that was killed takes its children along."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
