"""Starts the job that answers requests through a work pool of Prefect, of any type: process, Docker, Kubernetes.

A worker of the pool runs the flow `job`, which is `infra.launch.run_job` over there. What it needs is a host with
`models` and `flows` installed that sees the same lake; the request comes as a parameter. The deployment
`emolake-job/<pool>` is made with the first job, unless there is one that says more, such as an image.

What becomes of a job:

* A run that crashed (its process or its host was lost, or it was pre-empted), or that gave no sign of life for
  `LOST_S`, is submitted again, at most `TRIES` times in all, and goes on from the state that is in the lake, on the
  store where it is on one. So is a run that somebody deleted before a worker had begun it; later it is lost.
* Whatever stops the call cancels the run that it submitted; who followed that one has lost it. `kill -9` cannot: the
  run goes on. Whoever asks for the same requests while a run is under way, or for some of them, follows it and submits
  none. A follower that is stopped leaves the run alone, unless its submitter was a process of this host that runs no
  more: then the run is the follower's. The run's label `emolake.owner` says whose it is.
* What was made is looked for in the lake. The words of a run are its state's message; its log lines are progress.
"""

from __future__ import annotations

import json
import math
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

from httpx import HTTPError
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.logging import get_run_logger
from prefect.states import Cancelling, Completed, Crashed, Failed

from infra.launch import JobError, JobLost, call_name, is_gone, message_of, run_job, stoppable
from warehouse import Request, Warehouse
from warehouse.errors import EmolakeError
from warehouse.operating_errors import NoWorkPool, ServerLost

FLOW = "emolake-job"
ENTRYPOINT = "flows.job_pool.job"
OWNER = "emolake.owner"
TRIES = 3
PAUSE_S = 20.0
"""Seconds before a lost job is submitted again; twice as many the next time."""

POLL_S = 2.0
BEAT_S = 30
"""How often a run says that it lives: Prefect's shortest."""

LOST_S = 300.0
PATIENCE_S = 900.0
"""How long the server may be gone while a job runs elsewhere."""

_DELETED = "Deleted"
_UNFINISHED = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING]
_ENDED = re.compile(r"exit code (?P<code>-?\d+): (?P<line>.*)", re.DOTALL)
_PAGE = 200


@flow(name=FLOW, persist_result=False, validate_parameters=False)
def job(lake: str, requests: list[dict[str, Any]], device: str, weights: dict[str, str]) -> State[Any]:
    """Runs one job on the worker's host. The state it ends in tells what became of each request, or how it failed."""
    logger, told_s = get_run_logger(), 0.0

    def note(done: int, total: int, text: str) -> None:
        nonlocal told_s
        if time.monotonic() - told_s >= 1 or done == total:
            told_s = time.monotonic()
            logger.info(json.dumps({"done": done, "total": total, "note": text}, ensure_ascii=False))

    placed = {digest: Path(folder) for digest, folder in weights.items()}
    try:
        told = run_job(Warehouse(lake).root, requests, device, note, weights=placed)
    except EmolakeError as error:
        return Failed(message=f"exit code 1: {error}")
    except JobError as error:
        return Failed(message=f"exit code {error.code}: {error.last_line}")
    return Completed(message=json.dumps(told, ensure_ascii=False))


