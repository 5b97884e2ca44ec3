"""Task runners whose tasks run in other processes, here or on the hosts of a cluster: EMOLAKE_RUNNER, EMOLAKE_CLUSTER.

'threads', the default, is none of them: there threads of the flow hand works to the pool of `flows.workers`. Elsewhere
each process has such a pool of its own, so a clip that crashes a native library, memory that runs out and a work's own
mistake come to the same everywhere. Jobs are launched by the flow, whichever runner there is.

Prefect, Dask and Ray are imported inside the functions only.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from flows.doer import Unmade
from flows.run_log import Answering, log_told_to, take_in, tell_again, tell_lost
from flows.show import StepWatcher
from flows.workers import deaf, live_with
from warehouse.artifact import Artifact, Work
from warehouse.operating_errors import ClusterNotReached, MissingExtra, ServerNotReached, WorkersLost

PACKAGES: Mapping[str, str] = MappingProxyType({"dask": "prefect_dask", "ray": "prefect_ray"})
"""Runner -> the package that Prefect has for it."""

PAUSES_S = (1.0, 5.0, 25.0)
"""Before works are done again whose processes were lost. Dask and Ray try three times themselves before that."""

_CONSOLE = "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"

MOST_AT_ONCE = 1_000
"""Works that wait in a cluster: their rows lie in its scheduler's memory, some 50 KB each."""


Lost = tuple[type[BaseException], ...]
"""What a runner raises where the process that did a task was lost."""

Asking = Callable[[], AbstractContextManager[Any]]
"""Within what it gives, tasks that are submitted ask for a GPU, if the cluster has any: of one that has none, or does
not say so, they would be waited for in vain."""


def refuse_absent(runner: str) -> None:
    """Looks for the runner's package, so that nothing is started in vain.

    Raises:
        MissingExtra.
    """
    package = PACKAGES.get(runner)
    if package and importlib.util.find_spec(package) is None:
        raise MissingExtra(f"EMOLAKE_RUNNER '{runner}'", package, "cluster")


def computes_on_gpu(work: Work) -> bool:
    """Whether a work is one of a network, such as an encoder, that may compute on a GPU."""
    may = work.arguments.get("device", "cpu") in ("cuda", "auto")
    return may and "torch" in getattr(work.arguments.get("plugin"), "libraries", ())


