"""Runs that were logged, made by hand through the runner: no Prefect and no processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

from flows import run_log
from flows.pipeline import Runner
from flows.run_events import Reader, find_run
from flows.show import Silent
from flows.workers import Workers
from warehouse import Artifact, Request, Warehouse, Work


def write(folder: Path, text: str) -> None:
    (folder / "text").write_text(text)


def work(text: str, n_rows: int = 1) -> Work:
    return Work(Request("made", "write", 1, {"text": text}), write, {"text": text}, n_rows)


class Here(Runner):
    """Answers in this process, as the tasks of a flow do: longest first."""

    def __init__(self, warehouse: Warehouse) -> None:
        super().__init__(warehouse, cast(Workers, None), Silent())

    def _answer_here(self, missing: Sequence[Work], progress: Any) -> list[Any]:
        return [one for work in missing for one in self._task([work])]

    def _task(self, works: list[Work]) -> list[Any]:
        run_log.tell_began(works)
        with run_log.Answering(works) as told:
            return told([self.warehouse.perform(work) for work in works])


def record(lake: Warehouse, steps: Iterable[tuple[str, list[Work]]], recipe: str = "small") -> list[list[Artifact]]:
    """Logs a run of these steps and returns their artifacts."""
    runner = Here(lake)
    with run_log.logged(lake.root, recipe, verb="run", workers=1):
        return [runner.step(name, works) for name, works in steps]


def events(lake: Warehouse, run: str | None = None) -> list[dict[str, Any]]:
    folder = find_run(lake.root, run)
    assert folder is not None
    return Reader(folder).more()
