"""A protocol's SQL is asked of utterances, of no more than it needs, and of nothing else."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from flows import protocol_sql
from flows.protocol import Protocol
from flows.protocol_sql import asked, connection_over, distinct
from tests.flows.made import utterance, utterances
from warehouse import Artifact, Warehouse
from warehouse.errors import InvalidField, SchemaMismatch

SESSIONS = (["2", "10", "", "é"], ["Z", "z", "2", "\uffee"], ["\U0001f600", "e\u0301"])


@pytest.fixture
def read(tmp_path: Path) -> list[Artifact]:
    """Three readings."""
    lake = Warehouse(tmp_path / "lake", create=True)
    return [
        utterances(lake, [utterance(f"u{number}{place}", session=name) for place, name in enumerate(names)])
        for number, names in enumerate(SESSIONS)
    ]  # fmt: skip


def found(read: list[Artifact], expression: str) -> list[str]:
    return distinct(Protocol(id="p", reader="made", title="t", folds=expression), "folds", read)


@pytest.mark.parametrize("column", ["session", "utterance_id", "speaker_id", "split"])
def test_a_column_of_text_is_read_alone_and_gives_what_the_database_does(
    read: list[Artifact], column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = found(read, f"({column})")
    monkeypatch.setattr(protocol_sql, "connection_over", None)
    assert found(read, column) == expected != []
    with pytest.raises(TypeError):
        found(read, f"({column})")


def test_values_are_told_once_and_in_the_order_of_their_bytes(read: list[Artifact]) -> None:
    told = found(read, "session")
    assert told == sorted({name for names in SESSIONS for name in names}, key=str.encode) and len(told) == 9


def test_other_expressions_are_asked_of_the_database(read: list[Artifact]) -> None:
    """NULL is nothing."""
    assert found(read, "start_s") == ["0.0"] and found(read, "nullif(speaker_id, speaker_id)") == []
    assert found(read, "length(session)") == ["0", "1", "2"] and found([], "session") == found([], "start_s") == []


def test_ids_without_the_name_of_their_corpus(read: list[Artifact]) -> None:
    (corpus,) = found(read, "corpus")
    assert found(read, f"utterance_id = own_id OR utterance_id = '{corpus}-' || own_id") == ["true"]


def test_damage_is_said_by_both_ways_to_read(read: list[Artifact]) -> None:
    path = read[1].path("utterances.parquet")
    path.write_bytes(path.read_bytes()[:-1])
    for expression in ("session", "(session)"):
        with pytest.raises(SchemaMismatch, match=r"utterances\.parquet"):
            found(read, expression)


def test_only_one_statement_is_asked_and_a_mistake_is_the_protocols(read: list[Artifact]) -> None:
    with pytest.raises(duckdb.ParserException, match="it ends the statement that it is put into"):
        asked(connection_over(read), "SELECT 1; SELECT 2")
    with pytest.raises(InvalidField, match=r"protocol 'p': field 'folds' is no SQL over utterances: .*no_column"):
        found(read, "no_column")
