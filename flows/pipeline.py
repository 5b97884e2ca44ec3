"""The flow: a recipe's line of works, answered by Prefect tasks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.utilities.annotations import opaque

from flows import metrics_export, run_log
from flows.doer import Step, Unmade, new_step, set_remark
from flows.line import Line
from flows.recipe import Recipe, read_recipe
from flows.runners import Elsewhere
from flows.show import Silent, Watcher
from flows.tasks import answer
from flows.workers import Workers, workers
from infra.launch import JobError
from infra.runtime import read_runtime
from warehouse import Warehouse
from warehouse.artifact import Artifact, Work

WATCHER: ContextVar[Watcher] = ContextVar("WATCHER", default=Silent())  # noqa: B039 (it has no state)
"""Who is shown the progress; a terminal sets its own."""


def current_watcher() -> Watcher:
    """The watcher of this context. The flow travels to the workers of a cluster, and a context variable cannot."""
    return WATCHER.get()


class Runner:
    """The doer that does: what the lake has is taken, the rest is answered, several works at once."""

    def __init__(
        self, warehouse: Warehouse, pool: Workers, watcher: Watcher, elsewhere: Elsewhere | None = None
    ) -> None:
        self.warehouse, self.pool, self.watcher, self.elsewhere = warehouse, pool, watcher, elsewhere
        self.steps: list[Step] = []
        self._ahead: set[str] = set()
        self._unmade: dict[str, Unmade] = {}  # of what was done ahead: its own step says so

    def step(self, name: str, works: Sequence[Work], n_rows: int | None = None) -> list[Artifact]:
        return self._done(name, works, n_rows)

    def ahead(self, name: str, works: Callable[[], Sequence[Work]]) -> None:
        """Where only one job can be under way nothing is begun: each point is a job of its own then, which says at once
        how it went."""
        if name not in self._ahead and self.pool.n_jobs_at_once > 1:
            self._ahead.add(name)  # first: what these works need may offer them again
            self._done(name, works(), None, are_ahead=True)

    def _done(self, name: str, works: Sequence[Work], n_rows: int | None, are_ahead: bool = False) -> list[Artifact]:
        began = time.monotonic()
        there = self.warehouse.find_all([work.request for work in works])
        found = {work.request.key: artifact for work, artifact in zip(works, there, strict=True)}
        unmade = [self._unmade[key] for key in found if key in self._unmade]
        missing = {
            work.request.key: work
            for work in works if found[work.request.key] is None and work.request.key not in self._unmade
        }  # fmt: skip
        step = new_step(name, works, list(missing.values()), n_rows)
        self.steps.append(step)
        run_log.step_began(step, works, found)
        if missing:
            with self.watcher.step(name, step.n_new) as progress:
                answers = self._answer(missing, progress)
            found |= (made := {one.key: one for one in answers if isinstance(one, Artifact)})
            self.warehouse.adopt(made.values())
            unmade += [one for one in answers if isinstance(one, Unmade)]
        if are_ahead:
            step.n_rows = 0  # the steps of the points count them
            self._unmade |= {one.key: one for one in unmade}
        elif unmade:
            step.unmade = unmade
            self._bear(step, works, found)
        # Without their rows: Prefect walks through all that a flow returns, for seconds where utterances are many.
        step.works = [replace(work, arguments={}) for work in step.works]
        step.seconds = time.monotonic() - began
        run_log.step_ended(step)
        artifacts = [found[work.request.key] for work in works]
        return [artifact for artifact in artifacts if artifact is not None]

    def _bear(self, step: Step, works: Sequence[Work], found: Mapping[str, Artifact | None]) -> None:
        """A fit that could not be made leaves its fold out, if one of the others could.

        Raises:
            JobError: with the first mistake, where that cannot be.
        """
        why, n = step.unmade[0].why, len(step.unmade)
        if works[0].request.kind != "checkpoint" or not any(found.values()):
            raise JobError(works[0].request.step, 1, why)
        again = "The same command tries again."
        step.remark = f"{n} of {len(works)} could not be made, the others go on without. {again} The first: {why}"

    def _answer(self, missing: Mapping[str, Work], progress: Any) -> list[Artifact | Unmade]:
        """Begins with the longest, so that at the end nobody waits long for the last. Elsewhere go those that have a
        function; jobs are launched from here."""
        works = sorted(missing.values(), key=lambda work: -work.n_rows)
        if self.elsewhere is None:
            return self._answer_here(works, progress)
        away = [work for work in works if work.function is not None]
        jobs = [work for work in works if work.function is None]
        lake = self.warehouse.store.url if self.warehouse.store else str(self.warehouse.root)
        return self.elsewhere.answer(lake, away, progress) + self._answer_here(jobs, progress)

    def _answer_here(self, missing: Sequence[Work], progress: Any) -> list[Artifact | Unmade]:
        futures = [
            answer.with_options(name=works[0].request.step).submit(
                opaque(self.pool),
                opaque(works),
                opaque(run_log.noting(works, progress.noter(works))),  # type: ignore[call-overload]
            )
            for works in self.pool.batches(missing)
        ]
        return [one for future in futures for one in future.result()]

    def waits(self, name: str, step: str) -> None:
        """In a run nothing waits: what is missing is made."""

    def remark(self, name: str, sentence: str) -> None:
        set_remark(self.steps, name, sentence)

    def hashing(self, corpus: str) -> Callable[[int], None]:
        return self.watcher.hashing(corpus)

    def remember(self, ref: str, value: Mapping[str, Any]) -> None:
        self.warehouse.set_ref(ref, value)


@flow(name="emolake", persist_result=False, validate_parameters=False)
def build(
    recipe: str, lake: str, roots: dict[str, str], verb: str, device: str, n_workers: int, trust_raw: bool = False
) -> list[Step]:
    """Does a verb ('ingest', 'align', 'extract', 'pack', 'run') of a recipe and returns its steps.

    Everything is given as text, so that a schedule or another host can start it.
    """
    watcher = current_watcher()
    warehouse = Warehouse(lake, create=True)
    declared: Recipe = read_recipe(Path(recipe))
    runtime = read_runtime()
    with ExitStack() as stack:
        told = {"verb": verb, "device": device, "workers": n_workers, "runner": runtime.runner}
        stack.enter_context(run_log.logged(warehouse.root, declared.name, **told, flow_run=flow_run.get_id()))
        stack.enter_context(metrics_export.served(warehouse.root, runtime.metrics))
        pool = stack.enter_context(workers(warehouse.root, n_workers, device))
        elsewhere = None
        if runtime.runner != "threads":
            elsewhere = stack.enter_context(closing(Elsewhere(runtime.runner, runtime.cluster, n_workers)))
        runner = Runner(warehouse, pool, watcher, elsewhere)
        line = Line(
            declared, warehouse, {name: Path(root) for name, root in roots.items()}, runner, device, trust_raw=trust_raw
        )
        getattr(line, verb)()
        return runner.steps


def run(
    recipe: str, lake: str, roots: dict[str, str], verb: str, device: str, n_workers: int, trust_raw: bool = False
) -> list[Step]:
    """`build` with threads of this process as its task runner."""
    runner: Any = ThreadPoolTaskRunner(max_workers=n_workers)
    return build.with_options(task_runner=runner)(recipe, lake, roots, verb, device, n_workers, trust_raw)
