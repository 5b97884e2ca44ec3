"""What a run shows of itself in Prefect's UI."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from flows.operate import published
from flows.operate.published import Published, markdown_of
from warehouse.artifact import Request, Work


def test_the_step_under_way_is_a_progress_artifact(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[Any, float, str]] = []
    monkeypatch.setattr(published, "create_progress_artifact", lambda progress, key, description: key)
    monkeypatch.setattr(
        published, "update_progress_artifact", lambda own, done, description: told.append((own, done, description))
    )
    monkeypatch.setattr(published, "EVERY_S", 0.01)
    works = [Work(Request("features", "x", 1, {"n": n}, {}), None, n_rows=4) for n in range(2)]
    watcher = Published(Console(quiet=True), "demo-run-progress")
    with watcher.step("extract lld", 8) as step:
        step.noter(works[:1])(2, 4, "half of the first")
        assert step.percent == 25
        step.noter(works[1:])(1, 1, "")
        assert step.percent == 75
        step.noter(works[:1])(9, 4, "")
        assert step.percent == 100
        while len(told) < 3:
            pass
    watcher.finish()
    assert {(own, name) for own, _, name in told[:-1]} == {("demo-run-progress", "extract lld")}
    assert told[-1] == ("demo-run-progress", 100.0, "done")


def test_a_remark_cannot_break_the_table() -> None:
    step = {"step": "fit a", "rows": 1, "new": 1, "seconds": 0.0, "remark": "1 | 2\nand more", "unmade": 1}
    *_, line = markdown_of([step], "said").splitlines()
    assert line == "| fit a | 1 | 1 | 0.0 | 1 \\| 2 and more |"
