"""The log of a run accounts for every work, holds no secret and no sentence, and stops nothing."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from flows import run_log
from flows.doer import Unmade
from flows.run_events import FLOW, Reader, find_run, is_live, recipe_of, run_folders
from flows.workers import workers
from tests.flows import deeds
from tests.flows.recorded import Here, events, record, work
from tests.flows.unended import unended
from warehouse import Request, Warehouse, Work
from warehouse.errors import Untreatable, WorkerDied


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


def of(told: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [event for event in told if event["event"] in names]


def test_of_every_work_there_is_one_line_that_says_what_became_of_it(lake: Warehouse) -> None:
    lake.perform(work("b", 5))
    first = [work("a", 2), work("b", 5), work("a", 2)]
    record(lake, [("one", first), ("two", [work("b", 5), work("c", 3)])])
    told = events(lake)
    for name, works in (("one", first), ("two", [work("b", 5), work("c", 3)])):
        own = of([event for event in told if event.get("step") == name], "made", "found")
        assert sorted(event["key"] for event in own) == sorted({work.request.key for work in works})
    digests = {artifact.key: artifact.digest for artifact in lake.artifacts()}
    assert {event["key"]: event["digest"] for event in of(told, "made", "found")} == digests
    (begun, *_), (made, *_) = of(told, "step began"), of(told, "made")
    assert (begun["rows"], begun["new"], begun["works"], begun["found"]) == (9, 2, 1, 1)
    assert (made["rows"], made["maker"], made["kind"], made["bytes"]) == (2, "write", "made", 1) and "seconds" in made


def test_every_line_says_when_whose_and_who(lake: Warehouse) -> None:
    record(lake, [("one", [work("a")])], "table-small")
    folder = find_run(lake.root, "table-small")
    assert folder is not None
    for line in (folder / FLOW).read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        assert event["time"].endswith("+00:00") and event["run"] == folder.name and event["pid"] == os.getpid()
        assert event["recipe"] == "table-small" and event["host"]
    told = events(lake)
    assert [told[0]["event"], told[-1]["event"]] == ["run began", "run ended"]
    assert told[0]["verb"] == "run" and told[-1]["outcome"] == "done"


def test_where_no_run_is_logged_nothing_is_told(lake: Warehouse) -> None:
    Here(lake).step("one", [work("a")])
    run_log.tell("metrics", served=False)
    assert run_folders(lake.root) == [] and run_log.log_told_to() == ""


def test_a_mistake_is_told_by_its_class_and_place_and_not_by_its_words(lake: Warehouse) -> None:
    def refuse(folder: Path) -> None:
        raise Untreatable("My garden has seven yellow lemons")

    with pytest.raises(Untreatable, match="lemons"):
        record(lake, [("one", [Work(Request("made", "refuse", 1), refuse)])])
    told = events(lake)
    (failed,) = of(told, "failed")
    assert failed["error"] == "Untreatable" and failed["place"].startswith("test_run_log.py:")
    assert told[-1]["outcome"] == "failed" and told[-1]["error"] == "Untreatable"
    assert "lemons" not in json.dumps(told)


def test_a_fit_that_could_not_be_made_has_failed_and_the_others_are_made(lake: Warehouse) -> None:
    works = [work("a"), work("b")]
    with run_log.logged(lake.root, "small"), run_log.Answering(works) as told:
        told([lake.perform(works[0]), Unmade(works[1].request.key, "the loss is no number")])
    assert [(e["event"], e["key"]) for e in of(events(lake), "made", "failed")] == [
        ("made", works[0].request.key), ("failed", works[1].request.key)
    ]  # fmt: skip


def test_what_is_answered_twice_or_tried_again_is_told_once(lake: Warehouse) -> None:
    """A task tells what it made in the flow's process; the flow that takes an answer from elsewhere tells it too."""
    works = [work("a")]
    with run_log.logged(lake.root, "small"):
        with pytest.raises(WorkerDied), run_log.Answering(works, (WorkerDied,)):
            raise WorkerDied("write")
        for _ in range(2):
            with run_log.Answering(works) as told:
                told([lake.perform(works[0])])
    assert [event["event"] for event in events(lake)[1:-1]] == ["made"]


def test_ctrl_c_is_no_failure(lake: Warehouse) -> None:
    with pytest.raises(KeyboardInterrupt), run_log.logged(lake.root, "small"), run_log.Answering([work("a")]):
        raise KeyboardInterrupt
    told = events(lake)
    assert told[-1]["outcome"] == "stopped" and of(told, "failed") == []


