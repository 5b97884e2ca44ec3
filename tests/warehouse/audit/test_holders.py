"""Which artifacts hold a row about an utterance."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from tests.warehouse.small_lake import MAIN, OTHER, SmallLake, small_lake
from warehouse.audit.holders import KEYED, clips_where, holders, input_ids_of, one_connection, rows_about, rows_where
from warehouse.errors import QueryFailed
from warehouse.schema import FAILURES, UTTERANCES, pair_id


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    return small_lake(tmp_path / "lake")


def test_every_artifact_with_a_row_about_an_utterance_is_found(small: SmallLake) -> None:
    names = {a.key: name for name, a in small.named.items()}
    artifacts = small.lake.artifacts()
    [clip] = clips_where(artifacts, "utterance_id", ["v1"])
    assert names[clip["artifact"]] == "utterances other" and clip["recording_id"] == OTHER["recording_id"]
    found = {names[key]: dict(rows) for key, rows in holders(artifacts, {"v1"}, input_ids_of(clip)).items()}
    assert set(found) == {
        "utterances other", "labels other", "voice other", "voice shard other", "words main", "words shard",
        "text shard", "split", "selection", "predictions",
    }, "the text shard holds u1's words, which are the same text"  # fmt: skip
    assert found["voice other"] == {"features.parquet": 1, "failures.parquet": 1}
    assert found["words shard"] == {"index.parquet": 2}
    assert holders(artifacts, {"u77"}, {"u77' OR 1=1"}) == {} and holders(artifacts, set(), set()) == {}


def test_every_table_with_such_a_column_is_looked_into(small: SmallLake) -> None:
    for artifact in small.lake.artifacts():
        for file in (name for name in artifact.files if name.endswith(".parquet")):
            columns = [c for c in pq.read_schema(artifact.path(file)).names if c in ("utterance_id", "input_id")]
            if columns:
                assert set(columns) == set(KEYED[file.removesuffix(".parquet")]), file


def test_an_id_of_an_utterance_is_not_the_name_of_its_inputs() -> None:
    pair = pair_id(MAIN["audio_id"], MAIN["text_id"])
    assert input_ids_of(MAIN) == {MAIN["audio_id"], MAIN["text_id"], pair}
    assert input_ids_of(MAIN | {"audio_id": ""}) == {MAIN["text_id"]}


def test_what_is_told_again_from_an_utterance_is_it_too(small: SmallLake) -> None:
    def told(name: str, source: str, text: str, corpus: str) -> dict[str, object]:
        return MAIN | {"utterance_id": name, "corpus": corpus, "text_id": text, "attributes": {"source": source}}

    nothing: list[dict[str, object]] = []
    first = small.rows(
        "heard", "utterances", "features.retell",
        {"utterances": ([told("h1", "u1", "t1", "heard"), told("h2", "u2", "t2", "heard")], UTTERANCES),
         "failures": (nothing, FAILURES)},
        {"source": [small.utterances]},
    )  # fmt: skip
    small.rows(
        "again", "utterances", "features.retell",
        {"utterances": ([told("a1", "h1", "t3", "again")], UTTERANCES), "failures": (nothing, FAILURES)},
        {"source": [first]},
    )  # fmt: skip
    stranger = told("s1", "u1", "t4", "stranger")
    small.rows("stranger", "utterances", "corpora.table", {"utterances": ([stranger], UTTERANCES)}, {})
    found = clips_where(small.lake.artifacts(), "utterance_id", ["u1"])
    assert [clip["utterance_id"] for clip in found] == ["u1", "h1", "a1"]


def test_files_of_which_some_lack_a_column(small: SmallLake) -> None:
    """Features of different extractors are one table here, though they share no column but one."""
    features = small.lake.artifacts("features")
    rows = rows_where(features, "features", "input_id IS NOT NULL", {}, ["input_id", "F0"])
    assert {row["F0"] for row in rows} == {"220.0", "110.0", None} and len(rows) == 4
    assert rows_where(features, "nothing", "input_id IS NOT NULL", {}, ["input_id"]) == []


def test_a_table_that_cannot_be_read_is_told(small: SmallLake) -> None:
    path = small.named["split"].path("split.parquet")
    path.write_bytes(b"no table")
    with pytest.raises(QueryFailed, match=r"the lake is damaged, see `emolake verify` \(.*split.parquet"):
        rows_about([path], {"utterance_id": {"u1"}})
    assert rows_about([path], {"utterance_id": set()}) == {} == rows_about([], {"utterance_id": {"u1"}})


def test_questions_asked_within_are_asked_of_one_connection(small: SmallLake, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[duckdb.DuckDBPyConnection] = []
    connect = duckdb.connect

    def counted() -> duckdb.DuckDBPyConnection:
        opened.append(connect())
        return opened[-1]

    monkeypatch.setattr(duckdb, "connect", counted)
    artifacts = small.lake.artifacts()
    with one_connection(), one_connection():
        assert not opened, "before the first question"
        for _ in range(2):
            assert clips_where(artifacts, "utterance_id", ["u1"]) and holders(artifacts, {"u1"}, ())
        with ThreadPoolExecutor(1) as thread:  # whose questions may come at the same time
            assert thread.submit(clips_where, artifacts, "utterance_id", ["u1"]).result()
            told = thread.submit(copy_context().run, clips_where, artifacts, "utterance_id", ["u1"])  # as of Prefect's
            assert told.result()
    assert len(opened) == 3
    clips_where(artifacts, "utterance_id", ["u1"])
    assert len(opened) == 4
    for connection in opened:
        with pytest.raises(duckdb.ConnectionException, match="closed"):
            connection.execute("SELECT 1")
