"""The points of a grid are fitted together: the same checkpoints as one after the other, two at once where two can."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from flows import pipeline
from flows.doer import Unmade
from flows.fitting import fit_all
from flows.grid import Point
from flows.line import Line
from flows.pipeline import Runner
from flows.plan import plan
from flows.show import Silent, totals
from flows.workers import Workers
from infra.launch import JobError
from tests.flows import swept
from tests.flows.wholly import JOBS
from warehouse import Artifact, Warehouse, Work

RECIPE = swept.RECIPE.partition("[models.words]")[0]
PROTOCOL = swept.PROTOCOL.replace('folds = "speaker_id"\n', "").replace("$fold", "'c'").replace("$next", "'b'")
POINTS = [f"sound(inverse_strength={one})" for one in (0.1, 1, 10)]


class Pool:
    """So many workers that begin together: whoever is alone waits in vain."""

    def __init__(self, warehouse: Warehouse, fails: Sequence[float] = (), together: int = 2) -> None:
        self.warehouse, self.fails, self.n_jobs_at_once = warehouse, fails, together
        self.both = threading.Barrier(together, timeout=20)
        self.one = threading.Lock()  # workers are processes; what a fit sets for its process two threads would share
        self.met: list[float] = []

    def batches(self, works: Iterable[Work]) -> list[list[Work]]:
        return Workers.batches(cast(Any, self), works)

    def answer(self, works: Sequence[Work], note: Any) -> list[Artifact | Unmade]:
        if works[0].request.kind == "checkpoint":
            self.met.append(_strength(works[0]))
            self.both.wait()
        with self.one:
            return [self._answer(work) for work in works]

    def _answer(self, work: Work) -> Artifact | Unmade:
        if work.function is None and _strength(work) in self.fails:
            return Unmade(work.request.key, "the loss is no number")
        return self.warehouse.materialize(work.request, partial(work.function or self._job(work), **work.arguments))

    def _job(self, work: Work) -> Callable[..., None]:
        def write(folder: Path, **arguments: Any) -> None:
            JOBS[work.request.kind](self.warehouse, work.request, folder, lambda *told: None, **arguments)

        return write


def _strength(work: Work) -> float:
    return float(work.request.params["student"]["inverse_strength"])


Begin = Callable[..., tuple[Line, Runner, Pool]]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Line:
    """Everything but the fits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(swept, "PROTOCOL", PROTOCOL)
        line = swept.swept_line(tmp_path_factory.mktemp("packed"), RECIPE, verb="pack")
    for name in POINTS:
        line.splits(name)
    return line


def unfitted(packed: Line, folder: Path) -> Warehouse:
    """A copy of the lake, without what tests before this one may have fitted."""
    own = shutil.ignore_patterns("checkpoint")
    shutil.copytree(packed.warehouse.root / "artifacts", folder / "lake" / "artifacts", ignore=own)
    return Warehouse(folder / "lake", create=True)


@pytest.fixture
def run(packed: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    def begun(**pool: Any) -> tuple[Line, Runner, Pool]:
        warehouse = unfitted(packed, tmp_path)
        workers = Pool(warehouse, **pool)
        runner = Runner(warehouse, cast(Workers, workers), Silent())
        return Line(packed.recipe, warehouse, packed.roots, runner), runner, workers

    with ThreadPoolExecutor(2) as threads:

        def submit(*told: Any) -> Any:
            return threads.submit(pipeline.answer.fn, *(one.value for one in told))

        task = SimpleNamespace(with_options=lambda name: SimpleNamespace(submit=submit), fn=pipeline.answer.fn)
        monkeypatch.setattr(pipeline, "answer", task)
        yield begun


def _digests(line: Line) -> Mapping[str, list[str]]:
    return {name: [fit.checkpoint.digest for fit in line.model(name)] for name in POINTS}


def test_two_points_are_under_way_at_once_and_become_what_they_become_one_by_one(packed: Line, run: Begin) -> None:
    line, runner, pool = run()
    before = totals(plan(packed.recipe, line.warehouse, packed.roots))
    line.run()
    assert sorted(pool.met) == [0.1, 1.0], "of one fold two points were begun together"
    made = {step.name: (step.n_rows, step.n_new) for step in runner.steps if step.name.startswith("fit")}
    assert made == {"fit sound": (0, 3)} | {f"fit {name}": (1, 0) for name in POINTS}
    assert totals(runner.steps) == before, "what was planned, and nothing twice"
    assert _digests(line) == _digests(packed)
    names = [step.name for step in runner.steps]
    assert len(set(names)) == len(names), "nothing is asked for twice"
    planned = plan(packed.recipe, line.warehouse, packed.roots)
    assert not [step for step in planned if step.name.startswith("fit") and step.works]


def test_a_point_that_is_asked_for_alone_is_fitted_alone(run: Begin) -> None:
    line, runner, pool = run(together=1)
    line.pack()
    line.model(POINTS[1])
    assert pool.met == [1.0] and runner.steps[-1].name == f"fit {POINTS[1]}"


def test_where_one_job_can_be_under_way_each_point_is_one(run: Begin) -> None:
    line, runner, pool = run(together=1)
    line.run()
    assert pool.met == [0.1, 1.0, 10.0]
    made = {step.name: (step.n_rows, step.n_new) for step in runner.steps if step.name.startswith("fit")}
    assert made == {f"fit {name}": (1, 1) for name in POINTS}


def test_a_grid_waits_for_the_one_that_it_starts_from() -> None:
    """The points of that one are begun together too, though the recipe names them later."""
    starts = {"b(k=1)": "a(k=1)", "b(k=2)": "a(k=2)", "plain": None, "a(k=1)": None, "a(k=2)": None}
    said: list[str] = []
    line: Any = SimpleNamespace(
        recipe=SimpleNamespace(
            models={name: SimpleNamespace(init=init) for name, init in starts.items()},
            grids={grid: [Point(f"{grid}(k={k})", {"k": k}) for k in (1, 2)] for grid in "ab"},
        ),
        doer=SimpleNamespace(ahead=lambda name, works: said.append(name)), model=said.append,
    )  # fmt: skip
    fit_all(line)
    assert said == ["fit a", "fit b", "b(k=1)", "b(k=2)", "plain", "fit a", "a(k=1)", "a(k=2)"]


def test_a_point_that_cannot_be_fitted_is_tried_once_and_says_so_itself(run: Begin) -> None:
    line, runner, pool = run(fails=[10.0])
    with pytest.raises(JobError, match="the loss is no number"):
        line.run()
    assert len(pool.met) == 2 and not any(step.unmade for step in runner.steps[:-1])
    made = {step.name: (step.n_rows, step.n_new) for step in runner.steps if step.name.startswith("fit")}
    assert made == {"fit sound": (0, 3)} | {f"fit {name}": (1, 0) for name in POINTS}
    assert [one.why for one in runner.steps[-1].unmade] == ["the loss is no number"]


def test_a_plan_says_of_each_point_what_is_missing(packed: Line, tmp_path: Path) -> None:
    steps = plan(packed.recipe, unfitted(packed, tmp_path), packed.roots)
    assert {step.name: step.n_new for step in steps if step.name.startswith("fit")} == dict.fromkeys(
        [f"fit {name}" for name in POINTS], 1
    )