def test_a_secret_is_left_out_and_the_line_is_not(lake: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG")
    with run_log.logged(lake.root, "small", store="s3://me:passw0rd@store/lake"):
        run_log.tell("metrics", served=False, why="no wJalrXUtnFEMI/K7MDENG", rows=3)
    began, told, _ = events(lake)
    text = "".join(path.read_text(encoding="utf-8") for path in run_folders(lake.root)[0].iterdir())
    assert "wJalr" not in text and "passw0rd" not in text
    assert began["event"] == "run began" and told == began | {
        "time": told["time"], "event": "metrics", "served": False, "rows": 3
    }  # fmt: skip


def test_progress_is_told_now_and_then(lake: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int, str]] = []
    with run_log.logged(lake.root, "small"):
        noted = run_log.noting([work("a")], lambda *note: seen.append(note))
        noted(1, 3, "epoch 1")
        monkeypatch.setattr(run_log, "PROGRESS_S", 0.0)
        noted(2, 3, "epoch 2")
        noted(1, 1, "")
    assert seen == [(1, 3, "epoch 1"), (2, 3, "epoch 2"), (1, 1, "")]
    (told,) = of(events(lake), "progress")
    assert (told["done"], told["total"], told["note"], told["key"]) == (2, 3, "epoch 2", work("a").request.key)


def test_a_disk_that_takes_nothing_stops_no_run(lake: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could be written of a line before the disk ran full is cut off from the next one."""
    real = os.write

    def full(file: int, content: bytes) -> int:
        if b'"one"' in content:
            return real(file, content[:20])
        raise OSError(28, "No space left on device")

    with run_log.logged(lake.root, "small"):
        monkeypatch.setattr(run_log.os, "write", full)
        run_log.tell("step began", step="one")
        run_log.tell("step began", step="two")
        monkeypatch.setattr(run_log.os, "write", real)
        run_log.tell("step began", step="three")
    folder = run_folders(lake.root)[0]
    reader = Reader(folder)
    assert [event.get("step") for event in reader.more()] == [None, "three", None] and reader.n_cut == 1


def test_a_lake_that_cannot_be_written_to_has_no_log_and_the_run_goes_on(lake: Warehouse) -> None:
    (lake.root / ".logs").write_text("in the way")
    with run_log.logged(lake.root, "small") as folder:
        run_log.tell("step began", step="one")
    assert folder is None


def test_few_runs_are_kept_and_none_goes_that_is_under_way(lake: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log, "KEPT", 2)
    with run_log.logged(lake.root, "first"):
        for name in ("second", "third", "fourth"):
            with run_log.logged(lake.root, name):
                pass
        assert {folder.name.split("-")[1] for folder in run_folders(lake.root)} >= {"first", "fourth"}
        assert len(run_folders(lake.root)) <= 3
    assert run_log.log_told_to() == ""


def test_two_runs_at_once_have_logs_of_their_own_and_a_killed_one_cuts_one_line_at_most(lake: Warehouse) -> None:
    with unended(lake.root) as process:
        record(lake, [("one", [work("b")])])
        assert {recipe_of(folder.name): is_live(folder) for folder in run_folders(lake.root)} == {
            "unended": True, "small": False
        }  # fmt: skip
        assert {event["recipe"] for event in events(lake, "small")} == {"small"}
        process.kill()
        process.wait()
    folder = find_run(lake.root, "unended")
    assert folder is not None and not is_live(folder)
    with open(folder / FLOW, "ab") as stream:
        stream.write(b'{"time": "2026-11-22T00:0')
    reader = Reader(folder)
    assert [event["event"] for event in reader.more()] == ["run began", "step began", "began"] and reader.n_cut == 1


def test_processes_of_the_pool_say_what_they_begin_and_of_what_they_died(lake: Warehouse) -> None:
    asked = [Work(Request("made", "write_pid", 1), deeds.write_pid), Work(Request("made", "crash", 1), deeds.crash)]
    with run_log.logged(lake.root, "small"), workers(lake.root, 1, "cpu") as pool:
        with run_log.Answering(asked[:1]) as told:
            (artifact,) = told(pool.answer(asked[:1], lambda *note: None))
        with pytest.raises(WorkerDied), run_log.Answering(asked[1:]):
            pool.answer(asked[1:], lambda *note: None)
    told_events = events(lake)
    began = of(told_events, "began")
    assert [event["maker"] for event in began] == ["write_pid", "crash", "crash"]
    assert str(began[0]["pid"]) == artifact.path("pid").read_text() != str(os.getpid())
    assert [event["key"] for event in of(told_events, "retried")] == [asked[1].request.key]
    (died,) = of(told_events, "worker died")
    assert died["status"] == -signal.SIGABRT and of(told_events, "failed")[0]["error"] == "WorkerDied"


def test_telling_costs_next_to_nothing(lake: Warehouse) -> None:
    """A work takes seconds; its lines may take a five-hundredth of one."""
    works = [work(str(number)) for number in range(50)]
    artifacts = [lake.perform(one) for one in works]
    with run_log.logged(lake.root, "small"):
        began = time.process_time()
        for one, artifact in zip(works, artifacts, strict=True):
            run_log.tell_began([one])
            with run_log.Answering([one]) as told:
                told([artifact])
        each_s = (time.process_time() - began) / len(works)
    assert each_s < 0.002
