"""Processes that do works: not the flow's own, so that a crash in a native library takes one work and not the run."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
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
        self.lake, self.device = lake, device
        # 'spawn': the parent has threads, and a forked child could inherit a held lock.
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(n_workers, context, _prepare, (os.getpid(),))

    def answer(self, work: Work, note: Callable[[int, int, str], None]) -> Artifact:
        """Does one work, or finds that it is done.

        Raises:
            WorkerDied: the process that did it was killed or crashed. Whatever the work itself raised.
        """
        warehouse = Warehouse(self.lake)
        if work.function is None:
            found = warehouse.find(work.request)
            if found is None:
                run_job(self.lake, work.request.as_json(), self.device, note)
                found = warehouse.find_folder(warehouse.folder_of(work.request))
            return found
        try:
            return self._pool.submit(_perform, self.lake, work).result()
        except BrokenProcessPool as error:
            raise WorkerDied(work.request.step) from error

    def stop(self) -> None:
        """Ends the processes and jobs, the busy ones too: Ctrl-C reaches only the thread that waits for them."""
        stop_jobs()
        busy: Mapping[int, Any] = self._pool._processes or {}
        processes = list(busy.values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


@contextmanager
def workers(lake: Path, n_workers: int, device: str) -> Iterator[Workers]:
    """Workers that are gone on the way out, whatever the reason."""
    pool = Workers(lake, n_workers, device)
    try:
        yield pool
    finally:
        pool.stop()


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
