"""A clip that kills a process natively takes only itself: the rest gets its rows, and the run goes on."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from features.corpora.table import Table
from features.extract import works
from features.guard import Apart, apart
from features.ingest import ingest
from features.inventory import failed
from features.retry import retry
from flows import pipeline, recipe, references, workers
from flows.line import Line
from flows.pipeline import Runner
from flows.plan import is_done, plan
from flows.show import Silent
from tests.flows import brittle
from tests.flows.brittle import Brittle, BrittleAligner, BrittleDecoder, BrittleLoad
from warehouse import Artifact, Warehouse, Work, catalog
from warehouse.errors import WorkerDied

QUIET = lambda done, total, note: None  # noqa: E731
ABORT = "the process died (signal 6, SIGABRT) while it was treated"
FAULT = "the process died (signal 11, SIGSEGV) while it was treated"
ENDED = "the process ended (status 3) while it was treated"


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


def corpus(folder: Path, texts: Sequence[str]) -> Path:
    """One clip of noise per text."""
    root = folder / "clips"
    root.mkdir()
    lines = ["path,text,speaker,label"]
    for number, text in enumerate(texts):
        soundfile.write(root / f"{number}.wav", np.random.default_rng(number).uniform(-0.1, 0.1, 1_600), 16_000)
        lines.append(f"{number}.wav,{text},s,calm")
    (root / "clips.csv").write_text("\n".join(lines) + "\n")
    return root


def done(lake: Warehouse, texts: Sequence[str], plugin: Any = None, batch_s: float = 240.0) -> list[Artifact]:
    """What a pool of two makes of these texts; clips last 0.1 s."""
    root = corpus(lake.root.parent, texts)
    batches = [[work] for work in wanted(lake, root, plugin, batch_s)]
    with workers.workers(lake.root, 2, "cpu") as pool, ThreadPoolExecutor(2) as threads:
        found = [a for own in threads.map(lambda batch: pool.answer(batch, QUIET), batches) for a in own]
    assert wanted(lake, root, plugin, batch_s) == [], "a second run does nothing"
    assert list((lake.root / ".scratch").glob("*")) == []
    return found


def wanted(lake: Warehouse, root: Path, plugin: Any = None, batch_s: float = 240.0) -> list[Work]:
    plugin = plugin or Brittle()
    utterances = ingest(lake, "clips", "corpora.table", Table("clips.csv"), root)[:1]
    step = "aligners.brittle" if isinstance(plugin, BrittleAligner) else "extractors.brittle"
    return works(lake, step, plugin, utterances, {"clips": root}, batch_s=batch_s)


def reasons(artifacts: Sequence[Artifact]) -> dict[str, str]:
    return {row["utterance_id"]: row["reason"] for row in failed(artifacts)}


def rows(artifacts: Sequence[Artifact]) -> list[dict[str, Any]]:
    return [row for a in artifacts for row in pq.read_table(a.path(f"{a.request.kind}.parquet")).to_pylist()]


@pytest.mark.parametrize(("place", "plugin"), [
    pytest.param(0, Brittle(), marks=pytest.mark.slow), (2, Brittle()),
    pytest.param(1, BrittleAligner(), marks=pytest.mark.slow),
])  # fmt: skip
def test_one_clip_dies_and_the_others_have_the_bytes_of_an_undisturbed_run(
    place: int, plugin: Any, tmp_path: Path, lake: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["one", "three", "fifteen"]
    texts[place] = "abort"
    (made,) = done(lake, texts, plugin)
    assert list(reasons([made]).values()) == [ABORT] and len(rows([made])) == 2
    monkeypatch.setenv(brittle.MENDED, "")
    other = Warehouse(tmp_path / "other", create=True)
    (work,) = wanted(other, tmp_path / "clips", plugin)
    expected = other.perform(work)
    assert reasons([expected]).keys() == reasons([made]).keys() and made.key == expected.key
    name = f"{made.request.kind}.parquet"
    assert made.files[name] == expected.files[name]


def test_a_clip_of_which_an_aligner_dies_twice_is_left_out_too(
    tmp_path: Path, lake: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told of its deaths only; above processes die of it."""
    (work,) = wanted(lake, corpus(tmp_path, ["one", "abort", "three"]), BrittleAligner())
    clip, noted = work.arguments["rows"][1]["input_id"], list[str]()

    def attempt(self: workers.Workers, work: Work, how: Apart | None = None) -> Artifact | tuple[str, int]:
        if how is None or not how.died:
            return clip, -signal.SIGABRT
        with apart(how):
            return lake.perform(work)

    monkeypatch.setattr(workers.Workers, "_attempt", attempt)
    monkeypatch.setattr(workers, "_note", noted.append)
    with workers.workers(lake.root, 1, "cpu") as pool:
        made = pool._again(work)
    assert reasons([made]) == {"clips-1": ABORT} and len(rows([made])) == 2 and clip not in noted


@pytest.mark.slow
def test_two_clips_of_one_batch_die_each_in_its_way(lake: Warehouse) -> None:
    (made,) = done(lake, ["one", "fault", "three", "exit"])
    assert reasons([made]) == {"clips-1": FAULT, "clips-3": ENDED} and len(rows([made])) == 2


@pytest.mark.slow
def test_a_clip_of_each_of_two_batches_in_flight_dies(lake: Warehouse) -> None:
    found = done(lake, ["one", "abort", "three", "fault", "seven", "nine"], batch_s=0.25)
    assert [a.request.kind for a in found] == ["features"] * 3
    assert [list(reasons([a]).values()) for a in found] == [[ABORT], [FAULT], []] and len(rows(found)) == 4


