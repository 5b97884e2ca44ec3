"""What a run leaves in Prefect's UI: how far it is while it runs, and what it did, as artifacts."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import copy_context
from pathlib import Path
from typing import Any

from httpx import HTTPError
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from rich.console import Console

from flows.show import Noter, StepWatcher, Terminal
from warehouse.artifact import Work

EVERY_S = 5.0
"""How often progress is told: the server writes it into its database each time."""


class Published(Terminal):
    """A terminal whose bars are shown in Prefect's UI too, as one progress artifact: that of the step under way.

    A server that does not answer costs the picture of progress, and not the run.

    Args:
        key: of the artifact.
    """

    def __init__(self, console: Console, key: str) -> None:
        super().__init__(console)
        self.artifact: Any = create_progress_artifact(0.0, key=key, description="planning")

    @contextmanager
    def step(self, name: str, n_rows: int) -> Iterator[Any]:
        ended, counted = threading.Event(), _Counted(n_rows)

        def tell() -> None:
            while True:
                with suppress(HTTPError):
                    update_progress_artifact(self.artifact, counted.percent, description=name)
                if ended.wait(EVERY_S):
                    return

        teller = threading.Thread(target=copy_context().run, args=(tell,), daemon=True)
        with super().step(name, n_rows) as bar:
            counted.bar = bar
            teller.start()
            try:
                yield counted
            finally:
                ended.set()
                teller.join()

    def finish(self) -> None:
        """Says that nothing is left to do."""
        with suppress(HTTPError):
            update_progress_artifact(self.artifact, 100.0, description="done")


class _Counted:
    """Rows that are done of a step, beside the bar that shows them."""

    def __init__(self, n_rows: int) -> None:
        self.bar: StepWatcher | None = None
        self._n_rows, self._done = n_rows, dict[str, float]()

    @property
    def percent(self) -> float:
        return 100 * min(sum(list(self._done.values())) / max(self._n_rows, 1), 1.0)

    def noter(self, works: Sequence[Work]) -> Noter:
        noters = [self.bar.noter(works)] if self.bar else []
        n_rows = sum(work.n_rows for work in works)

        def note(done: int, total: int, text: str) -> None:
            self._done[works[0].request.key] = n_rows * min(done / max(total, 1), 1)
            for noter in noters:
                noter(done, total, text)

        return note


def markdown_of(steps: Sequence[Mapping[str, Any]], sentence: str) -> str:
    """What a run did, as a table.

    Example:
        >>> print(markdown_of([{"step": "ingest films", "rows": 9, "new": 4, "seconds": 1.25, "remark": ""}], "4 new"))
        4 new
        <BLANKLINE>
        | step | rows | new | seconds | |
        | --- | ---: | ---: | ---: | --- |
        | ingest films | 9 | 4 | 1.2 | |
    """
    lines = [sentence, "", "| step | rows | new | seconds | |", "| --- | ---: | ---: | ---: | --- |"]
    for step in steps:
        remark = str(step["remark"]).replace("|", "\\|").replace("\n", " ")
        cells = (step["step"], step["rows"], step["new"], f"{step['seconds']:.1f}", remark)
        lines.append(" ".join(["|", " | ".join(map(str, cells)).rstrip(), "|"]))
    return "\n".join(lines)


def publish(key: str, steps: Sequence[Mapping[str, Any]], sentence: str, report: Path | None = None) -> None:
    """Leaves the table of steps, and a link to the report where there is one.

    Args:
        key: what the artifacts' keys begin with; the versions of one key are a run after the other.
    """
    create_markdown_artifact(markdown_of(steps, sentence), key=f"{key}-steps", description=sentence)
    if report is not None:
        create_link_artifact(report.as_uri(), link_text="report", key=f"{key}-report", description=sentence)