def run_in_pool(
    lake: Path,
    requests: Sequence[Mapping[str, Any]],
    device: str,
    on_progress: Callable[[int, int, str], None] | None = None,
    *,
    pool: str,
    stopped: threading.Event | None = None,
    weights: Mapping[str, Path] | None = None,
    pause_s: float = PAUSE_S,
    poll_s: float = POLL_S,
) -> list[dict[str, Any]]:
    """Runs one job that answers some requests through a work pool, and waits: `infra.launch.run_job`, elsewhere.

    Args:
        pool: the name of the work pool.
        pause_s: before the first time that a lost job is submitted again.
        poll_s: between two questions to the server.

    Raises:
        NoWorkPool: the server has no such pool.
        JobError: as `run_job`; or what was made is not in this lake.
        JobLost: the run crashed too often, or somebody cancelled or deleted it.
        ServerLost: the server does not answer.
    """
    step, call = str(requests[0].get("step", "job")), call_name()
    note, stopped = on_progress or _nobody, stopped or threading.Event()
    parameters: dict[str, Any] = {
        "lake": Warehouse(lake).name,
        "requests": [dict(request) for request in requests],
        "device": device,
        "weights": {digest: str(folder) for digest, folder in (weights or {}).items()},
    }
    with _saying_lost(lake), get_client(sync_client=True) as client:
        deployment = _deployment(client, pool)
        run = _under_way(client, deployment, parameters, call)
        for n_tries in count(1):
            if run is None:
                run = client.create_flow_run_from_deployment(
                    deployment, parameters=parameters, tags=["emolake"], labels={OWNER: call}
                )
            state = _followed(client, run.id, call, note, len(requests), stopped, poll_s)
            message = state.message or ""
            if state.name == _DELETED:
                with suppress(JobError):  # it may have done its work before
                    return _found(lake, step, requests, [])
            if state.type == StateType.COMPLETED:
                return _found(lake, step, requests, json.loads(message))
            if state.type == StateType.FAILED:
                ended = _ENDED.fullmatch(message)
                code, line = (int(ended["code"]), ended["line"]) if ended else (1, message)
                raise JobError(step, code, line)
            if stopped.is_set():
                raise JobError(step, -signal.SIGTERM, message)
            if n_tries == TRIES or state.type != StateType.CRASHED:
                raise JobLost(step, f"the work pool '{pool}' (run {run.name})", state.name or "", n_tries, message)
            note(0, len(requests), f"the run {run.name} was lost and is submitted again")
            stopped.wait(pause_s * 2 ** (n_tries - 1))
            run = None
    return []


def _nobody(done: int, total: int, note: str) -> None:
    """Is told how far a job is where nobody wants to know."""


@contextmanager
def _saying_lost(lake: Path) -> Iterator[None]:
    """What the client says of a server that does not answer, or only with a mistake, becomes one sentence.

    Raises:
        ServerLost.
    """
    try:
        yield
    except HTTPError as error:
        raise ServerLost(str(error) or type(error).__name__, Path(lake).absolute() / ".prefect") from error


def _deployment(client: SyncPrefectClient, pool: str) -> UUID:
    """The deployment of the pool's jobs, made if there is none.

    Raises:
        NoWorkPool.
    """
    try:
        return client.read_deployment_by_name(f"{FLOW}/{pool}").id
    except ObjectNotFound:
        pass
    try:
        client.read_work_pool(pool)
    except ObjectNotFound as error:
        raise NoWorkPool(pool, str(client.api_url)) from error
    with suppress(ObjectAlreadyExists):  # another thread was quicker
        client.create_deployment(
            client.create_flow_from_name(FLOW),
            pool,
            entrypoint=ENTRYPOINT,
            work_pool_name=pool,
            enforce_parameter_schema=False,
            job_variables={"env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(BEAT_S)}},
            description="Answers requests for checkpoints, predictions and the like: python -m models.job",
            tags=["emolake"],
        )
    return client.read_deployment_by_name(f"{FLOW}/{pool}").id


def _under_way(client: SyncPrefectClient, deployment: UUID, parameters: Mapping[str, Any], call: str) -> FlowRun | None:
    """A run that somebody has submitted and that will answer all these requests."""
    runs = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment])),
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNFINISHED))),
    )
    for run in runs:
        wanted = run.parameters.get("requests", [])
        if run.parameters.get("lake") == parameters["lake"] and all(one in wanted for one in parameters["requests"]):
            with suppress(ObjectNotFound):  # deleted just now
                _is_ours(client, run.id, call)
                return run
    return None


def _is_ours(client: SyncPrefectClient, run: UUID, call: str) -> bool:
    """Whether this call may cancel the run: it submitted it, or takes it over here from one that is gone."""
    owner = str(client.read_flow_run(run).labels.get(OWNER, ""))
    if is_gone(owner):
        client.update_flow_run_labels(run, {OWNER: call})
    return owner == call or is_gone(owner)


