"""A protocol's own SQL: what it is asked of, and how it is asked. A protocol may come from anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa

from warehouse.artifact import Artifact
from warehouse.errors import InvalidField
from warehouse.schema import UTTERANCES
from warehouse.tables import check_files, groups_of, read_table

if TYPE_CHECKING:
    import duckdb

    from flows.protocol import Protocol

_TEXTS = {column.name for column in UTTERANCES if column.type == pa.string()}


def connection_over(utterances: Sequence[Artifact]) -> duckdb.DuckDBPyConnection:
    """`utterances` with one more column: `own_id` is the id without the name that the recipe gives the corpus, so that
    what is drawn does not depend on that name. The SQL reads no file.

    Raises:
        SchemaMismatch: a table of utterances is damaged.
    """
    from warehouse.questions import closed_memory

    connection = closed_memory()
    connection.execute("CREATE TEMP MACRO bucket(id, n) AS ('0x' || left(sha256(id), 8))::UBIGINT % n")
    tables = [read_table(a.path("utterances.parquet"), UTTERANCES) for a in utterances]
    register(connection, "_utterances", tables, UTTERANCES)
    connection.execute(
        "CREATE TEMP VIEW utterances AS SELECT *, CASE WHEN starts_with(utterance_id, corpus || '-') "
        "THEN utterance_id[length(corpus) + 2:] ELSE utterance_id END AS own_id FROM _utterances"
    )
    return connection


def distinct(protocol: Protocol, field: str, utterances: Sequence[Artifact]) -> list[str]:
    """What a protocol's expression gives over utterances, as text, each once and in the order of its bytes; NULL is
    nothing. Where it is a column of text, as folds as a rule are, no other is read and no database is asked.

    Args:
        field: of the protocol, which has the expression.

    Raises:
        InvalidField: it is no SQL.
        SchemaMismatch: a table of utterances is damaged.
    """
    expression = getattr(protocol, field)
    if expression in _TEXTS:
        paths = [a.path("utterances.parquet") for a in utterances]
        check_files(paths, UTTERANCES)
        groups = (group for path in paths for group in groups_of(path, [expression]))
        return sorted({value for group in groups for value in group.column(0).to_pylist()} - {None})
    query = f"SELECT DISTINCT ({expression})::VARCHAR AS found FROM utterances WHERE found IS NOT NULL ORDER BY found"
    with must_be_sql(protocol, field):
        return [row[0] for row in asked(connection_over(utterances), query).fetchall()]


def register(connection: duckdb.DuckDBPyConnection, name: str, tables: Sequence[pa.Table], schema: pa.Schema) -> None:
    """Tables of one schema, perhaps none, under one name."""
    connection.register(name, pa.concat_tables(tables) if tables else schema.empty_table())


@contextmanager
def must_be_sql(protocol: Protocol, fields: str, problem: str = "is no SQL over utterances") -> Iterator[None]:
    """Within it a protocol's own expressions are asked.

    Raises:
        InvalidField: DuckDB does not take them.
    """
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise InvalidField(f"protocol '{protocol.id}'", fields, f"{problem}: {error}") from error


def asked(connection: duckdb.DuckDBPyConnection, query: str) -> duckdb.DuckDBPyConnection:
    """Asks what holds a protocol's own words. They may not end the query and go on with another one, whose tables and
    macros other protocols of this process would meet (`warehouse.questions.closed_memory`)."""
    import duckdb

    statements = connection.extract_statements(query)
    if len(statements) > 1:
        raise duckdb.ParserException("it ends the statement that it is put into, and begins another")
    return connection.execute(statements[0])
