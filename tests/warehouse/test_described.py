from __future__ import annotations

from pathlib import Path

import pytest

from tests.warehouse.small_lake import SmallLake, small_lake
from warehouse import Warehouse, described
from warehouse.catalog_file import catalog
from warehouse.described import COLUMNS, OWN, VIEWS, column_sentence, schema_of, view_sentence
from warehouse.errors import UnknownName
from warehouse.schema import FAILURES


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    """With every kind of view: means of frames, and failures of several attempts."""
    small = small_lake(tmp_path / "lake")
    ref = small.lake.ref("features/words") or {}
    small.lake.set_ref("features/words", ref | {"needs": "text", "hops_s": {"x": 0.01}})
    row = {"input_id": "x", "utterance_id": "u1", "step": "extractors.voice", "reason": "again"}
    plugin = {"step": "extractors.voice", "version": 1, "fields": {}}
    tables = {"failures": ([row], FAILURES)}
    small.rows("again", "shards", "extractors.voice", tables, {}, plugin=plugin, attempt=1)
    return small


def test_every_view_and_column_of_a_lake_is_described(small: SmallLake, lake: Warehouse) -> None:
    for one in (small.lake, lake):
        silent = [view["view"] for view in schema_of(one) if not view["says"]]
        silent += [
            f"{view['view']}.{column['column']}"
            for view in schema_of(one)
            for column in view["columns"]
            if not column["says"]
        ]
        assert silent == []


def test_nothing_is_described_that_is_nowhere(small: SmallLake) -> None:
    made = catalog(small.lake)
    with_file = {"catalog", "left_out"}
    there = {view["view"]: {c["column"] for c in view["columns"]} for view in schema_of(small.lake)}
    shown = {view_sentence(view) for view in there}
    assert [view for view, says in VIEWS.items() if says not in shown and view not in with_file] == []
    more = {"lake", "state", "view", "why"} if made.is_new else set()
    assert sorted(COLUMNS.keys() - more - set().union(*there.values())) == []
    stale = [(v, c) for v, c in OWN if "*" not in v and c not in there[v]]
    assert stale == []


def test_sentences_are_short_and_of_one_form() -> None:
    for says in VIEWS.values():
        assert says[0].isupper() and says.endswith(".") and len(says) <= 110, says
    for says in [*COLUMNS.values(), *OWN.values()]:
        assert not says.endswith(".") and len(says) <= 110, says


def test_schema_of_a_view(small: SmallLake) -> None:
    assert schema_of(small.lake, "features_voice") == [
        {"view": "features_voice", "form": "view", "says": VIEWS["features_*"],
         "columns": [
             {"column": "input_id", "type": "VARCHAR", "says": COLUMNS["input_id"]},
             {"column": "F0", "type": "FLOAT", "says": column_sentence("features_voice", "F0")},
             {"column": "artifact", "type": "VARCHAR", "says": COLUMNS["artifact"]},
         ]}
    ]  # fmt: skip
    assert {view["view"]: view["form"] for view in schema_of(small.lake)}["artifacts"] == "table"
    with pytest.raises(UnknownName, match=r"no view 'utterance'; did you mean 'utterances'\?"):
        schema_of(small.lake, "utterance")


def test_a_column_that_says_something_else_in_one_view() -> None:
    assert column_sentence("judges", "artifact") != column_sentence("utterances", "artifact")
    assert column_sentence("means_lld_frames", "mean") == described.OWN["means_*", "mean"]
    assert view_sentence("no_such_view") == column_sentence("utterances", "no_such_column") == ""
