from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from features.float_wav import write_float_wav
from flows.doer import Waits
from flows.line import Line
from flows.readings import TRUSTED, corpus_reading
from flows.recipe import read_recipe
from flows.run import roots_of
from tests.flows.partly import Partly
from tests.flows.saying import saying
from tests.warehouse.faulty_store import FaultyStore, on_store
from warehouse import Warehouse
from warehouse.errors import MissingFolder, TooManyFailures
from warehouse.schema import FILES, UTTERANCES
from warehouse.tables import read_table

RECIPE = """
name = "read"
title = "A table of clips"
[corpora.clips]
reader = "table"
file = "clips.csv"
"""
TABLE = "path,text,speaker,label\na.wav,Where are you?,s,calm\nb.wav,I am here.,s,calm\n"


def line_of(folder: Path, *steps: str, table: str = TABLE) -> Line:
    (folder / "raw").mkdir(exist_ok=True)
    (folder / "raw" / "clips.csv").write_text(table, encoding="utf-8")
    for name in "ab":
        write_float_wav(folder / "raw" / f"{name}.wav", np.zeros(1_600, np.float32))
    (folder / "raw" / "c.wav").write_bytes(b"no sound")
    (folder / "read.toml").write_text(RECIPE, encoding="utf-8")
    warehouse = Warehouse(folder / "lake", create=True)
    return Line(read_recipe(folder / "read.toml"), warehouse, {"clips": folder / "raw"}, Partly(warehouse, *steps))


def test_a_reading_has_every_unit_with_its_files_their_record_and_its_utterances(tmp_path: Path) -> None:
    line = line_of(tmp_path, "record", "ingest")
    reading = corpus_reading(line, "clips")
    assert len(reading.units) == len(reading.utterances) == len(reading.labels) > 0
    for (files, recorded, utterances), own in zip(reading.units.values(), reading.utterances, strict=True):
        assert utterances is own and own.request.inputs == {"raw": (recorded.digest,)}
        assert [file.path for file in files] == [
            row["path"] for row in read_table(recorded.path("files.parquet"), FILES).to_pylist()
        ]
    rows = [row for a in reading.utterances for row in read_table(a.path("utterances.parquet"), UTTERANCES).to_pylist()]
    assert [row["text"] for row in rows] == ["Where are you?", "I am here."]
    ref = line.warehouse.ref("corpora/clips")
    recorded = [artifact.digest for _, artifact, _ in reading.units.values()]
    assert ref == {
        "reader": "corpora.table", "root": str(tmp_path / "raw"), "raw": recorded,
        "utterances": [a.digest for a in reading.utterances], "labels": [a.digest for a in reading.labels],
    }  # fmt: skip


def test_what_is_not_recorded_waits(tmp_path: Path) -> None:
    with pytest.raises(Waits, match="record clips"):
        corpus_reading(line_of(tmp_path), "clips")
    with pytest.raises(Waits, match="ingest clips"):
        corpus_reading(line_of(tmp_path, "record"), "clips")


def test_what_cannot_be_read_counts(tmp_path: Path) -> None:
    with pytest.raises(TooManyFailures, match="allows 0"):
        corpus_reading(line_of(tmp_path, "record", "ingest", table=TABLE + "c.wav,Oh,s,calm\n"), "clips")


def test_a_line_that_trusts_raw_files_looks_at_none_and_says_so(tmp_path: Path) -> None:
    first = line_of(tmp_path, "record", "ingest")
    read = corpus_reading(first, "clips")
    (tmp_path / "raw" / "a.wav").write_bytes(b"changed")
    (tmp_path / "raw" / "b.wav").unlink()
    trusting = Line(first.recipe, first.warehouse, first.roots, Partly(first.warehouse), trust_raw=True)
    again = corpus_reading(trusting, "clips")
    assert (again.utterances, again.labels, again.units) == (read.utterances, read.labels, read.units)
    assert trusting.doer.steps[0].remark == TRUSTED


def test_a_line_that_trusts_looks_where_nothing_was_recorded_and_says_why(tmp_path: Path) -> None:
    line = line_of(tmp_path, "record", "ingest")
    line.trust_raw = True
    corpus_reading(line, "clips")
    assert line.doer.steps[0].remark == "its raw files were looked at: it was not read before"


