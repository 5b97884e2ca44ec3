"""How many hours a teacher chose that the last fit had not seen: what says whether training is worth while."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.doer import Waits
from flows.line import Line
from flows.plan import Planner
from flows.recipe import Recipe
from warehouse import Warehouse
from warehouse.artifact import Artifact, Work


@dataclass(frozen=True)
class Salience:
    """Hours that are chosen now, and those of them that are new to whoever learned from them last.

    Args:
        waits_for: the step that must be done before anything can be said; '' where it was done.
    """

    hours: float = 0.0
    new_hours: float = 0.0
    waits_for: str = ""

    def sentence(self, wanted_h: float) -> str:
        """What was found, of how much is wanted."""
        if self.waits_for:
            return f"nothing can be said of new hours before '{self.waits_for}' is done, which a build does"
        enough = "enough" if self.new_hours >= wanted_h else "not enough"
        return f"{self.new_hours:.2f} of {self.hours:.2f} salient hours are new, {wanted_h:g} are wanted: {enough}"


def salience(recipe: Recipe, warehouse: Warehouse, roots: Mapping[str, Path], name: str, device: str) -> Salience:
    """The hours of a recipe's selection over its corpus as it lies there now.

    Nothing is extracted for it: what a build has not done yet is waited for. The selection itself is made where it is
    missing; it takes a query, and is the very one that the next fit learns from.
    """
    try:
        chosen = Line(recipe, warehouse, roots, _Choosing(warehouse, name), device).selection(name)
    except Waits as waits:
        return Salience(waits_for=waits.step)
    return hours_of(warehouse, chosen)


def hours_of(warehouse: Warehouse, chosen: Artifact) -> Salience:
    """The hours of a selection, and those that are in no part of the split of the last fit which learned from one that
    was made by the same rules of the same corpora: two recipes may share their rules. Before the first fit all are new.
    """
    split = _last_split(warehouse, chosen)
    query = """
        SELECT coalesce(sum(end_s - start_s), 0) / 3600,
               coalesce(sum(end_s - start_s) FILTER (utterance_id NOT IN
                   (SELECT utterance_id FROM splits WHERE artifact = $split)), 0) / 3600
        FROM (SELECT DISTINCT ON (utterance_id) * FROM utterances)
        JOIN selections USING (utterance_id) WHERE selections.artifact = $chosen
    """
    given = {"chosen": chosen.key, "split": split.key if split else ""}
    ((hours, new_hours),) = warehouse.sql(query, given).fetchall()
    return Salience(hours, new_hours)


def _last_split(warehouse: Warehouse, chosen: Artifact) -> Artifact | None:
    rules = chosen.request.step, chosen.request.params
    alike = {a.digest for a in warehouse.artifacts("selection") if (a.request.step, a.request.params) == rules}
    splits = {
        split.digest: split for split in warehouse.artifacts("split")
        if alike.intersection(split.request.inputs.get("selection", ()))
    }  # fmt: skip
    seen = (
        splits[digest] for fit in reversed(warehouse.artifacts("checkpoint"))  # the newest first
        for digest in fit.request.inputs.get("split", ()) if digest in splits
    )  # fmt: skip
    of_them = _splits_of_its_corpora(warehouse, chosen)
    return next((split for split in seen if split.key in of_them), None)


def _splits_of_its_corpora(warehouse: Warehouse, chosen: Artifact) -> set[str]:
    """The keys of the splits that have an utterance of a corpus of which something is chosen."""
    query = """
        SELECT DISTINCT artifact FROM splits WHERE utterance_id IN (
            SELECT utterance_id FROM utterances WHERE corpus IN (
                SELECT corpus FROM utterances JOIN selections USING (utterance_id)
                WHERE selections.artifact = $chosen))
    """
    return {key for (key,) in warehouse.sql(query, {"chosen": chosen.key}).fetchall()}


class _Choosing(Planner):
    """Makes one selection and plans the rest."""

    def __init__(self, warehouse: Warehouse, name: str) -> None:
        super().__init__(warehouse, remember=warehouse.set_ref)
        self._name = f"select {name}"

    def step(self, name: str, works: Sequence[Work], n_rows: int | None = None) -> list[Artifact]:
        if name == self._name:
            for work in works:
                self.warehouse.perform(work)
        return super().step(name, works, n_rows)
