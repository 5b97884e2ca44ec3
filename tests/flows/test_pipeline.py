"""The runner without Prefect's engine: tasks are answered at once. With it: every test of the small lake."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from flows import pipeline
from flows.doer import Unmade
from flows.pipeline import Runner
from flows.workers import Workers
from infra.launch import JobError
from warehouse import Request, Warehouse, Work
from warehouse.errors import Untreatable


def write(folder: Path, text: str) -> None:
    (folder / "text").write_text(text)


def work(text: str, n_rows: int = 1) -> Work:
    return Work(Request("made", "write", 1, {"text": text}), write, {"text": text}, n_rows)


class Watcher:
    """Remembers what it is shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []

    @contextmanager
    def step(self, name: str, n_rows: int) -> Any:
        self.seen.append((name, n_rows))
        yield self

    def noter(self, works: Sequence[Work]) -> Callable[[int, int, str], None]:
        return lambda done, total, note: self.seen.append((works[0].request.key, (done, total)))

    def hashing(self, corpus: str) -> Callable[[int], None]:
        return lambda n_bytes: self.seen.append((corpus, n_bytes))


class Pool:
    """Answers in this process."""

    is_stopped = False

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self.answered: list[str] = []

    def batches(self, works: Iterable[Work]) -> list[list[Work]]:
        return [[work] for work in works]

    def answer(self, works: Sequence[Work], note: Any) -> Any:
        self.answered += [work.arguments["text"] for work in works]
        return [self.warehouse.perform(work) for work in works]


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    def submit(pool: Any, work: Any, note: Any) -> Any:
        return SimpleNamespace(result=lambda: pipeline.answer.fn(pool.value, work.value, note.value))

    task = SimpleNamespace(fn=pipeline.answer.fn, with_options=lambda name: SimpleNamespace(submit=submit))
    monkeypatch.setattr(pipeline, "answer", task)
    warehouse = Warehouse(tmp_path / "lake", create=True)
    return Runner(warehouse, cast(Workers, Pool(warehouse)), Watcher())


def texts(artifacts: Any) -> list[str]:
    return [artifact.path("text").read_text() for artifact in artifacts]


def test_answers_come_in_the_order_of_the_works(runner: Runner) -> None:
    runner.warehouse.perform(work("b"))
    assert texts(runner.step("write", [work("c"), work("a"), work("b")])) == ["c", "a", "b"]
    assert cast(Any, runner.pool).answered == ["c", "a"]
    assert (runner.steps[0].n_rows, runner.steps[0].n_new) == (3, 2)


def test_a_work_that_is_asked_for_twice_is_done_once(runner: Runner) -> None:
    assert texts(runner.step("write", [work("a"), work("a")])) == ["a", "a"]
    assert cast(Any, runner.pool).answered == ["a"]


def test_a_fit_that_cannot_be_made_leaves_the_others(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(works: Sequence[Work], note: Any) -> Any:
        (one,) = works
        bad = one.arguments["text"] in "bc"
        return [Unmade(one.request.key, "the loss is no number") if bad else runner.warehouse.perform(one)]

    monkeypatch.setattr(runner.pool, "answer", answer)
    fits = [replace(work(text), request=replace(work(text).request, kind="checkpoint")) for text in "abc"]
    assert texts(runner.step("fit", fits)) == ["a"]
    (step,) = runner.steps
    assert {one.key for one in step.unmade} == {fit.request.key for fit in fits[1:]} and step.as_json()["unmade"] == 2
    assert step.remark.startswith("2 of 3 could not be made, the others go on without.")
    assert texts(runner.step("fit", fits)) == ["a"], "one that is there is one that could be made"
    with pytest.raises(JobError, match="exit code 1: the loss is no number"):
        runner.step("fit", fits[1:])
    with pytest.raises(JobError, match="exit code 1: the loss is no number"):
        runner.step("predict", [work("a"), work("b")])


def test_the_longest_works_are_begun_first(runner: Runner) -> None:
    assert texts(runner.step("write", [work("a", 2), work("b", 5), work("c", 5)])) == ["a", "b", "c"]
    assert cast(Any, runner.pool).answered == ["b", "c", "a"]


def test_a_step_that_is_done_keeps_no_rows(runner: Runner) -> None:
    """Prefect walks through all that a flow returns: with the rows of 10,000 utterances for seconds."""
    runner.step("write", [work("a", 5)])
    (done,) = runner.steps[0].works
    assert (done.request, done.n_rows, done.arguments) == (work("a").request, 5, {})
    assert runner.steps[0].as_json()["artifacts"] == 1


def test_what_is_there_is_shown_to_nobody(runner: Runner) -> None:
    runner.step("write", [work("a", 5)])
    runner.step("write again", [work("a", 5)])
    seen = cast(Any, runner.watcher).seen
    assert seen == [("write", 5), (work("a").request.key, (1, 1))]
    assert runner.steps[1].n_new == 0


def test_a_mistake_comes_out_as_it_is_and_what_was_finished_is_kept(runner: Runner) -> None:
    def refuse(folder: Path, text: str) -> None:
        raise Untreatable(text)

    odd = Work(Request("made", "refuse", 1), refuse, {"text": "the clip is too odd"})
    with pytest.raises(Untreatable, match="the clip is too odd"):
        runner.step("write", [work("a"), odd])
    assert texts(runner.warehouse.artifacts()) == ["a"]


def test_names_move_when_they_are_told_to(runner: Runner) -> None:
    runner.remember("corpora/made", {"root": "somewhere"})
    assert runner.warehouse.ref("corpora/made") == {"root": "somewhere"}
    runner.hashing("made")(12)
    assert cast(Any, runner.watcher).seen == [("made", 12)]
    runner.waits("a", "b")
    assert runner.steps == [], "in a run nothing waits"


def test_a_flow_is_started_with_text_alone() -> None:
    """So that a schedule or another host can start it."""
    values = {"recipe": "r.toml", "lake": "l", "roots": {"a": "b"}, "verb": "run", "device": "cpu", "n_workers": 1}
    values |= {"trust_raw": False}
    assert list(inspect.signature(pipeline.build.fn).parameters) == list(json.loads(json.dumps(values)))
    assert pipeline.build.persist_result is False
