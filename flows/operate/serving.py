"""Serving: a Prefect server, the deployments of recipes on it, and the process that starts their runs when it is time.

A server that the user has set (PREFECT_API_URL) is used; else one of the lake's own, whose state is in `.prefect`.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import copy_context
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from flows.operate.deployments import LIMITS, TAG, Deployed, limit_of
from flows.server import STOP_S, prefect_server, ready_already
from warehouse.operating_errors import AlreadyServed

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment
    from prefect.runner import Runner

PORT = 4200
SERVING = "serving.json"
"""In the lake's `.prefect`: the address of the server that its recipes are served from."""

LEFT = "the process that served it was killed: what was finished is kept, and the next run goes on there"

_MOST = 200  # what the server gives at once
_FLOWS = "flows.operate.scheduled"
_RUN_ENVIRONMENT = {
    "EMOLAKE_SERVED_BY": "",  # its own process id
    "PYTHONSAFEPATH": "1",  # the working folder is no place to import from
}


def serve(
    deployed: Sequence[Deployed], home: Path, port: int, told: Callable[[str], None], ended: threading.Event
) -> None:
    """Serves deployments until `ended` is set or Ctrl-C comes; then runs that are under way are cancelled, schedules
    are paused, and a server of our own ends.

    Args:
        home: the lake's `.prefect`.
        port: of a server of our own.
        told: given the server's address, once runs are started.

    Raises:
        AlreadyServed: another process serves this lake.
        ServerNotStarted: see `flows.server`.
    """
    home.mkdir(parents=True, exist_ok=True)
    with _alone(home), _interrupted_by(signal.SIGTERM), prefect_server(home, port) as wait_until_ready:
        wait_until_ready()
        from prefect.settings import get_current_settings

        url = str(get_current_settings().api.url)
        _end_what_was_left(deployed, is_ours=wait_until_ready is not ready_already)
        _limit(deployed)
        os.environ.update(_RUN_ENVIRONMENT | {"EMOLAKE_SERVED_BY": str(os.getpid())})
        with _running([_deployment(one) for one in deployed], ended):
            place = home / SERVING
            place.write_text(json.dumps({"url": url, "pid": os.getpid()}), encoding="utf-8")
            try:
                told(url)
                ended.wait()
            finally:
                place.unlink(missing_ok=True)


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """One process serves a lake: two would start every run twice. The lock goes with its process."""
    with open(home / "serving.lock", "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyServed(home.parent, address(home)) from None
        yield


def address(home: Path) -> str:
    """The address of the server that a lake's recipes are, or were last, served from; '' where none is known."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads((home / SERVING).read_bytes())["url"])
    return ""


@contextmanager
def _interrupted_by(number: signal.Signals) -> Iterator[None]:
    """Whoever stops services does so with SIGTERM, which must end this one as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, interrupt)
    try:
        yield
    finally:
        signal.signal(number, before)


def _end_what_was_left(deployed: Sequence[Deployed], is_ours: bool) -> None:
    """Ends runs of this lake that a process left which was killed, and frees what they held: nobody else will. A
    deployment has one run at a time, so that one of them would keep it from ever running again.

    Args:
        is_ours: the server is the lake's own and has just begun, so that nobody holds anything of it. On another one,
            what they held beside their deployments is free when its lease ends, after five minutes.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
    from prefect.client.schemas.filters import (
        DeploymentFilter,
        DeploymentFilterTags,
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    lakes = {one.parameters["lake"] for one in deployed}
    begun = FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING, StateType.CANCELLING])
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(
            deployment_filter=ours, flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=begun))
        ):
            if run.parameters.get("lake") in lakes:
                client.set_flow_run_state(run.id, Crashed(message=LEFT), force=True)
        for limit in client.read_global_concurrency_limits(limit=_MOST) if is_ours else ():
            if limit.active_slots:
                client.update_global_concurrency_limit(limit.name, GlobalConcurrencyLimitUpdate(active_slots=0))


def _limit(deployed: Sequence[Deployed]) -> None:
    """Makes the limits that are not there; those that are may be as a person set them."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
    from prefect.exceptions import ObjectAlreadyExists

    recipes = dict.fromkeys(limit_of(one.tags[1]) for one in deployed if one.flow != "verify")
    with get_client(sync_client=True) as client:
        for name, limit in {**LIMITS, **dict.fromkeys(recipes, 1)}.items():
            with suppress(ObjectAlreadyExists):
                client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=limit))


def _deployment(one: Deployed) -> RunnerDeployment:
    """A run that comes due while its predecessor still works is cancelled: there would be nothing left for it."""
    import importlib

    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.schedules import Cron
    from prefect.types.entrypoint import EntrypointType

    flow = getattr(importlib.import_module(_FLOWS), one.flow)
    made: RunnerDeployment = flow.to_deployment(
        one.name, schedule=Cron(one.cron, timezone=one.timezone), parameters=dict(one.parameters), tags=list(one.tags),
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )  # fmt: skip
    return made


@contextmanager
def _running(deployments: Sequence[RunnerDeployment], ended: threading.Event) -> Iterator[None]:
    """Within it, due runs are started, each in a process of its own; `ended` is set when that is over.

    Prefect's runner works in a thread in which Ctrl-C waits, and so do the processes that it starts: they hear of the
    end from the runner alone, which cancels their runs first.
    """
    from prefect.runner import Runner

    loop, runner = asyncio.new_event_loop(), Runner(name="emolake", pause_on_shutdown=True)
    for one in deployments:
        runner.add_deployment(one)

    def run() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            loop.run_until_complete(runner.start())
        finally:
            ended.set()
            loop.close()

    thread = threading.Thread(target=copy_context().run, args=(run,), daemon=True)  # with Prefect's settings
    thread.start()
    try:
        yield
    finally:
        _stop(runner, loop, thread)


def _stop(runner: Runner, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    if thread.is_alive() and not loop.is_closed():
        stopping: Any = asyncio.run_coroutine_threadsafe(runner.astop(), loop)
        with suppress(RuntimeError, asyncio.CancelledError):
            stopping.result(timeout=STOP_S)
    thread.join(timeout=STOP_S)
