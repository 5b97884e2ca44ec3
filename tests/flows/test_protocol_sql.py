"""A protocol's SQL is asked of utterances, of no more than it needs, and of nothing else."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from flows import protocol_sql
from flows.protocol import Protocol
from flows.protocol_sql import asked, connection_over, must_be_sql
from tests.flows.made import utterance, utterances
from warehouse import Artifact, Warehouse
from warehouse.errors import InvalidField, SchemaMismatch


@pytest.fixture
def read(tmp_path: Path) -> list[Artifact]:
    """Two readings."""
    lake = Warehouse(tmp_path / "lake", create=True)
    return [utterances(lake, [utterance(name, session=name[1:]) for name in names]) for names in (["a1", "b2"], ["c1"])]


def answer(read: list[Artifact], expression: str, sql: str = "") -> list[tuple]:
    query = f"SELECT ({expression})::VARCHAR AS x FROM utterances ORDER BY x"
    return asked(connection_over(read, sql), query).fetchall()


@pytest.mark.parametrize("column", ["session", "utterance_id", "start_s", "attributes"])
def test_where_a_column_is_asked_for_no_other_is_read(
    read: list[Artifact], column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = answer(read, column)
    monkeypatch.setattr(protocol_sql, "read_table", None)
    assert answer(read, column, column) == expected and len(expected) == 3
    with pytest.raises(duckdb.BinderException, match="speaker_id"):
        answer(read, "speaker_id", column)
    with pytest.raises(TypeError):
        answer(read, column, f"({column})")


def test_ids_without_the_name_of_their_corpus(read: list[Artifact]) -> None:
    (corpus,) = {row[0] for row in answer(read, "corpus")}
    own = answer(read, f"utterance_id = own_id OR utterance_id = '{corpus}-' || own_id", "own_id")
    assert own == [("true",)] * 3


def test_damage_is_said_by_both_ways_to_read(read: list[Artifact]) -> None:
    path = read[1].path("utterances.parquet")
    path.write_bytes(path.read_bytes()[:-1])
    for sql in ("", "session"):
        with pytest.raises(SchemaMismatch, match=r"utterances\.parquet"):
            connection_over(read, sql)


def test_of_no_reading_there_is_nothing() -> None:
    assert answer([], "session") == answer([], "session", "session") == []


def test_only_one_statement_is_asked_and_a_mistake_is_the_protocols(read: list[Artifact]) -> None:
    with pytest.raises(duckdb.ParserException, match="it ends the statement that it is put into"):
        asked(connection_over(read), "SELECT 1; SELECT 2")
    rules = Protocol(id="p", reader="made", title="t")
    with (
        pytest.raises(InvalidField, match=r"protocol 'p': field 'folds' is no SQL over utterances: .*no_column"),
        must_be_sql(rules, "folds"),
    ):
        answer(read, "no_column")
