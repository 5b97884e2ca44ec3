"""A doer that makes all that is missing in this process, fits and predictions too."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from features.canary import _first_request
from flows.plan import Planner
from models import explaining, fit, predict, teach
from warehouse import Artifact, Request, Warehouse, Work

JOBS: dict[str, Any] = {"checkpoint": fit.write, "predictions": predict.write, "shards": teach.write,
                        "explanations": explaining.write}  # fmt: skip

_canaries: dict[str, Path] = {}
"""Key -> the first lake of this process that has it."""


class Wholly(Planner):
    """Nothing waits; a work without a function is a job."""

    def __init__(self, warehouse: Warehouse) -> None:
        super().__init__(warehouse, False, lambda corpus: lambda n_bytes: None, warehouse.set_ref)

    def step(self, name: str, works: Sequence[Work], n_rows: int | None = None) -> list[Artifact]:
        for work in works:
            self._begin_with_another_lakes(work.request)
            self.warehouse.materialize(
                work.request, partial(work.function or partial(self._job, work), **work.arguments)
            )
            if work.request.kind == "canary":
                _canaries.setdefault(work.request.key, self.warehouse.root)
        return super().step(name, works, n_rows)

    def _begin_with_another_lakes(self, request: Request) -> None:
        """What an extractor says of the clips that every lake asks it of is asked once, for it takes a second. The
        numbers that a canary is held against come with it."""
        made = _canaries.get(request.key)
        if made is None or self.warehouse.find(request) is not None:
            return
        for own in (_first_request(request), request):
            there = Warehouse(made).find(own)
            folder = self.warehouse.folder_of(own)
            if there is not None and not folder.exists():
                shutil.copytree(there.folder, folder)

    def _job(self, work: Work, folder: Path, **arguments: Any) -> None:
        write = JOBS[work.request.kind]
        write(self.warehouse, work.request, folder, lambda done, total, note: None, **arguments)