class Elsewhere:
    """Processes to which a task runner of Prefect gives tasks. They are started with the first work.

    A process that is lost with its task loses nothing: the task is done again by another, and finds what was finished.
    Dask and Ray do so by themselves; what they have given up, and all that a broken pool of processes had, is given to
    new ones here, after a pause. Mistakes of works are no losses and come out as they are.

    Args:
        name: 'processes', 'dask' or 'ray'.
        cluster: address of the Dask scheduler or the Ray head; a cluster of this host's own where None is given.
        n_workers: of the own one.
    """

    def __init__(self, name: str, cluster: str | None, n_workers: int) -> None:
        self.name, self.cluster, self.n_workers = name, cluster, n_workers
        self._stack = ExitStack()
        self._runner: Any = None
        self._lost: tuple[type[BaseException], ...] = ()
        self._on_gpu: Asking = nullcontext

    def answer(self, lake: str, works: Sequence[Work], progress: StepWatcher) -> list[Artifact | Unmade]:
        """Does works that have a function, in any order, within a flow.

        Args:
            lake: folder or URL, as every host of the cluster knows it.

        Raises:
            MissingExtra, ClusterNotReached, ServerNotReached: there is nobody to do them. WorkersLost: time and again
                whoever did them was ended. Whatever a work itself raised, the others not waited for.
        """
        found: list[Artifact | Unmade] = []
        waiting = list(works)
        for pause_s in (0.0, *PAUSES_S):
            time.sleep(pause_s)
            lost = []
            for work, future in self._done(lake, waiting):
                try:
                    with Answering([work], self._lost) as told:
                        answered = future.result()
                        take_in(answered.lines)
                        found += told(answered.answers)
                except self._lost as error:
                    tell_again(work, error=type(error).__name__)
                    lost.append(work)
                except RuntimeError as error:
                    if "Failed to reach API" in str(error):
                        raise ServerNotReached(str(error)) from error
                    raise
                else:
                    progress.noter([work])(1, 1, "")
            if not lost:
                return found
            waiting = lost
            self.close()
        raise WorkersLost(waiting[0].request.step, len(waiting), 1 + len(PAUSES_S), self.name)

    def _done(self, lake: str, works: Sequence[Work]) -> Iterator[tuple[Work, Any]]:
        """Each work with its future, as they are done; the next ones are begun meanwhile."""
        from flows.tasks import Parcel, answer_elsewhere

        ready = SimpleQueue[int]()
        futures: dict[int, Any] = {}
        for number, work in enumerate(works):
            if len(futures) == MOST_AT_ONCE:
                done = ready.get()
                yield works[done], futures.pop(done)
            if self._runner is None:
                self._begin()
            task = answer_elsewhere.with_options(name=work.request.step)
            parcel = Parcel(work, log_told_to(), 1 if self.cluster is None else None)
            with deaf(), self._on_gpu() if computes_on_gpu(work) else nullcontext():
                future = self._runner.submit(task, {"lake": lake, "parcel": parcel})
            futures[number] = future
            future.add_done_callback(lambda _, number=number: ready.put(number))
        while futures:
            done = ready.get()
            yield works[done], futures.pop(done)

    def _begin(self) -> None:
        refuse_absent(self.name)
        _tell_children(self._stack, _CONSOLE, os.environ.get(_CONSOLE, "CRITICAL"))
        begin = {"processes": _processes, "dask": _dask, "ray": _ray}[self.name]
        with deaf():
            self._runner, self._lost, self._on_gpu = begin(self._stack, self.cluster, self.n_workers)

    def close(self) -> None:
        """Ends what was started, the busy processes too; of a cluster that was there before, only what waits."""
        self._runner = None
        self._stack.close()


def _tell_children(stack: ExitStack, name: str, value: str) -> None:
    """Sets an environment variable of those that are started now, and of nobody later."""
    before = os.environ.get(name)
    stack.callback(os.environ.pop, name, None) if before is None else stack.callback(os.environ.update, {name: before})
    os.environ[name] = value


def _processes(stack: ExitStack, cluster: str | None, n_workers: int) -> tuple[Any, Lost, Asking]:
    from concurrent.futures.process import BrokenProcessPool

    from prefect.task_runners import ProcessPoolTaskRunner

    runner: Any = ProcessPoolTaskRunner(n_workers, initializer=live_with, initargs=(os.getpid(),))
    # Its thread that passes on what processes tell must know the flow's server, or it starts another.
    runner._forward_subprocess_messages = partial(copy_context().run, runner._forward_subprocess_messages)
    stack.enter_context(runner)
    runner._executor.submit = partial(runner._executor.submit, _without_exit)

    def kill() -> None:
        """On its way out the runner waits for tasks that are under way."""
        for process in list((runner._executor._processes or {}).values()):
            process.kill()

    stack.callback(kill)
    return runner, (BrokenProcessPool,), nullcontext


def _without_exit(call: Callable[[], bytes]) -> bytes:
    """In a process of the pool, Prefect's engine ends with SystemExit what it cannot begin, as where it reaches no
    server; Prefect's own future passes that on to nobody, and the flow would wait for ever.

    Raises:
        RuntimeError: with the reason, as text: not every error of a library survives the way back.
    """
    try:
        return call()
    except SystemExit as error:
        raise RuntimeError(str(error.__context__ or error)) from None