def test_who_is_killed_from_outside_is_no_failure(
    lake: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(brittle.ONCE, str(tmp_path / "once"))
    found = done(lake, ["one", "outside", "three", "seven"], batch_s=0.25)
    assert (tmp_path / "once").exists() and failed(found) == [] and len(rows(found)) == 4


@pytest.mark.parametrize("text", ["full", pytest.param("end", marks=pytest.mark.slow)])
def test_a_clip_at_which_processes_are_killed_is_no_failure_and_stops_the_run(lake: Warehouse, text: str) -> None:
    """Too little memory is the machine's trouble: with more of it, the same clip has a row."""
    complaint = (
        r"two worker processes were killed while they did 'extractors\.brittle' of 'clips-1' \(perhaps for lack of "
        r"memory\): what was finished is kept; take fewer workers or more memory, or cut the recording, and run the"
    )
    with pytest.raises(WorkerDied, match=complaint):
        done(lake, ["one", text, "three"])
    assert lake.artifacts("features") == []


@pytest.mark.slow
def test_a_clip_that_is_killed_once_and_crashes_once_has_a_row(
    lake: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in (brittle.ONCE, brittle.THEN):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    (made,) = done(lake, ["one", "outside then", "three"])
    assert (tmp_path / brittle.THEN).exists() and failed([made]) == [] and len(rows([made])) == 3


@pytest.mark.slow
def test_too_many_kills_stop_the_run(lake: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "MOST_DIED", 0)
    with pytest.raises(WorkerDied, match="a worker process died while it did"):
        done(lake, ["full", "one"])


@pytest.mark.slow
def test_a_recording_that_kills_what_decodes_it_takes_its_clips(lake: Warehouse) -> None:
    (made,) = done(lake, ["one", "three", "seven"], BrittleDecoder())
    assert list(reasons([made]).values()) == [ABORT] and len(rows([made])) == 2


def test_who_dies_before_any_clip_stops_the_run(lake: Warehouse) -> None:
    with pytest.raises(WorkerDied, match=r"a worker process died while it did 'extractors\.brittle'"):
        done(lake, ["one", "three"], BrittleLoad())
    assert lake.artifacts("features") == []


@pytest.mark.slow
def test_clips_of_which_too_many_die_stop_the_run(lake: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "MOST_DIED", 0)
    with pytest.raises(WorkerDied, match="a worker process died"):
        done(lake, ["abort", "one"])
    assert lake.artifacts("features") == []


def test_stopping_ends_what_is_done_again_too(lake: Warehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    began: list[int] = []
    submit = workers.Workers._submit

    def counted(self: Any, *arguments: Any) -> Any:
        began.append(1)
        return submit(self, *arguments)

    monkeypatch.setattr(workers.Workers, "_submit", counted)
    root = corpus(tmp_path, [f"abort {n}" for n in range(50)])
    (work,) = wanted(lake, root)
    complaint: list[BaseException] = []

    def answer() -> None:
        try:
            pool.answer([work], QUIET)
        except WorkerDied as error:
            complaint.append(error)

    with workers.workers(lake.root, 1, "cpu") as pool:
        thread = threading.Thread(target=answer)
        thread.start()
        deadline = time.monotonic() + 60
        while len(began) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    thread.join(30)
    assert not thread.is_alive() and len(complaint) == 1
    assert list((lake.root / ".scratch").glob("*")) == []


# -- a recipe's line ---------------------------------------------------------------------------------------------------

RECIPE = """
name = "brittle"
title = "What dies"
[corpora.clips]
reader = "table"
file = "clips.csv"
[features.letters]
extractor = "brittle"
corpora = ["clips"]
[failures]
allowed = 1
"""


@pytest.fixture
def declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A recipe of an extractor that is none of the shipped, answered by the real pool, without Prefect's engine."""
    known, own = catalog.plugin_class, {"brittle": Brittle}
    for module in (catalog, recipe, references):
        monkeypatch.setattr(module, "plugin_class", lambda room, name: own.get(name) or known(room, name))
    threads = ThreadPoolExecutor(2)

    def submit(pool: Any, work: Any, note: Any) -> Any:
        return threads.submit(pipeline.answer.fn, pool.value, work.value, note.value)

    task = SimpleNamespace(fn=pipeline.answer.fn, with_options=lambda name: SimpleNamespace(submit=submit))
    monkeypatch.setattr(pipeline, "answer", task)
    path = tmp_path / "brittle.toml"
    path.write_text(RECIPE)
    yield recipe.read_recipe(path)
    threads.shutdown()


def test_a_recipe_is_finished_and_what_died_is_tried_again_when_it_is_asked_for(
    declared: recipe.Recipe, lake: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = {"clips": corpus(tmp_path, ["one", "fault", "three"])}

    def run() -> list[Any]:
        with workers.workers(lake.root, 2, "cpu") as pool:
            runner = Runner(lake, pool, Silent())
            Line(declared, lake, roots, runner).extract()
            return [step for step in runner.steps if step.works]

    assert run()
    recorded = lake.sql("SELECT step, utterance_id, reason FROM failures").fetchall()
    assert recorded == [("extractors.brittle", "clips-1", FAULT)]
    assert [len(rows([a])) for a in lake.artifacts("features")] == [2]
    assert is_done(plan(declared, lake, roots, "extract")) and run() == [], "a second run does nothing"

    assert retry(lake, "the process died (signal 11, SIGSEGV)").failures == {"extractors.brittle": 1}
    monkeypatch.setenv(brittle.MENDED, "")
    assert [(step.name, step.n_new) for step in run()] == [("extract letters", 1)]
    assert reasons(lake.artifacts("features")) == {"clips-1": "mended, but odd"}
