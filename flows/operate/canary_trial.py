"""The canaries of a recipe's extractors, run again: whether the numbers are still those that are on record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from features.canary import SCHEMA, Numbers, drift_of, verdict_of, write_canary
from flows.doer import Waits
from flows.line import Line
from flows.plan import Planner
from flows.recipe import Recipe
from warehouse import Warehouse
from warehouse.artifact import Artifact, Work
from warehouse.tables import array_of, read_table

_NUMBERS = "numbers.parquet"


@dataclass(frozen=True)
class Trial:
    """What one extractor's canary did now.

    Args:
        outcome: 'same', 'moved', or 'not tried'.
        told: what moved, or why it was not tried.
    """

    feature: str
    outcome: str
    told: str = ""


def trials(recipe: Recipe, warehouse: Warehouse, roots: Mapping[str, Path], device: str) -> list[Trial]:
    """Runs the canary of every feature of a recipe, also where the lake knows what it did in this environment: what is
    no part of an environment (a driver, a processor) may have changed all the same.

    What the lake did not know yet is kept in it, as an extraction would; of what it knew nothing is written.
    """
    tried = _Trying(warehouse)
    line = Line(recipe, warehouse, roots, tried, device)
    for name in recipe.features:
        tried.asked = name
        try:
            line.feature(name)
        except Waits as waits:
            tried.found.setdefault(name, Trial(name, "not tried", f"'{waits.step}' is not done yet"))
    return [tried.found[name] for name in recipe.features]


class _Trying(Planner):
    """Runs the canary of the feature that is asked for, goes no further, and plans the rest.

    A feature may read a model that was trained on other ones: whose canary is on record are not run again for that.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        super().__init__(warehouse)
        self.found: dict[str, Trial] = {}
        self.asked = ""

    def step(self, name: str, works: Sequence[Work], n_rows: int | None = None) -> list[Artifact]:
        verb, _, feature = name.partition(" ")
        if verb != "canary" or feature != self.asked:
            return super().step(name, works, n_rows)
        self.found[feature] = _tried(self.warehouse, feature, works[0])
        raise Waits(name)  # what comes after it is extraction


def _tried(warehouse: Warehouse, feature: str, work: Work) -> Trial:
    known = warehouse.find(work.request)
    if known is None:
        told = verdict_of(warehouse.perform(work)).sentence
        return Trial(feature, "moved" if told else "same", told)
    plugin, checkpoint = work.arguments["plugin"], work.arguments["checkpoint"]
    outputs = plugin.outputs(*((checkpoint,) if getattr(plugin, "reads_checkpoint", False) else ()))
    with warehouse.scratch("canary") as folder:
        write_canary(folder, **work.arguments)
        drift, where = drift_of(_numbers(known.path(_NUMBERS)), _numbers(folder / _NUMBERS), outputs)
    if drift <= plugin.tolerance:
        return Trial(feature, "same")
    return Trial(feature, "moved", f"{where} moved by {drift:.2g} of its scale, and no library did")


def _numbers(file: Path) -> Numbers:
    rows = read_table(file, SCHEMA).to_pylist()
    return {(row["clip"], row["output"]): array_of(row, "value") for row in rows}
