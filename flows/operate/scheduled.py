"""The flows that a schedule starts: build, train, verify, canary. All they are given is text, so that any host can.

Each ends in a state whose message is one sentence: what it did, or what kept it from doing it. A run that is cancelled
ends its processes and jobs as Ctrl-C does; resuming it is running it again, which makes only what is missing.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.concurrency.sync import concurrency
from prefect.exceptions import FailedRun
from prefect.runtime import flow_run
from prefect.states import Completed, Failed, State
from prefect.task_engine import TaskRunTimeoutError
from prefect.tasks import exponential_backoff
from rich.console import Console

from flows import run as runs
from flows import show
from flows.operate.canary_trial import trials
from flows.operate.deployments import limit_of, resources
from flows.operate.published import Published, publish
from flows.operate.salient_hours import salience
from flows.operate.terminal_log import say_sentences
from flows.recipe import Recipe, read_recipe, recipe_path
from infra.launch import JobError
from infra.runtime import BadSetting, read_runtime
from warehouse import Warehouse
from warehouse.audit import verify as checks
from warehouse.audit.tombstones import refuse_unfinished
from warehouse.errors import EmolakeError, MissingFolder, NothingSelected, ServerNotStarted, WorkerDied
from warehouse.operating_errors import ClusterNotReached, ServerLost, StoreFails, WorkersLost

SERVED_BY = "EMOLAKE_SERVED_BY"
"""Of a process that `emolake serve` started: the process id of that one."""

PASSING = (
    JobError, WorkerDied, WorkersLost, MissingFolder, ServerNotStarted, ServerLost, ClusterNotReached, StoreFails,
    OSError,
)  # fmt: skip
"""Mistakes that may have passed in a minute: a disk that was not mounted, memory that others had. Of the other ones a
second try says the same."""

_MISTAKES = (EmolakeError, JobError, BadSetting, OSError)
_SHOWN = 5


def _named() -> str:
    """'demo run 2026-11-22 02:00', and of what has no recipe 'lake verify …'."""
    given = flow_run.parameters
    what = given.get("verb") or str(flow_run.flow_name).removeprefix("emolake-")
    return f"{Path(given.get('recipe', 'lake')).stem} {what} {datetime.now(UTC):%Y-%m-%d %H:%M}"


@flow(name="emolake-build", flow_run_name=_named, persist_result=False)
def build(
    recipe: str, verb: str = "run", lake: str | None = None, roots: dict[str, str] | None = None,
    device: str | None = None, n_workers: int | None = None, retries: int = 2, retry_delay_s: float = 60.0,
    timeout_h: float | None = None,
) -> State:  # fmt: skip
    """Does a verb of a recipe ('extract', 'run', …): what is new, changed or gone in its corpora's folders is found by
    the plan, and what the lake has is not made again. What is not given is taken from the environment."""

    def build_it() -> State:
        path, declared, setup = _setup(recipe, lake, roots, device, n_workers)
        return _built(path, declared, setup, verb, retries, retry_delay_s, timeout_h)

    return _answered(build_it, timeout_h)


@flow(name="emolake-train", flow_run_name=_named, persist_result=False)
def train(
    recipe: str, selection: str, new_salient_h: float, lake: str | None = None, roots: dict[str, str] | None = None,
    device: str | None = None, n_workers: int | None = None, retries: int = 2, retry_delay_s: float = 60.0,
    timeout_h: float | None = None,
) -> State:  # fmt: skip
    """Runs the whole recipe if a selection has so many hours that the last fit had not seen."""

    def train_it() -> State:
        path, declared, setup = _setup(recipe, lake, roots, device, n_workers)
        warehouse = Warehouse(setup.lake, create=True)
        try:
            with _unpurged(warehouse, "train"):
                folders = runs.roots_of(declared, warehouse, setup.roots, setup.weights)
                found = salience(declared, warehouse, folders, selection, setup.device)
        except NothingSelected as none:
            return Completed(message=f"{none}; {new_salient_h:g} new hours are wanted", name="NotYet")
        if found.waits_for or found.new_hours < new_salient_h:
            return Completed(message=found.sentence(new_salient_h), name="NotYet")
        return _built(path, declared, setup, "run", retries, retry_delay_s, timeout_h)

    return _answered(train_it, timeout_h)


@flow(name="emolake-verify", flow_run_name=_named, persist_result=False)
def verify(lake: str | None = None, deep: bool = True) -> State:
    """Looks at every manifest, name and (deep) byte of the lake, and fails where something is not as it was made."""

    def verify_it() -> State:
        warehouse = Warehouse(read_runtime(_environ(lake)).lake)
        with concurrency([*resources("verify", "cpu")]):
            faults = checks.verify(warehouse, lambda done, total: None, deep)
        if not faults:
            looked = "every file has the bytes it was made with" if deep else "every file has its size"
            return Completed(message=f"sound: {len(warehouse.artifacts())} artifacts, {looked}")
        told = _listed(f"{fault.key[:12]} {fault.problem}" for fault in faults)
        repair = "`emolake verify --repair` makes again what can be"
        return Failed(message=f"not sound: {len(faults)} faults ({told}); {repair}")

    return _answered(verify_it)


@flow(name="emolake-canary", flow_run_name=_named, persist_result=False)
def canary(
    recipe: str, lake: str | None = None, roots: dict[str, str] | None = None, device: str | None = None
) -> State:
    """Runs the canaries of a recipe's extractors again, and fails where numbers are not those on record."""

    def try_it() -> State:
        _, declared, setup = _setup(recipe, lake, roots, device, None)
        warehouse = Warehouse(setup.lake, create=True)
        with concurrency([*resources("canary", setup.device)]), _unpurged(warehouse, "canary"):
            folders = runs.roots_of(declared, warehouse, setup.roots, setup.weights)
            tried = trials(declared, warehouse, folders, setup.device)
        if moved := [one for one in tried if one.outcome == "moved"]:
            return Failed(message=_listed(f"feature '{one.feature}': {one.told}" for one in moved))
        untried = [one for one in tried if one.outcome == "not tried"]
        more = f"; not tried: {_listed(f'{one.feature} ({one.told})' for one in untried)}" if untried else ""
        return Completed(message=f"{len(tried) - len(untried)} of {len(tried)} extractors give the same numbers{more}")

    return _answered(try_it)


