"""DuckDB connections that can read a few folders and nothing else, and what may be asked of them.

Two walls, because each has a hole where the other stands. DuckDB's own settings keep every file outside the folders
that are named, the network, extensions and other databases away, whatever the query says and however it says it
(`..`, links, `query('…')`); but in these folders DuckDB could also write. So a query is read before it runs, and only
one SELECT passes: no statement of another kind, and none inside a WITH, where DuckDB 2 takes COPY and INSERT too.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from warehouse.errors import QueryFailed

_SETTINGS: dict[str, Any] = {
    "allow_community_extensions": False, "allow_persistent_secrets": False, "autoinstall_known_extensions": False,
    "autoload_known_extensions": False, "python_enable_replacements": False,
}  # fmt: skip

_READING = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE", "STATEMENT_NODE"}
"""What a query that only reads is made of, in DuckDB's words."""

_NODE = re.compile(r'"type":"([A-Z_]+_NODE)"')  # in a text the quotation marks would have backslashes
_CALLED = re.compile(r'"function_name":"([^"]+)"')
_RUNS_TEXT = {"json_execute_serialized_sql", "query", "query_table"}
"""Functions that run what a text says, which nobody here has read."""

_WRITES = {
    "alter", "attach", "copy", "create", "delete", "drop", "export", "import", "insert", "install", "load", "merge",
    "truncate", "update",
}  # fmt: skip
"""Words that no PIVOT may hold, not even in a text: DuckDB carries out what stands in its WITH before it can be asked
whether it writes."""

_END = "; \t\r\n"
_REFUSED = "it must be one SELECT; the lake is changed by flows only"


def closed_connection(
    readable: Sequence[Path] = (), spill: Path | None = None, database: Path | str = ":memory:", files: Any = None
) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection that reads files below these folders only, reaches no network, loads no extension,
    sees no variable of the program that asks, and whose settings are locked.

    Links are followed before a path is judged: one that leads out of the folders is refused, and a folder that is
    itself reached through a link is not.

    Args:
        readable: folders.
        spill: a folder, made when a query needs more than the memory, and removed with the connection; that which it
            lies in must exist. None: nowhere.
        database: a file to write; it must lie in one of the folders.
        files: an fsspec filesystem that itself gives nothing but what may be read (`warehouse.remote_files`).
    """
    connection = duckdb.connect(str(database), config=_SETTINGS | {"temp_directory": str(spill or "")})
    folders = [str(folder) for folder in readable]
    # A path with * ? [ is given to DuckDB escaped, and judged as it is written too.
    allowed = dict.fromkeys([*folders, *map(glob.escape, folders)])
    if files is not None:
        connection.register_filesystem(files)
        allowed[f"{files.protocol}://"] = None
    connection.execute("SET allowed_directories = $folders", {"folders": list(allowed)})
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def closed_memory() -> duckdb.DuckDBPyConnection:
    """A connection that reads no file at all, for tables that are registered with it. All of a process are to one
    database, whose start takes 30 ms: what is registered, set or temporary is each one's own, and nothing else may be
    made there."""
    return _memory().cursor()


@cache
def _memory() -> duckdb.DuckDBPyConnection:
    return closed_connection()


def refuse_unless_question(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: Mapping[str, Any] | None = None
) -> None:
    """Lets pass what is one SELECT through and through; DuckDB's own errors pass as they are.

    The hard case is PIVOT: DuckDB makes several statements of it and shows none of them. It is bound inside brackets,
    where DuckDB itself refuses whatever writes, and must not so much as name a function that runs text.

    Raises:
        QueryFailed: it is anything else, or several.
    """
    statements = connection.extract_statements(query)
    if len(statements) != 1:
        raise QueryFailed(_REFUSED)
    kind = statements[0].type
    if kind == duckdb.StatementType.MULTI:
        words = set(re.findall(r"\w+", query.lower()))
        _refuse_text(words)
        if words & _WRITES:
            raise QueryFailed(f"{_REFUSED}, and a PIVOT must not hold the word '{min(words & _WRITES)}'")
        try:
            connection.execute(f"EXPLAIN FROM ({query.rstrip(_END)}\n)", parameters).fetchall()
        except duckdb.ParserException as error:
            if "PIVOT statement" in str(error):  # DuckDB has a say of its own
                raise
            raise QueryFailed(_REFUSED) from error  # it was no error outside the brackets
    elif kind != duckdb.StatementType.SELECT:
        raise QueryFailed(_REFUSED)
    else:
        ((tree,),) = connection.execute("SELECT json_serialize_sql($query)", {"query": query}).fetchall()
        nodes = set(_NODE.findall(tree))
        if not nodes or nodes - _READING:
            raise QueryFailed(_REFUSED)
        _refuse_text(set(_CALLED.findall(tree)))


def _refuse_text(called: set[str]) -> None:
    for name in sorted(called & _RUNS_TEXT):
        raise QueryFailed(f"{_REFUSED}, and {name}(…) runs what a text says")