def test_a_folder_that_is_not_the_recorded_one_is_never_trusted(tmp_path: Path) -> None:
    first = line_of(tmp_path, "record", "ingest")
    corpus_reading(first, "clips")
    before = first.warehouse.ref("corpora/clips")
    elsewhere = tmp_path / "elsewhere"
    trusting = Line(first.recipe, first.warehouse, {"clips": elsewhere}, Partly(first.warehouse), trust_raw=True)
    with pytest.raises(MissingFolder, match="elsewhere"):
        corpus_reading(trusting, "clips")
    assert first.warehouse.ref("corpora/clips") == before, "no name points where nobody looked"
    shutil.copytree(tmp_path / "raw", elsewhere)
    corpus_reading(trusting, "clips")
    why = f"it was read in {tmp_path / 'raw'}, not in {elsewhere}"
    assert trusting.doer.steps[0].remark == f"its raw files were looked at: {why}"
    assert first.warehouse.ref("corpora/clips") == before | {"root": str(elsewhere)}, "whose files are the same"


def test_sound_that_lies_in_the_lake_stays_relative_to_it(tmp_path: Path) -> None:
    first = line_of(tmp_path, "record", "ingest")
    corpus_reading(first, "clips")
    moved = {**(first.warehouse.ref("corpora/clips") or {}), "root": "../raw"}
    first.warehouse.set_ref("corpora/clips", moved)
    roots = roots_of(first.recipe, first.warehouse, {})
    trusting = Line(first.recipe, first.warehouse, roots, Partly(first.warehouse), trust_raw=True)
    corpus_reading(trusting, "clips")
    assert trusting.doer.steps[0].remark == TRUSTED and first.warehouse.ref("corpora/clips") == moved


def test_a_plan_and_a_run_that_trust_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus_reading(line_of(tmp_path, "record", "ingest"), "clips")
    monkeypatch.chdir(tmp_path)
    say = saying(monkeypatch, capsys)
    (tmp_path / "raw" / "a.wav").write_bytes(b"changed")
    assert [step["new"] for step in say("plan", "read.toml", "--trust-raw", "--json").json] == [0, 0]
    assert f"record clips     3    0  {TRUSTED}" in say("plan", "read.toml", "--trust-raw").out
    assert f"\nrecord clips: {TRUSTED}\n" in say("run", "read.toml", "--trust-raw").out
    assert [step["new"] for step in say("plan", "read.toml", "--json").json] == [3, 0], "without, it is seen"


def test_a_plan_where_there_is_no_lake_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line_of(tmp_path)
    monkeypatch.chdir(tmp_path)
    say = saying(monkeypatch, capsys)
    for lake in ("fresh", "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        told = say("plan", "read.toml", "--lake", lake, "--root", "clips=raw", "--json")
        assert [(step["new"], bool(step["waits_for"])) for step in told.json] == [(3, False), (0, True)]
        assert not (tmp_path / "fresh").exists() and not list((tmp_path / "empty").iterdir())
    (tmp_path / "empty" / "lake.json").write_text("{}")
    damaged = say("plan", "read.toml", "--lake", "empty", "--root", "clips=raw")
    assert damaged.code == 1 and "its lake.json does not state a format" in damaged.err


def test_a_plan_takes_no_store_that_cannot_be_read_for_one_without_a_lake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line_of(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMOLAKE_COPIES", str(tmp_path / "copies"))
    say = saying(monkeypatch, capsys)
    FaultyStore.reset()
    fresh = say("plan", "read.toml", "--lake", "faulty://bucket/lake", "--root", "clips=raw", "--json")
    assert [step["new"] for step in fresh.json] == [3, 0] and not on_store("")
    FaultyStore.inner.pipe_file("/bucket/lake/lake.json", b"{}")
    for lake, why in (("faulty://bucket/lake", "lake.json does not state a format"), ("unheard://of/it", "unheard")):
        told = say("plan", "read.toml", "--lake", lake, "--root", "clips=raw")
        assert told.code == 1 and why in told.err
    assert not (tmp_path / "copies").exists()