# -- inside ------------------------------------------------------------------------------------------------------


def _setup(
    recipe: str, lake: str | None, roots: dict[str, str] | None, device: str | None, n_workers: int | None
) -> tuple[Path, Recipe, runs.Setup]:
    path = recipe_path(recipe)
    runtime = read_runtime(_environ(lake, EMOLAKE_DEVICE=device, EMOLAKE_WORKERS=n_workers))
    given = {**runtime.roots, **{name: Path(root) for name, root in (roots or {}).items()}}
    setup = runs.Setup(runtime.lake, given, runtime.device, runtime.workers, runtime.weights)
    return path, read_recipe(path), setup


@contextmanager
def _unpurged(warehouse: Warehouse, what: str) -> Iterator[None]:
    """Within it no purge begins, and none is unfinished: what it withdraws would be read, or made again, meanwhile."""
    with warehouse.scratch(what, is_announced=True):
        refuse_unfinished(warehouse.root)
        yield


def _environ(lake: str | None, **given: Any) -> dict[str, str]:
    """The environment with what was given in its place."""
    said = {"EMOLAKE_LAKE": lake, **given}
    return {**os.environ, **{name: str(value) for name, value in said.items() if value is not None}}


def _answered(work: Callable[[], State], timeout_h: float | None = None) -> State:
    """The state that a flow ends in: that of the work, or its mistake as one sentence."""
    _end_with(os.environ.get(SERVED_BY, ""))
    say_sentences((*_MISTAKES, TaskRunTimeoutError, FailedRun))
    try:
        return work()
    except TaskRunTimeoutError:  # our own limit, and not a socket's
        hours = f" within {timeout_h:g} h" if timeout_h else ""
        return Failed(message=f"not done{hours}: what was finished is kept, and the next run goes on there")
    except _MISTAKES as error:
        return Failed(message=str(error) or type(error).__name__)


def _built(
    path: Path, declared: Recipe, setup: runs.Setup, verb: str, retries: int, delay_s: float, timeout_h: float | None
) -> State:
    key = f"{declared.name}-{verb}".replace("_", "-")
    used = [*resources(verb, setup.device), limit_of(declared.name)]
    with concurrency(used, raise_on_lease_renewal_failure=False):
        tried = attempt.with_options(
            name=f"{verb} {declared.name}", retries=retries, retry_delay_seconds=exponential_backoff(delay_s),
            timeout_seconds=3600 * timeout_h if timeout_h else None,
        )  # fmt: skip
        did = tried(str(path), _plain(setup), verb, key)
    sentence = f"{did['new']} of {did['rows']} rows new, {did['seconds']:.1f} s"
    sentence += f"; {did['not_compared']}" if did["not_compared"] else ""
    publish(key, did["steps"], sentence, Path(did["report"]) if did["report"] else None)
    unmade = [str(step["remark"]) for step in did["steps"] if step["unmade"]]
    return Failed(message=f"{sentence}; {_listed(unmade)}") if unmade else Completed(message=sentence)


def _may_pass(tried: Any, run: Any, state: State) -> bool:
    return isinstance(state.data, PASSING) and not isinstance(state.data, TaskRunTimeoutError)


@task(cache_policy=NO_CACHE, persist_result=False, retry_condition_fn=_may_pass)
def attempt(recipe: str, setup: dict[str, Any], verb: str, key: str) -> dict[str, Any]:
    """One try of a run, which starts a flow of its own where the plan finds something to do."""
    watcher = Published(Console(quiet=True), f"{key}-progress")
    roots = {name: Path(root) for name, root in setup["roots"].items()}
    weights = Path(setup["weights"]) if setup["weights"] else None
    where = runs.Setup(setup["lake"], roots, setup["device"], setup["n_workers"], weights)
    outcome = runs.run(Path(recipe), where, verb, watcher.console, watcher)
    watcher.finish()
    n_new, n_rows = show.totals(outcome.steps)
    return {
        "new": n_new, "rows": n_rows, "seconds": outcome.seconds, "steps": [step.as_json() for step in outcome.steps],
        "report": str(outcome.report.path("report.html")) if outcome.report else None,
        "not_compared": outcome.not_compared,
    }  # fmt: skip


def _plain(setup: runs.Setup) -> dict[str, Any]:
    """A setup as plain values: what Prefect is given it walks through."""
    return {
        "lake": setup.lake, "roots": {name: str(root) for name, root in setup.roots.items()}, "device": setup.device,
        "n_workers": setup.n_workers, "weights": str(setup.weights or ""),
    }  # fmt: skip


def _listed(sentences: Iterable[str]) -> str:
    told = list(sentences)
    more = f"; and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    return "; ".join(told[:_SHOWN]) + more


def _end_with(server: str) -> None:
    """Ends this run in order when the process that serves is gone, `kill -9` included: nobody would hear of it."""
    if server != str(os.getppid()):
        return

    def watch() -> None:
        while os.getppid() == int(server):
            time.sleep(1.0)
        with suppress(ProcessLookupError):
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
