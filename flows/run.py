"""Running a recipe: plan first, start Prefect only when there is work, and say at the end what was done."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from flows import show
from flows.checkpoints import checkpoint_roots
from flows.costs import cost_list, cost_table
from flows.doer import Step
from flows.plan import is_done, plan
from flows.recipe import Recipe, read_recipe, recipe_path
from flows.server import prefect_server
from flows.traced_number import metric_rows, print_number, trace_number
from infra.runtime import read_runtime
from warehouse import Warehouse
from warehouse.artifact import Artifact
from warehouse.audit.tombstones import refuse_unfinished
from warehouse.errors import InvalidField
from warehouse.refs import corpus_root


@dataclass(frozen=True)
class Setup:
    """Where and how fast: nothing of it is part of identity."""

    lake: Path
    roots: Mapping[str, Path]
    device: str
    n_workers: int
    weights: Path | None = None  # the folder below which checkpoints lie
    trust_raw: bool = False  # raw files are what was recorded of them: nobody looks


@dataclass(frozen=True)
class Outcome:
    """What a run did. `report` is the artifact with the report, where the recipe has one and the verb reached it;
    `not_compared` says why what models learned from was not held against what judges them, where it was not."""

    recipe: Recipe
    warehouse: Warehouse
    steps: list[Step]
    report: Artifact | None
    seconds: float
    not_compared: str = ""

    def as_json(self) -> dict[str, Any]:
        n_new, n_rows = show.totals(self.steps)
        number = trace_number(self.warehouse, self.report) if self.report else None
        return {
            "recipe": self.recipe.name, "new": n_new, "rows": n_rows, "seconds": round(self.seconds, 1),
            "steps": [step.as_json() for step in self.steps],
            "report": str(self.report.path("report.html")) if self.report else None,
            "metrics": metric_rows(self.warehouse, self.recipe.name) if self.report else [],
            "trace": [vars(hop) for hop in number.hops] if number else [], "not_compared": self.not_compared,
        }  # fmt: skip


def roots_of(
    recipe: Recipe, warehouse: Warehouse, given: Mapping[str, Path], weights: Path | None = None
) -> dict[str, Path]:
    """Corpus -> folder: as given, or else where it was ingested from the last time. 'checkpoints/<name>' -> folder, as
    `flows.checkpoints` finds it.

    Raises:
        InvalidField: neither is known.
    """
    roots = {}
    for name in recipe.corpora:
        ref = warehouse.ref(f"corpora/{name}")
        if name in given:
            roots[name] = given[name].absolute()
        elif ref is not None:
            roots[name] = corpus_root(warehouse.root, ref)
        else:
            problem = f"was not ingested into this lake before: say where it is with --root {name}=FOLDER"
            raise InvalidField(f"recipe '{recipe.name}'", f"corpora.{name}", problem)
    return roots | dict(checkpoint_roots(recipe, weights))


def run(path: Path, setup: Setup, verb: str, console: Console, terminal: show.Terminal | None = None) -> Outcome:
    """Does a verb of a recipe. When the plan finds nothing to do, Prefect is not even imported.

    A lake that knows no corpus yet has work for certain, if its folders are there: its server, which takes longest the
    first time, is begun before the plan and starts while raw files are hashed.

    Args:
        terminal: who is shown the progress, where that is not a terminal at this console.
    """
    began = time.monotonic()
    recipe = read_recipe(path)
    warehouse = Warehouse(setup.lake, create=True)
    terminal = terminal or show.Terminal(console)
    with ExitStack() as stack:
        # Seen by a purge, which must not go on between two works.
        stack.enter_context(warehouse.scratch("run", is_announced=True))
        refuse_unfinished(warehouse.root)
        roots = roots_of(recipe, warehouse, setup.roots, setup.weights)
        home, wait_until_ready = warehouse.root / ".prefect", None
        if not warehouse.refs("corpora") and all(root.is_dir() for root in roots.values()):
            wait_until_ready = stack.enter_context(prefect_server(home))
        steps = plan(
            recipe, warehouse, roots, verb, explain=False, hashing=terminal.hashing, remember=warehouse.set_ref,
            device=setup.device, trust_raw=setup.trust_raw,
        )  # fmt: skip
        if not is_done(steps):
            from flows.runners import refuse_absent  # with what starts processes

            refuse_absent(read_runtime().runner)
            with terminal.status("starting Prefect"):  # some seconds; the first time in a lake, twice that
                wait_until_ready = wait_until_ready or stack.enter_context(prefect_server(home))
                from flows.pipeline import WATCHER  # meanwhile
                from flows.pipeline import run as run_flow

                wait_until_ready()
            WATCHER.set(terminal)
            texts = {name: str(root) for name, root in roots.items()}
            how = setup.device, setup.n_workers, setup.trust_raw
            steps = run_flow(str(path.absolute()), str(warehouse.root), texts, verb, *how)
        report = warehouse.ref(f"reports/{recipe.name}") if verb == "run" else None
        artifact = warehouse.resolve(report["artifact"]) if report else None
        not_compared = _not_compared(warehouse, console)
    return Outcome(recipe, warehouse, steps, artifact, time.monotonic() - began, not_compared)


def _not_compared(warehouse: Warehouse, console: Console) -> str:
    """Leaves counted what models met before, so that whoever asks need not wait; why not, where not."""
    from flows.audit.contamination import count_ahead  # which a plan does not need

    return count_ahead(warehouse, console)


def demo(folder: Path, n_workers: int, console: Console) -> Outcome:
    """The main job: sandbox, then `flows/recipes/demo.toml` on it."""
    from features import sandbox

    root = folder / "sandbox"
    with show.counting(console, "speaking the sandbox corpora") as progress:
        roots = sandbox.write(root, seed=0, progress=progress)
    return run(recipe_path("demo"), Setup(folder / "lake", roots, "cpu", n_workers), "run", console)


def plan_sentence(steps: Sequence[Step]) -> str:
    """What a plan comes to: rows new of rows wanted, and how many steps wait."""
    n_new, n_rows = show.totals(steps)
    waiting = sum(bool(step.waits_for) for step in steps)
    more = f"; {waiting} steps wait for what comes before them" if waiting else ""
    return f"{n_new} of {n_rows} rows new{more}"


def print_outcome(outcome: Outcome, console: Console) -> None:
    """The summary table, the numbers, and where to look."""
    n_new, n_rows = show.totals(outcome.steps)
    if n_new:
        console.print()
        console.print(show.steps_table(outcome.steps, planned=False))
    for step in outcome.steps:
        if step.remark and (step.works or step.unmade or step.name.startswith("record ")):
            console.print(f"\n{step.name}: {step.remark}", soft_wrap=True)
    console.print(f"\n{n_new} of {n_rows} rows new, {outcome.seconds:.1f} s", style="bold")
    if outcome.report:
        from flows.report import terminal_tables

        for table in terminal_tables(outcome.report.path("report.json")):
            console.print()
            console.print(table)
        console.print()
        console.print(cost_table(cost_list(outcome.warehouse, outcome.recipe.name)))
    if outcome.not_compared:
        console.print(f"\n{outcome.not_compared}", soft_wrap=True)
    if outcome.report:
        console.print(f"\nreport: {outcome.report.path('report.html')}", soft_wrap=True)
    console.print(f"lake:   {outcome.warehouse.name}", soft_wrap=True)


def print_trace(outcome: Outcome, console: Console) -> None:
    """One number of a run's report, traced."""
    number = trace_number(outcome.warehouse, outcome.report) if outcome.report else None
    if number:
        print_number(number, console)
