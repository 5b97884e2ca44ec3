"""What `emolake top` shows of runs that are under way, of one that was killed, and of a lake without any."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from rich.console import Console

from flows import run_log, top
from flows.run_events import find_run
from flows.top import Top, nothing_under_way, shown, state_of
from infra.gpus import Gpu
from tests.flows.recorded import Here, record, work
from tests.flows.unended import WORKS, unended
from warehouse import Warehouse


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


def printed(views: list[dict[str, object]], most: int | None = None) -> list[str]:
    console = Console(width=200, file=open(os.devnull, "w"), record=True)  # noqa: SIM115
    with console.file:
        console.print(shown(views, most))
    return console.export_text().splitlines()


def test_two_runs_of_which_one_is_at_work_in_another_process(lake: Warehouse) -> None:
    looking = Top(lake.root)
    with run_log.logged(lake.root, "small", verb="run"), unended(lake.root) as process:
        lake.perform(work("b", 5))
        Here(lake).step("one", [work("a", 2), work("b", 5)])
        small, other = looking.look()
        assert [view["recipe"] for view in (small, other)] == ["small", "unended"]
        (step,) = small["steps"]
        assert (step["rows"], step["found"], step["made"], step["done"]) == (7, 5, 2, True)
        assert small["pid"] == os.getpid() and small["at"] == [] and step["hit_rate"] == 5 / 7
        (step,), (at,) = other["steps"], other["at"]
        assert (step["rows"], step["found"], step["works"], step["works_made"]) == (40, 10, 3, 0)
        assert (other["waiting"], other["in_flight"], step["done"]) == (2, 1, False)
        assert at["key"] == WORKS[0].request.key and at["pid"] == process.pid and at["host"] == socket.gethostname()
        used = {one["pid"]: one for one in other["processes"]}
        assert used[process.pid]["what"] == "the flow" and used[process.pid]["rss"] > 2**20
        text = printed([small, other])
        assert any(WORKS[0].request.key[:12] in line and "write" in line for line in text)
        assert any("2 waiting" in line for line in text) and any("71%" in line for line in text)
        process.kill()
        process.wait()
        assert [view["recipe"] for view in looking.look()] == ["small"]
    assert looking.look() == []
    assert {state_of(path).partition(" after")[0] for path in (lake.root / ".logs" / "runs").iterdir()} == {
        "was done", "was killed"
    }  # fmt: skip


def test_a_long_run_is_shown_by_its_last_steps(lake: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top, "gpus", lambda: [Gpu(0, 0.5, 2**30, None), Gpu(1, None, None, None)])
    with run_log.logged(lake.root, "small", verb="run"):
        runner = Here(lake)
        for name in ("one", "two", "three"):
            runner.step(name, [work(name)])
        run_log.tell_began([work("four")])
        run_log.tell("progress", key=work("four").request.key, done=1, total=4, note="dev loss 0.8")
        (view,) = Top(lake.root).look()
    text = "\n".join(printed([view], most=1))
    assert "(and 2 steps before these)" in text and "three" in text and "two" not in text
    assert "1 of 4: dev loss 0.8" in text and "GPU 0: 50%, 1.0 GiB" in text and "GPU 1: ?" in text
    assert "\x1b" not in text


def test_a_lake_where_nothing_is_made_is_one_sentence(lake: Warehouse) -> None:
    assert nothing_under_way(lake.root) == f"no run is under way in {lake.root}, and none was logged there"
    record(lake, [("one", [work("a")])])
    last = find_run(lake.root, None)
    assert last is not None
    assert nothing_under_way(lake.root) == (
        f"no run is under way in {lake.root}; the last, {last.name}, was done after 0:00:00: `emolake logs` tells of it"
    )


@pytest.mark.parametrize(
    ("command", "is_flow", "is_at_work", "what"),
    [
        (["python", "emolake"], True, False, "the flow"),
        (["python", "-m", "models.job", "lake"], False, False, "a job"),
        (["python", "-P", "flows/server.py", "5"], False, False, "Prefect's server"),
        (["python", "-c", "from multiprocessing.resource_tracker import main"], False, False, ""),
        (["python", "-c", "from multiprocessing.spawn import spawn_main"], False, True, "a worker"),
        (["python", "-c", "from multiprocessing.spawn import spawn_main"], False, False, "idle, or a helper of others"),
    ],
)
def test_processes_have_names_for_people(command: list[str], is_flow: bool, is_at_work: bool, what: str) -> None:
    assert top._called(command, is_flow, is_at_work) == what
