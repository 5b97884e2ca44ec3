"""Artifacts that answer the same input are found, whichever came when, and looked for once."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.warehouse.small_lake import small_lake
from warehouse import Request, Warehouse, views
from warehouse.hashing import short_digest
from warehouse.overlaps import overlapping


class Asked:
    """A connection that counts what it is asked."""

    def __init__(self) -> None:
        self.n, self._connection = 0, duckdb.connect()

    def execute(self, *query: object) -> duckdb.DuckDBPyConnection:
        self.n += 1
        return self._connection.execute(*query)  # type: ignore[arg-type]


def test_a_new_artifact_is_held_against_the_others_once(tmp_path: Path) -> None:
    files: dict[str, str] = {}
    asked = Asked()

    def shared(**more: list[str]) -> set[str]:
        for name, ids in more.items():
            files[name] = str(tmp_path / f"{name}.parquet")
            pq.write_table(pa.table({"input_id": ids}), files[name])
        return overlapping(asked, files, tmp_path / "kept" / "a", tmp_path / "beside" / "a")  # type: ignore[arg-type]

    assert shared(one=["a", "a", "b"], other=["c", "d"]) == set(), "an aligner has many rows of an input"
    assert shared() == set() and asked.n == 1
    assert shared(third=["e"]) == set() and asked.n == 2
    assert shared(fourth=["d", "f"]) == {"other", "fourth"}
    assert shared(fifth=["a"], sixth=["g"], seventh=["g"]) == {*files} - {"third"} and asked.n == 4
    assert shared() == {*files} - {"third"} and asked.n == 4
    del files["fifth"]
    assert shared() == {*files} - {"third"} and asked.n == 4, "one that went may leave another marked: it does no harm"
    (tmp_path / "kept" / "a").write_text("damaged")
    assert shared() == {"other", "fourth", "sixth", "seventh"} and asked.n == 5


@pytest.mark.parametrize("least", [0, views._LARGE])
def test_a_row_that_two_runs_answered_counts_once_however_large_the_lake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least: int
) -> None:
    monkeypatch.setattr(views, "_LARGE", least)
    lake = small_lake(tmp_path / "lake").lake
    plugin = {"step": "extractors.made", "version": 1, "fields": {}}
    for n, ids in enumerate((["a", "b"], ["b", "c"], ["d"])):
        request = Request("features", "extractors.made", 1, {"plugin": plugin, "ids": ids})
        rows = pa.table({"input_id": ids, "x": [float(n)] * len(ids)})
        lake.materialize(request, lambda folder, rows=rows: pq.write_table(rows, folder / "features.parquet"))
    lake.set_ref("features/made", {"plugin_key": short_digest(plugin)})
    for again in (lake, Warehouse(lake.root)):
        rows = again.sql("SELECT input_id, x, artifact FROM features_made ORDER BY ALL").fetchall()
        assert [row[0] for row in rows] == ["a", "b", "c", "d"]
        assert len({artifact for input_id, x, artifact in rows if input_id in "abc"}) == 2
        whole = again.sql("SELECT input_id, artifact, step, plugin_key FROM features ORDER BY ALL").fetchall()
        assert [(r[0], r[1]) for r in whole if r[2] == plugin["step"]] == [(r[0], r[2]) for r in rows]
        assert {r[3] for r in whole if r[2] == plugin["step"]} == {short_digest(plugin)} and len(whole) == 8
    assert (lake.root / ".cache" / "overlaps").exists() == (least == 0)
