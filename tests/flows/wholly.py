"""A doer that makes all that is missing in this process, fits and predictions too."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from flows.plan import Planner
from models import explaining, fit, predict, teach
from warehouse import Artifact, Warehouse, Work

JOBS: dict[str, Any] = {"checkpoint": fit.write, "predictions": predict.write, "shards": teach.write,
                        "explanations": explaining.write}  # fmt: skip


class Wholly(Planner):
    """Nothing waits; a work without a function is a job."""

    def __init__(self, warehouse: Warehouse) -> None:
        super().__init__(warehouse, False, lambda corpus: lambda n_bytes: None, warehouse.set_ref)

    def step(self, name: str, works: Sequence[Work], n_rows: int | None = None) -> list[Artifact]:
        for work in works:
            self.warehouse.materialize(
                work.request, partial(work.function or partial(self._job, work), **work.arguments)
            )
        return super().step(name, works, n_rows)

    def _job(self, work: Work, folder: Path, **arguments: Any) -> None:
        write = JOBS[work.request.kind]
        write(self.warehouse, work.request, folder, lambda done, total, note: None, **arguments)
