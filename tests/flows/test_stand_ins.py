"""Told again is split as what was read: a law over the ways that protocols split, and any loss of rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.retell import own_id, retold_row
from flows.leakage import protocol_leakage
from flows.protocol import Protocol, folds_of, split_of, split_work
from flows.protocol_tables import split_table
from flows.stand_ins import StandIns, as_read, as_told, read_ids
from tests.flows.made import labels, utterance, utterances
from tests.flows.test_voices import PROTOCOLS, labels_of, protocol_of, rows_of
from warehouse import Artifact, Request, Warehouse
from warehouse.schema import SELECTION, SPLIT, UTTERANCES
from warehouse.tables import read_table, write_rows

ROWS = rows_of()
UNLABELLED = {"labels": {}, "folds": "", "test": "false"}
MORE = PROTOCOLS | {
    "buckets of whole ids": UNLABELLED | {"dev": "bucket(utterance_id, 5) = 0"},
    "drawn without labels": UNLABELLED | {"dev": "drawn < 0.1", "test": "drawn < 0.2"},
    "a filter over words": {"filter": "language = 'en'", "test": "drawn < 0.3"},
    "folds that a loss may empty": {"folds": "speaker_id", "test": "speaker_id = $fold", "dev": "speaker_id = $next"},
}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return Warehouse(tmp_path_factory.mktemp("law") / "lake", create=True)


def retold(lake: Warehouse, corpus: str, lost: Collection[str] = ()) -> Artifact:
    """'here' in another language, without some."""
    kept = [row for row in ROWS if row["utterance_id"] not in lost]
    return utterances(lake, [retold_row(row, corpus, {}, language="de") for row in kept], f"{corpus} {sorted(lost)}")


def parts(split: Any) -> dict[str, tuple[str, str | None]]:
    return {row["utterance_id"]: (row["part"], row["label"]) for row in split.to_pylist()}


@given(st.sampled_from(sorted(MORE)), st.sets(st.sampled_from([row["utterance_id"] for row in ROWS]), max_size=40))
@settings(max_examples=settings.default.max_examples // 3, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whoever_is_told_again_is_where_its_source_is(lake: Warehouse, name: str, lost: set[str]) -> None:
    rules = Protocol(**{"id": "mine", "reader": "made", "title": "t", "labels": {"calm": "calm", "loud": "loud"}}
                     | MORE[name])  # fmt: skip
    here, marked = utterances(lake, ROWS, "here"), labels(lake, labels_of(ROWS))
    heard = retold(lake, "heard", lost)
    folds = folds_of(rules, [here])
    for fold in folds:
        source = parts(split_of(rules, fold, folds, [here], [marked])[0])
        told = {n: place for n, place in source.items() if n not in lost}
        alone = split_of(rules, fold, folds, [here], [marked], told=StandIns({"heard": "here"}, [heard]))[0]
        assert parts(alone) == {n.replace("here", "heard"): place for n, place in told.items()}
        both = split_of(rules, fold, folds, [here], [marked], told=StandIns({"heard": "here"}, [here, heard]))[0]
        assert parts(both) == source | parts(alone)


def test_a_selection_is_of_what_is_told(lake: Warehouse) -> None:
    """Who is selected, and as what, is asked under its ids; what is drawn is drawn among those."""
    chosen = [row["utterance_id"] for row in ROWS[::2]]
    here, heard, marked = utterances(lake, ROWS, "here"), retold(lake, "heard"), labels(lake, labels_of(ROWS))
    splits = []
    for corpus, told in (("here", None), ("heard", StandIns({"heard": "here"}, [heard]))):
        names = [name.replace("here", corpus) for name in chosen]
        selection = selected(lake, names)
        work = split_work(protocol_of("drawn"), "all", ["all"], [here], [marked], selection, names[:1], told)
        split = read_table(lake.perform(work).path("split.parquet"), SPLIT)
        splits.append({own_id(name, corpus): place for name, place in parts(split).items()})
    assert splits[0] == splits[1] and len(splits[0]) == len(chosen) - 1
    both = StandIns({"heard": "here"}, [here, heard])
    found = split_of(protocol_of("drawn"), "all", ["all"], [here], [marked], selected(lake, chosen), both)[0]
    assert parts(found).keys() == set(chosen), "and no other corpus comes along"


def selected(lake: Warehouse, names: Sequence[str]) -> Artifact:
    rows = [{"utterance_id": name, "label": "calm", "probability": 0.9} for name in names]
    request = Request("selection", "made", 1, {"names": list(names)})
    return lake.materialize(request, lambda f: write_rows(f / "selection.parquet", rows, SELECTION))


def test_a_split_cites_what_it_stands_on_and_is_the_old_one_where_nothing_is_told_again(lake: Warehouse) -> None:
    here, heard, marked = utterances(lake, ROWS, "here"), retold(lake, "heard"), labels(lake, labels_of(ROWS))
    rules = protocol_of("drawn")
    plain = split_work(rules, "all", ["all"], [here], [marked]).request
    assert plain.inputs.keys() == {"utterances", "labels"} and "told" not in plain.params
    told = split_work(rules, "all", ["all"], [here], [marked], told=StandIns({"heard": "here"}, [heard])).request
    assert told.inputs == {**plain.inputs, "told": (heard.digest,)}
    assert told.params == {**plain.params, "told": {"heard": "here"}}


def test_two_corpora_with_the_same_own_ids_are_told_apart(lake: Warehouse) -> None:
    one, two = (utterances(lake, [utterance(f"{name}-1", corpus=name)], name) for name in ("one", "two"))
    row = read_table(two.path("utterances.parquet"), UTTERANCES).to_pylist()[0]
    told = utterances(lake, [retold_row(row, "again", {}), retold_row(row | {"utterance_id": "two-9"}, "again", {})])
    ids = read_ids(StandIns({"again": "two"}, [told, one]), [one, two])
    assert ids == {"again-1": "two-1", "one-1": "one-1"}, "and whose source is no longer read has no part"


def test_ids_there_and_back(lake: Warehouse) -> None:
    here = utterances(lake, ROWS, "here")
    split = split_of(protocol_of(), "1", ["1", "2", "3"], [here], [labels(lake, labels_of(ROWS))])[0].slice(0, 1)
    [row] = split.to_pylist()
    own = {"told-1": row["utterance_id"], "told-2": row["utterance_id"], "told-3": "elsewhere"}
    assert as_told(split, own).to_pylist() == [row | {"utterance_id": name} for name in ("told-1", "told-2")]
    assert as_told(split, own, ["told-2", "told-3"]).to_pylist() == [row | {"utterance_id": "told-2"}]
    assert as_read(split, {row["utterance_id"]: "x"}).to_pylist() == [row | {"utterance_id": "x"}]


def test_tables_and_leakage_are_of_what_is_told(lake: Warehouse) -> None:
    here, marked = utterances(lake, ROWS, "here"), labels(lake, labels_of(ROWS))
    heard = retold(lake, "heard", {row["utterance_id"] for row in ROWS[:5]})
    told = StandIns({"heard": "here"}, [heard])
    table = split_table(protocol_of("drawn"), [here], [marked], told)
    split = split_of(protocol_of("drawn"), "all", ["all"], [here], [marked], told=told)[0]
    n_told = sum(row["n_utterances"] for row in table if row["by"] == "class")
    assert n_told == split.num_rows == sum(row["n_utterances"] for row in table if row["by"] == "speaker")
    (found,) = protocol_leakage(protocol_of("drawn"), [here], [marked], told=told)
    assert sum(found.parts.values()) == n_told