def _dask(stack: ExitStack, cluster: str | None, n_workers: int) -> tuple[Any, Lost, Asking]:
    import dask
    from distributed import Client, LocalCluster
    from distributed.client import FutureCancelledError
    from distributed.scheduler import KilledWorker
    from prefect_dask import DaskTaskRunner

    from flows.tasks import hang_up

    if cluster is None:
        # What needs memory are the children of these workers, whose use Dask does not see. Each worker has one, and two
        # threads: while the child is at one task, Prefect's engine ends the last and begins the next.
        own = LocalCluster(
            n_workers=n_workers, threads_per_worker=2, processes=True, memory_limit=0, dashboard_address=None,
            silence_logs=logging.CRITICAL,
        )  # fmt: skip
        runner: Any = DaskTaskRunner(cluster=stack.enter_context(own))
    else:
        try:
            Client(cluster, timeout="10s", set_as_default=False).close()
        except (OSError, ValueError) as error:
            raise ClusterNotReached("Dask", cluster, str(error)) from error
        runner = DaskTaskRunner(address=cluster)
    stack.enter_context(runner)
    runner.client.subscribe_topic("all", _tell_of_dask_worker)

    def leave() -> None:
        with suppress(OSError, RuntimeError):  # nobody answers any more
            runner.client.run(hang_up, on_error="ignore")

    if cluster is not None:
        stack.callback(leave)
    workers = runner.client.scheduler_info(n_workers=-1)["workers"].values()
    has_gpu = any(worker["resources"].get("GPU", 0) >= 1 for worker in workers)
    on_gpu: Asking = partial(dask.annotate, resources={"GPU": 1}) if has_gpu else nullcontext
    return runner, (KilledWorker, FutureCancelledError), on_gpu


def _tell_of_dask_worker(event: tuple[float, Mapping[str, Any]]) -> None:
    """Told by the scheduler, which gives the tasks of a worker that is gone to others and says nothing of it else."""
    _, told = event
    if told.get("action") == "remove-worker" and not told["expected"]:
        tell_lost(told["worker"], len(told["processing-tasks"]))


def _refuse_unreached(cluster: str) -> None:
    """Ray itself tries for minutes to reach a head, and says nothing meanwhile.

    Raises:
        ClusterNotReached: nobody listens at HOST:PORT. Other names, such as 'auto', are Ray's to look up.
    """
    try:
        place = urlsplit(cluster if "://" in cluster else f"//{cluster}")
        if place.port is not None:
            socket.create_connection((place.hostname or "", place.port), timeout=10).close()
    except (OSError, ValueError) as error:
        raise ClusterNotReached("Ray", cluster, str(error)) from error


def _ray(stack: ExitStack, cluster: str | None, n_workers: int) -> tuple[Any, Lost, Asking]:
    if cluster is not None:
        _refuse_unreached(cluster)
    own = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}  # works see the GPUs threads see
    for name, value in own.items():
        _tell_children(stack, name, os.environ.get(name, value))
    import ray
    from prefect_ray import RayTaskRunner
    from prefect_ray.context import remote_options
    from ray import exceptions
    from ray._private import ray_constants

    if cluster is None:
        # Ray's name for "listen on the loopback": anybody who reaches its ports may run code. Its processes read the
        # variable; this one did when it imported Ray, which may be long ago.
        _tell_children(stack, ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, "0")
        stack.callback(setattr, ray_constants, "ENABLE_RAY_CLUSTER", ray_constants.ENABLE_RAY_CLUSTER)
        ray_constants.ENABLE_RAY_CLUSTER = False
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if cluster is None:
        settings |= {"num_cpus": n_workers, "include_dashboard": False}
    runner: Any = RayTaskRunner(cluster or "local", settings)
    try:
        stack.enter_context(runner)
    except (OSError, RuntimeError, ValueError) as error:
        if cluster is None:
            raise
        raise ClusterNotReached("Ray", cluster, str(error)) from error
    lost = exceptions.WorkerCrashedError, exceptions.NodeDiedError, exceptions.LocalRayletDiedError
    on_gpu: Asking = partial(remote_options, num_gpus=1) if ray.cluster_resources().get("GPU", 0) >= 1 else nullcontext
    return runner, (*lost, exceptions.OutOfMemoryError, exceptions.ObjectLostError), on_gpu
