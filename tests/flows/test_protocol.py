from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows import protocol as protocols
from flows.protocol import PROTOCOLS, Protocol, describe, folds_of, read_protocol, split_work
from tests.flows.made import labels, utterance, utterances
from warehouse import Warehouse
from warehouse.errors import CountsDiffer, InvalidField, UnknownName
from warehouse.schema import SPLIT
from warehouse.tables import read_table

RULES: dict[str, Any] = {
    "id": "p", "reader": "made", "title": "t", "labels": {"hap": "happy", "exc": "happy", "sad": "sad"},
    "folds": "session", "test": "session = $fold", "dev": "session = $next",
}  # fmt: skip


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


@pytest.fixture
def corpus(lake: Warehouse) -> tuple[Any, Any]:
    """Three sessions of three utterances: happy, excited, sad; one more without a label of the protocol."""
    rows = [utterance(f"s{s}{label}", session=str(s)) for s in (1, 2, 3) for label in ("hap", "exc", "sad")]
    rows.append(utterance("s1other", session="1"))
    values = {row["utterance_id"]: row["utterance_id"][2:] for row in rows}
    return [utterances(lake, rows)], [labels(lake, values)]


def split(lake: Warehouse, rules: Protocol, corpus: tuple[Any, Any], fold: str, **more: Any) -> list[dict[str, Any]]:
    work = split_work(rules, fold, folds_of(rules, corpus[0]), *corpus, **more)
    return read_table(lake.perform(work).path("split.parquet"), SPLIT).to_pylist()


@pytest.mark.parametrize("path", sorted(PROTOCOLS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_protocol_is_read(path: Path) -> None:
    rules = read_protocol(path.stem)
    assert describe(rules)["id"] == path.stem
    assert set(rules.counts) <= set(rules.classes)


def test_folds_partition_the_protocol_and_every_utterance_is_tested_once(lake: Warehouse, corpus: Any) -> None:
    rules = Protocol(**RULES)
    folds = folds_of(rules, corpus[0])
    assert folds == ["1", "2", "3"]
    parts = {fold: split(lake, rules, corpus, fold) for fold in folds}
    tested = [row["utterance_id"] for rows in parts.values() for row in rows if row["part"] == "test"]
    assert len(tested) == len(set(tested)) == 9
    for fold, rows in parts.items():
        assert {row["utterance_id"][1] for row in rows if row["part"] == "test"} == {fold}
        assert {row["utterance_id"][1] for row in rows if row["part"] == "dev"} == {str(int(fold) % 3 + 1)}
        assert len(rows) == 9


def test_labels_are_mapped_and_others_left_out(lake: Warehouse, corpus: Any) -> None:
    rows = {row["utterance_id"]: row["label"] for row in split(lake, Protocol(**RULES), corpus, "1")}
    assert rows["s2exc"] == "happy" and rows["s2sad"] == "sad" and "s1other" not in rows


def test_without_labels_every_utterance_belongs(lake: Warehouse, corpus: Any) -> None:
    rules = Protocol(id="p", reader="made", title="t", dev="bucket(utterance_id, 2) = 0")
    rows = split(lake, rules, corpus, protocols.WHOLE)
    assert len(rows) == 10 and {row["label"] for row in rows} == {None}
    assert {row["part"] for row in rows} == {"train", "dev"}


def test_what_could_not_be_treated_is_left_out_and_part_of_identity(lake: Warehouse, corpus: Any) -> None:
    rules = Protocol(**RULES)
    assert len(split(lake, rules, corpus, "1", without=["s1hap"])) == 8
    keys = {split_work(rules, "1", ["1", "2", "3"], *corpus, without=w).request.key for w in ([], ["s1hap"])}
    assert len(keys) == 2


def test_counts_that_differ_are_listed_per_class(lake: Warehouse, corpus: Any) -> None:
    rules = Protocol(**RULES | {"counts": {"happy": 7, "sad": 3}})
    with pytest.raises(CountsDiffer, match=r"(?s)protocol 'p' must reproduce its counts.*happy +7 +6\nsad +3 +3"):
        split(lake, rules, corpus, "1")
    assert split(lake, Protocol(**RULES | {"counts": {"happy": 6, "sad": 3}}), corpus, "1")


def test_two_labels_of_one_utterance_are_refused(lake: Warehouse, corpus: Any) -> None:
    again = [*corpus[1], labels(lake, {"s1hap": "sad"})]
    with pytest.raises(InvalidField, match="field 'rater' gives utterance 's1hap' more than one label"):
        split(lake, Protocol(**RULES), (corpus[0], again), "1")


def test_a_predicate_that_is_no_sql_is_named(lake: Warehouse, corpus: Any) -> None:
    with pytest.raises(InvalidField, match="protocol 'p': field 'dev or test' is no SQL over utterances"):
        split(lake, Protocol(**RULES | {"test": "sesion = $fold"}), corpus, "1")


def test_a_fold_value_with_a_quote_is_only_a_value(lake: Warehouse) -> None:
    rows = [utterance("a", session="x' OR true --"), utterance("b", session="y")]
    corpus = ([utterances(lake, rows)], [labels(lake, {"a": "hap", "b": "sad"})])
    parts = {row["utterance_id"]: row["part"] for row in split(lake, Protocol(**RULES), corpus, "x' OR true --")}
    assert parts == {"a": "test", "b": "dev"}


def test_unknown_and_misnamed_protocols(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownName, match="no protocol 'emodb4-loso5'; did you mean 'emodb4-loso6'"):
        read_protocol("emodb4-loso5")
    monkeypatch.setattr(protocols, "PROTOCOLS", tmp_path)
    (tmp_path / "a.toml").write_text('id = "b"\nreader = "r"\ntitle = "t"\n')
    with pytest.raises(InvalidField, match=r"protocol 'a': field 'id' is 'b', but the file is a\.toml"):
        read_protocol("a")
    (tmp_path / "c.toml").write_text('id = "c"\ntitle = "t"\nsplits = 3\n')
    with pytest.raises(InvalidField, match="protocol 'c': field 'reader' is wrong: field required"):
        read_protocol("c")
