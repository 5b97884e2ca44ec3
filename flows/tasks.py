"""One Prefect task is one call: a work goes in, an artifact of a few hundred bytes comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker

from flows.doer import Unmade
from flows.run_log import Answering, Telling
from flows.show import Noter
from flows.workers import Workers, kept_workers
from warehouse.artifact import Artifact, Work


@task(name="answer", cache_policy=NO_CACHE, persist_result=False)
def answer(workers: Workers, works: Sequence[Work], note: Noter) -> list[Artifact | Unmade]:
    """Answers one batch of works. Prefect's own cache is off: the warehouse is the only memory."""
    with Answering(works, is_stopped=lambda: workers.is_stopped) as told:
        artifacts = told(workers.answer(works, note))
    note(1, 1, "")
    return artifacts


class Parcel:
    """A work on its way to another process. Task runners walk through lists, mappings and dataclasses in search of
    futures, for seconds where there are many rows; through this they do not.

    Args:
        log: the folder of the run's log.
        n_processes: that do works at once where it arrives, as `kept_workers` takes it.
    """

    def __init__(self, work: Work, log: str = "", n_processes: int | None = None) -> None:
        self.work, self.log, self.n_processes = work, log, n_processes

    def __dask_tokenize__(self) -> str:
        return self.work.request.key


@dataclass(frozen=True)
class Answered:
    """What comes back: the answers, and lines of the run's log that this host could not write."""

    answers: list[Artifact | Unmade]
    lines: list[str]


@task(name="answer", cache_policy=NO_CACHE, persist_result=False)
def answer_elsewhere(lake: str, parcel: Parcel) -> Answered:
    """Answers one work with the `kept_workers` of whichever process this runs in, so that a clip that crashes a native
    library is the same everywhere: it takes a child of that process and not the worker of the cluster.

    Args:
        lake: folder or URL, as every host of the cluster knows it.
    """
    with Telling(parcel.log) as lines, kept_workers(lake, parcel.n_processes) as workers:
        return Answered(workers.answer([parcel.work], _silent), lines)


def hang_up() -> None:
    """Sends what this process has yet to tell Prefect's server, and leaves it: a server that ends waits for all who are
    connected, and workers of a cluster outlive the flow."""
    EventsWorker.drain_all(timeout=10)
    APILogWorker.drain_all(timeout=10)


def _silent(done: int, total: int, note: str) -> None:
    """Told how far functions are, which say nothing of it."""