def _found(
    lake: Path, step: str, requests: Sequence[Mapping[str, Any]], told: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """For each request what the lake has, which is the truth, or what kept it from being made.

    Raises:
        JobError: neither.
    """
    warehouse = Warehouse(lake)
    mistakes = {str(one["key"]): str(one["error"]) for one in told if "error" in one}
    answers: list[dict[str, Any]] = []
    for request in map(Request.from_json, requests):
        artifact = warehouse.find(request)
        if artifact is not None:
            answers.append({"key": artifact.key, "digest": artifact.digest})
        elif request.key in mistakes:
            answers.append({"key": request.key, "error": mistakes[request.key]})
        else:
            problem = f"what it made is not in {warehouse.name}: do the pool's workers see the same lake?"
            raise JobError(step, 0, problem)
    return answers


class Pulse:
    """Whether a run still gives signs of life, by the clock of this host alone.

    One that never gave any is not held to be lost: its deployment does not ask for them.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._beat: UUID | None = None
        self._since_s = self._asked_s = -math.inf

    def is_lost(self, ask: Callable[[], UUID | None]) -> bool:
        """Asks for the newest sign, now and then."""
        now = self._clock()
        if now - self._asked_s < BEAT_S:
            return False
        self._asked_s, beat = now, ask()
        if beat is None or beat != self._beat:
            self._beat, self._since_s = beat, now
        return now - self._since_s > LOST_S


def _newest_beat(client: SyncPrefectClient, run: UUID) -> UUID | None:
    beats = EventFilter(
        event=EventNameFilter(name=["prefect.flow-run.heartbeat"]),
        resource=EventResourceFilter(id=[f"prefect.flow-run.{run}"]),
    )
    newest = client.read_events(beats, limit=1).events
    return newest[0].id if newest else None


def _followed(
    client: SyncPrefectClient, run: UUID, call: str, note: Callable[[int, int, str], None], n_requests: int,
    stopped: threading.Event, poll_s: float,
) -> State[Any]:  # fmt: skip
    """The state in which a run ended. Whatever stops this call cancels the run first, if it is this call's."""
    pulse = Pulse()
    state: State[Any] = Crashed(message="the server did not answer")
    n_heard = 0
    waits = is_over = False
    answered_s = time.monotonic()

    def cancel() -> None:
        with suppress(HTTPError, ObjectNotFound), get_client(sync_client=True) as own:  # as another thread calls it
            if _is_ours(own, run, call):
                own.set_flow_run_state(run, Cancelling(message="whoever submitted it was stopped"))

    with stoppable(cancel):
        try:
            while not (is_over or stopped.is_set()):
                try:
                    state = client.read_flow_run(run).state or state
                    is_over = state.is_final()  # before reading: what it said last is read then
                    if state.type == StateType.SCHEDULED and not waits:
                        note(0, n_requests, "waits for a worker of the pool")
                        waits = True
                    n_heard += _hear(client, run, n_heard, note)
                    if state.type == StateType.RUNNING and pulse.is_lost(partial(_newest_beat, client, run)):
                        lost: State[Any] = Crashed(message=f"no sign of life for {LOST_S:.0f} s")
                        client.set_flow_run_state(run, lost, force=True)
                    answered_s = time.monotonic()
                except ObjectNotFound:
                    begun = StateType.CRASHED if state.type == StateType.SCHEDULED else StateType.CANCELLED
                    state = State(type=begun, name=_DELETED, message="somebody deleted it at the server")
                    is_over = True
                except HTTPError:
                    if time.monotonic() - answered_s > PATIENCE_S:
                        raise
                if not is_over:
                    stopped.wait(poll_s)
        finally:
            if not is_over:
                cancel()
    return state


def _hear(client: SyncPrefectClient, run: UUID, n_heard: int, note: Callable[[int, int, str], None]) -> int:
    """Passes on what the log of a run says after so many lines. Returns how many there were."""
    logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run])), limit=_PAGE, offset=n_heard)
    for log in logs:
        message = message_of(log.message.encode())
        if message is not None and "done" in message:
            note(message["done"], message["total"], str(message.get("note", "")))
    return len(logs)
