"""The flow: a recipe's line of works, answered by Prefect tasks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.utilities.annotations import opaque

from flows.doer import Step, Unmade, new_step, set_remark
from flows.line import Line
from flows.recipe import Recipe, read_recipe
from flows.show import Silent, Watcher
from flows.tasks import answer
from flows.workers import Workers, workers
from infra.launch import JobError
from warehouse import Warehouse
from warehouse.artifact import Artifact, Work

WATCHER: ContextVar[Watcher] = ContextVar("WATCHER", default=Silent())  # noqa: B039 (it has no state)
"""Who is shown the progress; a terminal sets its own."""


class Runner:
    """The doer that does: what the lake has is taken, the rest is answered, several works at once."""

    def __init__(self, warehouse: Warehouse, pool: Workers, watcher: Watcher) -> None:
        self.warehouse, self.pool, self.watcher = warehouse, pool, watcher
        self.steps: list[Step] = []

    def step(self, name: str, works: Sequence[Work], n_rows: int | None = None) -> list[Artifact]:
        began = time.monotonic()
        found = {work.request.key: self.warehouse.find(work.request) for work in works}
        missing = {work.request.key: work for work in works if found[work.request.key] is None}
        step = new_step(name, works, list(missing.values()), n_rows)
        self.steps.append(step)
        if missing:
            with self.watcher.step(name, step.n_new) as progress:
                answers = self._answer(missing, progress)
            found |= {one.key: one for one in answers if isinstance(one, Artifact)}
            step.unmade = [one for one in answers if isinstance(one, Unmade)]
            if step.unmade:
                self._bear(step, works, found)
        # Without their rows: Prefect walks through all that a flow returns, for seconds where utterances are many.
        step.works = [replace(work, arguments={}) for work in step.works]
        step.seconds = time.monotonic() - began
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
        """Begins with the longest, so that at the end nobody waits long for the last."""
        futures = [
            answer.with_options(name=works[0].request.step).submit(
                opaque(self.pool),
                opaque(works),
                opaque(progress.noter(works)),  # type: ignore[call-overload]
            )
            for works in self.pool.batches(sorted(missing.values(), key=lambda work: -work.n_rows))
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
def build(recipe: str, lake: str, roots: dict[str, str], verb: str, device: str, n_workers: int) -> list[Step]:
    """Does a verb ('ingest', 'align', 'extract', 'pack', 'run') of a recipe and returns its steps.

    Everything is given as text, so that a schedule or another host can start it.
    """
    watcher = WATCHER.get()
    warehouse = Warehouse(lake, create=True)
    declared: Recipe = read_recipe(Path(recipe))
    with workers(warehouse.root, n_workers, device) as pool:
        runner = Runner(warehouse, pool, watcher)
        line = Line(declared, warehouse, {name: Path(root) for name, root in roots.items()}, runner, device)
        getattr(line, verb)()
        return runner.steps


def run(recipe: str, lake: str, roots: dict[str, str], verb: str, device: str, n_workers: int) -> list[Step]:
    """`build` with threads of this process as its task runner."""
    runner: Any = ThreadPoolTaskRunner(max_workers=n_workers)
    return build.with_options(task_runner=runner)(recipe, lake, roots, verb, device, n_workers)
