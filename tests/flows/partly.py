"""A doer that makes some steps in this process and only plans the rest, over a copy of the small lake."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flows.doer import Step
from flows.line import Line
from flows.plan import Planner, plan
from flows.recipe import Recipe
from tests.flows.small import Small
from warehouse import Artifact, Warehouse, Work


class Partly(Planner):
    """Makes what is missing of the steps whose names begin with one of these words."""

    def __init__(self, warehouse: Warehouse, *words: str) -> None:
        super().__init__(warehouse, False, lambda corpus: lambda n_bytes: None, warehouse.set_ref)
        self.words = words

    def step(self, name: str, works: Sequence[Work], n_rows: int | None = None) -> list[Artifact]:
        if name.startswith(self.words):
            for work in works:
                self.warehouse.perform(work)
        return super().step(name, works, n_rows)


def lake_copy(small: Small, folder: Path) -> Warehouse:
    """The small lake under another path. Artifacts are immutable, so their files are links."""
    lake = folder / "lake"
    shutil.copytree(small.lake, lake, copy_function=os.link, ignore=shutil.ignore_patterns(".*"))
    return Warehouse(lake)


def after_ingest(recipe: Recipe, warehouse: Warehouse, roots: Mapping[str, Path]) -> dict[str, Step]:
    """Reads the corpora again, and returns what is planned after that, by the steps' names."""
    Line(recipe, warehouse, roots, Partly(warehouse, "record ", "ingest ")).ingest()
    return by_name(plan(recipe, warehouse, roots))


def by_name(steps: Sequence[Step]) -> dict[str, Step]:
    """Name -> step, each of which is listed once."""
    found = {step.name: step for step in steps}
    assert len(found) == len(steps), [step.name for step in steps]
    return found


def new(steps: Mapping[str, Step]) -> dict[str, int]:
    """Step -> new rows, of those that have any."""
    return {name: step.n_new for name, step in steps.items() if step.n_new}


def waiting(steps: Mapping[str, Step]) -> dict[str, str]:
    """Step -> what it waits for."""
    return {name: step.waits_for for name, step in steps.items() if step.waits_for}


def contents(lake: Path) -> dict[str, Any]:
    """Every artifact and ref of a lake: what a plan must leave as it is."""
    files = [path for name in ("artifacts", "refs") for path in (lake / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(lake)): path.stat().st_mtime_ns for path in files}
