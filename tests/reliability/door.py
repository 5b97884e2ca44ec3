"""`python -m tests.reliability.door extract …`: the command line with everything but Prefect, whose import alone takes
longer than a small build."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def build(
    recipe: str, lake: str, roots: dict[str, str], verb: str, device: str, n_workers: int, *_: Any, **__: Any
) -> Any:
    """`flows.pipeline.run`, with threads where that has Prefect's tasks."""
    from flows.line import Line
    from flows.plan import Planner
    from flows.recipe import read_recipe
    from flows.workers import workers
    from warehouse import Artifact, Warehouse, Work

    warehouse = Warehouse(lake)

    class Pooled(Planner):
        """Nothing waits: what is missing is answered by the pool."""

        def step(self, name: str, works: Sequence[Work], n_rows: int | None = None) -> list[Artifact]:
            missing = {work.request.key: work for work in works if warehouse.find(work.request) is None}
            batches = pool.batches(missing.values())
            futures = [threads.submit(pool.answer, batch, lambda done, total, note: None) for batch in batches]
            for future in futures:
                future.result()
            return super().step(name, works, n_rows)

    with workers(warehouse.root, n_workers, device) as pool, ThreadPoolExecutor(n_workers) as threads:
        doer = Pooled(warehouse, False, lambda corpus: lambda n_bytes: None, warehouse.set_ref)
        line = Line(read_recipe(Path(recipe)), warehouse, {name: Path(at) for name, at in roots.items()}, doer, device)
        getattr(line, verb)()
        return doer.steps


def main() -> None:
    """The command line."""
    from flows import cli, run

    run.prefect_server = lambda home: nullcontext(lambda: None)  # type: ignore[assignment]
    watcher = SimpleNamespace(set=lambda terminal: None)
    sys.modules["flows.pipeline"] = SimpleNamespace(run=build, WATCHER=watcher)  # type: ignore[assignment]
    cli.main()


if __name__ == "__main__":
    main()
