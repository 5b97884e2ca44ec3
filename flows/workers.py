"""Processes that do works: not the flow's own, so that a crash in a native library takes one work and not the run."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from infra.launch import run_job, stop_jobs
from warehouse import Warehouse
from warehouse.artifact import Artifact, Work
from warehouse.errors import WorkerDied


class Workers:
    """Answers works: functions in a pool of processes, jobs through the launcher.

    Args:
        n_workers: processes of the pool.
        device: of jobs.
    """

    def __init__(self, lake: Path, n_workers: int, device: str) -> None:
        self.lake, self.n_workers, self.device = lake, n_workers, device
        self._stopped = threading.Event()
        # 'spawn': the parent has threads, and a forked child could inherit a held lock.
        context = multiprocessing.get_context("spawn")
        _start_tracker()
        self._pool = ProcessPoolExecutor(n_workers, context, _prepare, (os.getpid(),))

    def batches(self, works: Iterable[Work]) -> list[list[Work]]:
        """The works as they are answered: functions one by one; jobs dealt out to as many processes as there are
        workers, because a process that starts torch for one small fit costs more than the fit, and to a single one
        where there is one accelerator to share."""
        works = list(works)
        jobs = [work for work in works if work.function is None]
        n_processes = min(self.n_workers if self.device == "cpu" else 1, len(jobs))
        dealt = [jobs[start::n_processes] for start in range(n_processes)]
        return [[work] for work in works if work.function is not None] + dealt

    def answer(self, works: Sequence[Work], note: Callable[[int, int, str], None]) -> list[Artifact]:
        """Does one of the `batches`, or finds that it is done.

        Raises:
            WorkerDied: the process that did it was killed or crashed. Whatever the work itself raised.
        """
        if works[0].function is None:
            requests = [work.request.as_json() for work in works]
            run_job(self.lake, requests, self.device, note, stopped=self._stopped)
            warehouse = Warehouse(self.lake)
            return [warehouse.find_folder(warehouse.folder_of(work.request)) for work in works]
        try:
            return [self._submit(work).result() for work in works]
        except BrokenProcessPool as error:
            raise WorkerDied(works[0].request.step) from error

    def _submit(self, work: Work) -> Future[Artifact]:
        """Ctrl-C waits while a process may be started: one that is hit before `_prepare` would print a traceback."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited by what this thread starts
        try:
            return self._pool.submit(_perform, self.lake, work)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def stop(self) -> None:
        """Ends the processes and jobs, the busy ones too: Ctrl-C reaches only the thread that waits for them."""
        self._stopped.set()
        stop_jobs()
        busy: Mapping[int, Any] = self._pool._processes or {}
        processes = list(busy.values())
        self._pool.shutdown(wait=False, cancel_futures=True)
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


def _start_tracker() -> None:
    """Starts the process that clears up the semaphores of a parent killed with -9, so that it does not also say so."""
    sys.warnoptions.append("ignore:resource_tracker")  # becomes an option of its command line
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.pop()


def _perform(lake: Path, work: Work) -> Artifact:
    return Warehouse(lake).perform(work)


def _prepare(parent: int) -> None:
    """In each process: Ctrl-C is the parent's to answer, and a parent that was killed takes its children along."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
