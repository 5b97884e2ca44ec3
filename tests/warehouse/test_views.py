"""The SQL views say what manifests, refs and Parquet files say, and nothing twice."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.warehouse.small_lake import MAIN, OTHER, SmallLake, small_lake, utterance
from warehouse import Request, Warehouse, schema, summaries, views
from warehouse.errors import QueryFailed
from warehouse.hashing import short_digest
from warehouse.schema import pair_id
from warehouse.tables import array_cells, array_columns, write_rows

LABELLED = schema.PREDICTIONS.insert(2, schema.TRUTH.field("label"))
EMPTY_TOO = {
    "raw_files": schema.FILES, "utterances": schema.UTTERANCES, "labels": schema.LABELS, "intervals": schema.INTERVALS,
    "splits": schema.SPLIT, "selections": schema.SELECTION, "predicted": schema.PREDICTIONS, "truths": schema.TRUTH,
    "predictions": LABELLED, "metrics": schema.METRICS, "failures": schema.FAILURES,
}  # fmt: skip


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    return small_lake(tmp_path / "small")


def column(lake: Warehouse, query: str) -> list[Any]:
    return [row[0] for row in lake.sql(query).fetchall()]


@pytest.mark.parametrize("name", sorted(EMPTY_TOO))
def test_a_view_has_the_same_columns_in_an_empty_lake(lake: Warehouse, small: SmallLake, name: str) -> None:
    for one in (lake, small.lake):
        table = one.table(f"FROM {name}")
        whose = ["step", "plugin_key"] if name == "intervals" else []
        assert table.schema.names == [*EMPTY_TOO[name].names, "artifact", *whose]
        own = table.select(EMPTY_TOO[name].names).schema
        assert [str(column.type).replace("<l:", "<item:") for column in own] == [str(f.type) for f in EMPTY_TOO[name]]


def test_every_view_named_in_the_module_exists_in_an_empty_lake(lake: Warehouse) -> None:
    named = set(re.findall(r"\w+", (views.__doc__ or "").partition("\n\n")[2])) - {"features_", "means_"}
    there = set(column(lake, "SELECT name FROM (SHOW TABLES)"))
    more = {"artifacts", "inputs", "plugins", "judges", "features", "aligners", "side_by_side", "disagreement"}
    more |= {"extractors", "reports", "works", "merged"} | summaries.VIEWS.keys()
    assert there == EMPTY_TOO.keys() | more and there <= named


def test_a_row_that_two_runs_answered_counts_once(lake: Warehouse) -> None:
    """Two runs that overlapped may cut other batches and so both answer an input id."""
    plugin = {"step": "extractors.made", "version": 1, "fields": {}}
    for ids in (["a", "b"], ["b", "c"]):
        request = Request("features", "extractors.made", 1, {"plugin": plugin, "ids": ids})
        rows = pa.table({"input_id": ids, "x": [1.0] * len(ids)})
        lake.materialize(request, lambda folder, rows=rows: pq.write_table(rows, folder / "features.parquet"))
    lake.set_ref("features/made", {"plugin_key": short_digest(plugin)})
    assert sorted(column(lake, "SELECT input_id FROM features_made")) == ["a", "b", "c"]
    assert sorted(column(lake, "SELECT input_id FROM features")) == ["a", "b", "c"]


def test_means_are_over_the_frames_of_every_aligners_segments(lake: Warehouse) -> None:
    utterance = dict.fromkeys(schema.UTTERANCES.names, "") | {
        "utterance_id": "u", "start_s": 0.0, "end_s": 0.4, "audio_id": "sound", "text_id": "words", "turn": 0,
        "attributes": [],
    }  # fmt: skip
    read = lake.materialize(
        Request("utterances", "made", 1, {}),
        lambda folder: write_rows(folder / "utterances.parquet", [utterance], schema.UTTERANCES),
    )
    lake.set_ref("corpora/made", {"raw": [], "utterances": [read.digest], "labels": []})
    frames = np.arange(80, dtype=np.float32).reshape(40, 2)
    plugin = {"step": "extractors.made", "version": 1, "fields": {}}
    row = pa.Table.from_pylist([{"input_id": "sound"} | array_cells("frames", frames)])
    row = row.cast(pa.schema([("input_id", pa.string()), *array_columns("frames")]))
    lake.materialize(
        Request("features", "extractors.made", 1, {"plugin": plugin}),
        lambda folder: pq.write_table(row, folder / "features.parquet"),
    )
    ref = {"plugin_key": short_digest(plugin), "needs": "audio", "hops_s": {"frames": 0.01}}
    lake.set_ref("features/lld", ref)
    for aligner, ends in (("one", (0.1, 0.4)), ("other", (0.2, 0.9))):
        segments = [
            {"input_id": schema.pair_id("sound", "words"), "tier": "word", "position": n, "symbol": "AB"[n],
             "start_s": (0.0, ends[0])[n], "end_s": ends[n], "score": None}
            for n in range(2)
        ]  # fmt: skip
        lake.materialize(
            Request("intervals", f"aligners.{aligner}", 1, {"plugin": {"step": aligner}}),
            lambda folder, rows=segments: write_rows(folder / "intervals.parquet", rows, schema.INTERVALS),
        )
    found = lake.table("SELECT aligner, symbol, mean FROM means_lld ORDER BY aligner, position").to_pylist()
    assert found == [
        {"aligner": "aligners.one", "symbol": "A", "mean": frames[:10].mean(axis=0).tolist()},
        {"aligner": "aligners.one", "symbol": "B", "mean": frames[10:].mean(axis=0).tolist()},
        {"aligner": "aligners.other", "symbol": "A", "mean": frames[:20].mean(axis=0).tolist()},
        {"aligner": "aligners.other", "symbol": "B", "mean": None},
    ], "the other aligner's last segment lies outside the frames"


def test_an_alignment_of_files_that_are_no_longer_so_is_none(small: SmallLake) -> None:
    """What a corpus ships is read anew where a table was corrected, under the ids that it had."""
    pair = pair_id(MAIN["audio_id"], MAIN["text_id"])
    for symbol, raw in (("OLD", small.named["raw other"]), ("NEW", small.named["raw main"])):
        row = {"input_id": pair, "tier": "word", "position": 0, "symbol": symbol, "start_s": 0.0, "end_s": 1.0,
               "score": None}  # fmt: skip
        tables = {"intervals": ([row], schema.INTERVALS), "failures": ([], schema.FAILURES)}
        small.rows(symbol, "intervals", "aligners.shipped", tables, {"raw": [raw]}, plugin={"step": "shipped"})
    small.lake.set_ref("corpora/other", {"raw": [], "utterances": [], "labels": [], "root": ""})
    assert column(small.lake, "SELECT symbol FROM intervals WHERE step = 'aligners.shipped'") == ["NEW"]


def test_what_packing_could_not_treat_is_a_failure(small: SmallLake) -> None:
    row = {"input_id": "x", "utterance_id": "u1", "step": "flows.pack_segments", "reason": "outside"}
    small.rows("packed", "shards", "flows.pack_segments", {"failures": ([row], schema.FAILURES)}, {})
    assert column(small.lake, "SELECT reason FROM failures WHERE step = 'flows.pack_segments'") == ["outside"]


def test_artifacts_and_inputs_are_the_manifests(small: SmallLake) -> None:
    rows = small.lake.table("FROM artifacts").to_pylist()
    assert {row["key"]: row for row in rows}.keys() == {a.key for a in small.lake.artifacts()}
    for row in rows:
        manifest = json.loads((Path(row["folder"]) / "manifest.json").read_bytes())
        assert json.loads(row["params"]) == manifest["request"]["params"]
        assert (row["kind"], row["step"]) == (manifest["request"]["kind"], manifest["request"]["step"])
        n_bytes = sum(entry["n_bytes"] for entry in manifest["files"].values())
        assert (row["digest"], row["n_bytes"]) == (manifest["digest"], n_bytes)
    edges = set(small.lake.sql("SELECT key, role, digest FROM inputs").fetchall())
    assert edges == {
        (a.key, role, digest) for a in small.lake.artifacts() for role, ds in a.request.inputs.items() for digest in ds
    }


def test_a_row_knows_the_artifact_it_lies_in(small: SmallLake) -> None:
    query = "SELECT DISTINCT a.kind FROM utterances u JOIN artifacts a ON u.artifact = a.key"
    assert column(small.lake, query) == ["utterances"]
    assert column(small.lake, "SELECT DISTINCT artifact FROM predictions") == [small.predictions.key]


def test_predictions_have_the_label_of_their_truth(small: SmallLake) -> None:
    query = "SELECT utterance_id, label FROM predictions ORDER BY ALL"
    assert small.lake.sql(query).fetchall() == [("u1", "happy"), ("v1", None)]
    assert column(small.lake, "SELECT truth FROM judges") == [small.named["truth"].key]


def test_metrics_that_do_not_say_what_they_were_selected_on_are_still_there(lake: Warehouse) -> None:
    """As lakes have them that were written before there was anything else than dev."""
    old = schema.METRICS.remove(schema.METRICS.get_field_index("selected_on"))
    row = dict.fromkeys(old.names, "x") | {"seed": 0, "value": 0.5, "n_utterances": 1}
    lake.materialize(Request("metrics", "made", 1, {}), lambda f: write_rows(f / "metrics.parquet", [row], old))
    assert lake.sql("SELECT metric, selected_on FROM metrics").fetchall() == [("x", None)]


def test_a_question_across_views(small: SmallLake) -> None:
    query = """
        SELECT l.value, round(avg(f.F0), 3) AS f0
        FROM utterances u JOIN labels l USING (utterance_id) JOIN features_voice f ON f.input_id = u.audio_id
        WHERE l.scheme = 'emotion' GROUP BY ALL ORDER BY ALL
    """
    assert small.lake.sql(query).fetchall() == [("happy", 220.0), ("sad", 110.0)]


def test_intervals_join_by_the_pair(small: SmallLake) -> None:
    query = "SELECT symbol FROM utterances JOIN intervals ON pair_id(audio_id, text_id) = input_id ORDER BY position"
    assert column(small.lake, query) == ["SO", "IT"]
    assert column(small.lake, "SELECT DISTINCT input_id FROM intervals") == [pair_id(MAIN["audio_id"], MAIN["text_id"])]


def test_only_what_was_last_ingested_is_read(small: SmallLake) -> None:
    corrected = MAIN | {"verbatim": "So it isn't."}
    newer = small.reading("main", [corrected], version=2)
    assert column(small.lake, "SELECT verbatim FROM utterances WHERE corpus = 'main'") == ["So it is."]
    small.ingested("main", newer)
    assert column(small.lake, "SELECT verbatim FROM utterances WHERE corpus = 'main'") == ["So it isn't."]
    assert column(small.lake, "SELECT verbatim FROM utterances WHERE corpus = 'other'") == [OTHER["verbatim"]]


def test_the_same_bytes_from_two_requests_are_read_once(small: SmallLake) -> None:
    newer = small.reading("main", [MAIN], version=2)
    assert newer.digest == small.utterances.digest and newer.key != small.utterances.key
    small.ingested("main", newer)
    assert sorted(column(small.lake, "SELECT utterance_id FROM utterances")) == ["u1", "v1"]


def test_failures_come_from_readers_and_loops(small: SmallLake) -> None:
    assert sorted(small.lake.sql("SELECT utterance_id, step FROM failures").fetchall()) == [
        ("u9", "corpora.table"), ("v1", "extractors.voice")
    ]  # fmt: skip


def test_features_lists_every_row_and_a_named_view_only_its_own(small: SmallLake) -> None:
    assert len(column(small.lake, "SELECT input_id FROM features")) == 4
    assert small.lake.table("FROM features_voice").schema.names == ["input_id", "F0", "artifact"]
    assert len(column(small.lake, "FROM features_voice")) == 2
    assert small.lake.table("FROM features_words").schema.names == ["input_id", "x", "x_shape", "x_dtype", "artifact"]


@pytest.mark.parametrize("name", ["seed=3", "a [1] *? o'lake", "ab*"])
def test_a_lake_may_lie_anywhere(tmp_path: Path, name: str) -> None:
    small_lake(tmp_path / "lake")
    for folder in ("abc", name):  # a sibling that the name would match, were it a pattern
        (tmp_path / folder).mkdir()
        shutil.copytree(tmp_path / "lake", tmp_path / folder / "lake")
    lake = Warehouse(tmp_path / name / "lake")
    assert sorted(column(lake, "SELECT utterance_id FROM utterances")) == ["u1", "v1"]
    assert lake.table("FROM features_voice").schema.names == ["input_id", "F0", "artifact"]
    assert all(Path(folder).is_relative_to(lake.root) for folder in column(lake, "SELECT folder FROM artifacts"))


def test_the_views_are_as_of_the_asking(small: SmallLake) -> None:
    before = small.lake.sql("SELECT count(*) FROM artifacts")
    small.reading("main", [utterance("main", "u2", "new")], version=3)
    after = small.lake.sql("SELECT count(*) FROM artifacts")
    assert after.fetchall()[0][0] == before.fetchall()[0][0] + 3


def test_nothing_is_kept_beside_the_manifests(small: SmallLake) -> None:
    assert not [p for p in small.lake.root.rglob("*") if p.suffix in (".db", ".duckdb", ".wal", ".tmp")]
    assert Warehouse(small.lake.root).table("FROM utterances").equals(small.lake.table("FROM utterances"))
    assert isinstance(small.lake.table("FROM utterances"), pa.Table)


def test_a_view_is_the_same_whether_it_is_made_alone_or_with_all(small: SmallLake) -> None:
    voice = small.lake.ref("features/voice")
    small.lake.set_ref("features/voice", {**(voice or {}), "needs": "audio", "hops_s": {}})
    ref = small.lake.ref("features/words") or {}
    small.lake.set_ref("features/words", {**ref, "needs": "text", "hops_s": {"x": 0.01}})
    whole = small.lake.connect()
    names = [name for (name,) in whole.execute("SELECT name FROM (SHOW TABLES)").fetchall()]
    assert {"features_voice", "means_words", "features_pairs"} <= set(names)
    for name in names:
        query = f'FROM "{name}" ORDER BY ALL'
        alone = small.lake.connect(query.upper())
        assert alone.sql(query).fetchall() == whole.sql(query).fetchall(), name
        assert alone.sql(query).types == whole.sql(query).types, name


def test_a_question_has_the_views_that_it_names(small: SmallLake) -> None:
    def there(query: str) -> set[str]:
        return {name for (name,) in small.lake.connect(query).execute("SELECT name FROM (SHOW TABLES)").fetchall()}

    assert there("SELECT 1") == set()
    assert there("SELECT count(*) FROM main.UTTERANCES") == {"utterances"}
    assert there("WITH a AS (TABLE features_voice) SELECT 'labels' FROM a") == {"features_voice", "labels"}
    assert there("FROM predictions") == {"predictions", "predicted", "judges", "truths"}
    everything = there("SHOW TABLES")
    for listing in ("FROM duckdb_views()", "FROM information_schema.tables", "FROM query('FROM ' || 'labels')"):
        assert there(listing) == everything and len(everything) > 30
    with pytest.raises(QueryFailed, match=r'label does not exist!\nDid you mean "labels"'):
        small.lake.sql("FROM label")
