"""From which columns of which files a column of a view comes: asked of DuckDB, which has to know it to read them.

Each view is made again over empty tables that stand for the files, one per kind and file, and the plan for its column
says what is read of each. So a view that is added is understood without a word about it here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import duckdb

from warehouse import views
from warehouse.errors import UnknownName
from warehouse.store import Warehouse

VALUE, ROWS, EITHER = "its value", "which rows there are", "its value or which rows there are"
_MANIFESTS, _NONE = "(manifests and names)", "(none in the lake)"
_FOLDER = "(its folder)"
_PLANNED: dict[str, Any] = {
    "disabled_optimizers": "statistics_propagation"
}  # else an empty table is not planned to be read


@dataclass(frozen=True)
class Source:
    """A column that is read: of which kind and file, and what for. What comes from manifests and names, as `artifacts`
    does, or from files of which there are none yet, has the table in the place of the file; the name of the folder that
    a file lies in is a column too."""

    kind: str
    file: str
    column: str
    role: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def sources_of(warehouse: Warehouse, column: str) -> list[Source]:
    """The columns that a view's column is made from, and those that only decide which rows there are, as the keys of a
    join and the filters do: what a count of the view's rows reads too, unless it has the very name. The hard case is
    a view whose rows are unfolded from what is computed (`means_lld`): there a count reads everything, and which of it
    is the value cannot be told.

    Args:
        column: 'metrics.value', 'means_lld.mean'.

    Raises:
        UnknownName: no such view, or it has no such column.
    """
    with asking(warehouse) as sources:
        return sources(column)


@contextmanager
def asking(warehouse: Warehouse) -> Iterator[Callable[[str], list[Source]]]:
    """`sources_of` for many columns of a lake as it is now."""
    with duckdb.connect(config=_PLANNED) as connection:
        views.create(connection, warehouse)
        query = "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal ORDER BY ALL"
        columns: dict[str, list[str]] = {}
        for table, column in connection.execute(query).fetchall():
            columns.setdefault(table, []).append(column)
        stubs = _over_stubs(connection)
        yield partial(_sources, connection, columns, stubs)


def _sources(
    connection: duckdb.DuckDBPyConnection, columns: Mapping[str, Sequence[str]],
    stubs: Mapping[str, list[tuple[str, str]]], column: str,
) -> list[Source]:  # fmt: skip
    view, _, name = column.partition(".")
    if view not in columns:
        raise UnknownName("view", view, columns)
    if name not in columns[view]:
        raise UnknownName(f"column of {view}", name, columns[view])
    counted = _read(connection, f"SELECT count(*) FROM {_quoted(view)}")
    asked = _read(connection, f"SELECT {_quoted(name)} FROM {_quoted(view)}")
    value = {one for one in asked if one not in counted or one[1] == name}
    other = ROWS if value else EITHER
    found = []
    for table, own in asked:
        if table in stubs:
            places = stubs[table]
        else:
            is_empty = not connection.table(_quoted(table)).limit(1).fetchall()
            places = [(_NONE if is_empty else _MANIFESTS, table)]
        role = VALUE if (table, own) in value else other
        found += [Source(*place, _FOLDER if own == "filename" else own, role) for place in places]
    return sorted(found, key=lambda source: (source.role != VALUE, source.kind, source.file, source.column))


def _over_stubs(connection: duckdb.DuckDBPyConnection) -> dict[str, list[tuple[str, str]]]:
    """Makes every view again over empty tables in the place of files: name of such a table -> (kind, file) that it
    stands for."""
    stubs: dict[str, list[tuple[str, str]]] = {}
    known: dict[tuple[str, ...], str] = {}
    query = "SELECT view_name, sql FROM duckdb_views() WHERE NOT internal ORDER BY view_oid"
    for view, sql in connection.execute(query).fetchall():
        tree = _tree(connection, sql.partition(" AS ")[2].rstrip("; \n"))
        for node in list(_scans(tree)):
            files = tuple(_texts(node["function"]["arguments"][0]))
            if files not in known:
                known[files] = f"stub_{len(known)}"
                connection.execute(
                    f"CREATE TABLE {known[files]} AS SELECT * FROM read_parquet($files, union_by_name = true, "
                    "filename = true, hive_partitioning = false) LIMIT 0",
                    {"files": list(files)},
                )
                paths = (PurePosixPath(file) for file in files)
                stubs[known[files]] = sorted({(path.parts[-3], path.name) for path in paths})
            table = _tree(connection, f"FROM {known[files]}")["statements"][0]["node"]["from_table"]
            alias = node["alias"]
            node.clear()
            node |= table | {"alias": alias}
        ((text,),) = connection.execute("SELECT json_deserialize_sql($tree)", {"tree": json.dumps(tree)}).fetchall()
        connection.execute(f"CREATE OR REPLACE VIEW {_quoted(view)} AS {text}")
    return stubs


def _read(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[str, str]]:
    """(table, column) of all that a query reads."""
    ((_, plan),) = connection.execute(f"EXPLAIN (FORMAT json) {query}").fetchall()
    found: dict[tuple[str, str], None] = {}
    waiting = list(json.loads(plan))
    while waiting:
        node = waiting.pop()
        waiting += node["children"]
        told = node["extra_info"]
        if "Table" in told:
            columns = told.get("Projections", [])
            table = told["Table"].rpartition(".")[2].strip('"')
            found |= dict.fromkeys((table, column) for column in ([columns] if isinstance(columns, str) else columns))
    return list(found)


def _tree(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, Any]:
    ((text,),) = connection.execute("SELECT json_serialize_sql($query)", {"query": query}).fetchall()
    tree: dict[str, Any] = json.loads(text)
    return tree


def _scans(tree: Any) -> Iterator[dict[str, Any]]:
    """The nodes of a parsed query that read Parquet files."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if node.get("type") == "TABLE_FUNCTION" and node["function"].get("function_name") == "read_parquet":
                yield node
            else:
                waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def _texts(tree: Any) -> Sequence[str]:
    """The texts that stand in a part of a parsed query, in their order."""
    if isinstance(tree, dict):
        literal = tree.get("literal")
        if isinstance(literal, dict) and literal.get("kind") == "STRING":
            return [literal["text"]]
        return [text for inner in tree.values() for text in _texts(inner)]
    return [text for inner in tree for text in _texts(inner)] if isinstance(tree, list) else []


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
