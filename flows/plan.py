"""Recipe to requests, doing nothing: what is there, what would be made, and why what is near does not match."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flows.doer import Step, Waits, new_step, set_remark
from flows.line import Line
from flows.recipe import Recipe
from warehouse import Warehouse
from warehouse.artifact import Artifact, Work
from warehouse.audit.why import why


def _no_hashing(corpus: str) -> Callable[[int], None]:
    return lambda n_bytes: None


def _forget(ref: str, value: Mapping[str, Any]) -> None:
    return None


class Planner:
    """The doer that does nothing: it looks up and writes down."""

    def __init__(
        self, warehouse: Warehouse, explain: bool = False, hashing: Callable[[str], Any] = _no_hashing,
        remember: Callable[[str, Mapping[str, Any]], None] = _forget,
    ) -> None:  # fmt: skip
        self.warehouse, self.explain, self.hashing, self.remember = warehouse, explain, hashing, remember
        self.steps: list[Step] = []

    def look_up(self, works: Sequence[Work]) -> list[Artifact | None]:
        """The artifacts of works that there are."""
        return self.warehouse.find_all([work.request for work in works])

    def step(self, name: str, works: Sequence[Work], n_rows: int | None = None) -> list[Artifact]:
        found = self.look_up(works)
        missing = [work for work, artifact in zip(works, found, strict=True) if artifact is None]
        step = new_step(name, works, missing, n_rows)
        self.steps.append(step)
        if missing:
            if self.explain:
                step.differences = why(self.warehouse, missing[0].request)
            raise Waits(name)
        return [artifact for artifact in found if artifact is not None]

    def ahead(self, name: str, works: Callable[[], Sequence[Work]]) -> None:
        """Each step says itself what is missing."""

    def waits(self, name: str, step: str) -> None:
        self.steps.append(Step(name, waits_for=step))

    def remark(self, name: str, sentence: str) -> None:
        set_remark(self.steps, name, sentence)


def plan(
    recipe: Recipe,
    warehouse: Warehouse,
    roots: Mapping[str, Path],
    verb: str = "run",
    explain: bool = True,
    hashing: Callable[[str], Any] = _no_hashing,
    remember: Callable[[str, Mapping[str, Any]], None] = _forget,
    device: str = "cpu",
    trust_raw: bool = False,
) -> list[Step]:
    """The steps of a verb ('ingest', 'align', 'extract', 'pack', 'run') with what each has and lacks.

    A step whose inputs do not exist yet is shown as waiting: its requests cite digests nobody knows.

    Args:
        explain: look for the nearest artifact of what is missing.
        hashing: told of the bytes of raw files as they are hashed.
        remember: told where names now point, for products that exist; a mere plan moves none.
        device: where extractors would compute: their canaries are known for one and not for another.
        trust_raw: take raw files as they were recorded, without a look at any.
    """
    planner = Planner(warehouse, explain, hashing, remember)
    getattr(Line(recipe, warehouse, roots, planner, device, trust_raw=trust_raw), verb)()
    return planner.steps


def is_done(steps: Sequence[Step]) -> bool:
    """Whether a run would make nothing."""
    return not any(step.works or step.waits_for for step in steps)
