"""The catalog as a DuckDB file that any DuckDB client opens: `duckdb -readonly lake/catalog.duckdb`.

It is derived, as everything in it is: what is small is stored, rows stay in Parquet and the views name the files. It
is written aside and renamed, and nobody here holds it open: whoever reads an older one reads on, and several processes
may write one at once, of which the last stands. Files are named by absolute paths, because DuckDB takes others from
where a client happens to be: a lake that was moved has a stale catalog.
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from warehouse import views
from warehouse.audit.errors import NotACatalog
from warehouse.described import column_sentence, view_sentence
from warehouse.errors import QueryFailed
from warehouse.hashing import digest
from warehouse.objects import N_AT_ONCE, at_once
from warehouse.questions import closed_connection
from warehouse.schema import FORMAT
from warehouse.store import Warehouse

CATALOG = "catalog.duckdb"
VERSION = 1
"""Raised when the same lake gives another catalog."""

_GROUPS = ("aligners", "corpora", "features", "reports")
_PYTHON = re.compile(r"\b(?:track|mean_over|means_over|partners|krippendorff_alpha)\(")
"""What only our own connections can do (`warehouse.functions`, `.disagreement`, `.agreement`)."""

_ALONE: dict[str, Any] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
"""What lies at a path may be the database of another program: it is not worth an extension."""

_STORED = ("agreement",)
"""Views that need Python and are small: kept as tables."""

_WHY = "it calls Python: ask `emolake sql`, or Warehouse.sql"


@dataclass(frozen=True)
class Catalog:
    """A catalog file: where, whether it was written now, and which views it cannot have."""

    path: Path
    is_new: bool
    left_out: tuple[str, ...]


def catalog(
    warehouse: Warehouse, path: Path | None = None, progress: Callable[[int, int], None] = lambda done, total: None
) -> Catalog:
    """Writes the catalog file of a lake where it is absent or stale. Outside of the lake no other file is replaced.

    The views that call Python are left out, and stand in its table `left_out`; `agreement` is stored as it is now. That
    of a lake on a store is of this host's copy, into which all tables are fetched first: other clients open files.

    Args:
        path: where; without one, in the lake, or in the copy.
        progress: told tables that are here and their number, of a lake on a store.

    Raises:
        NotACatalog: something else is there.
        QueryFailed: the lake is damaged. StoreFails, FileLost, OtherBytes: on a store.
    """
    if warehouse.store is not None:
        _fetch_tables(warehouse, progress)  # what the state rests on, and most of what there is to fetch
    path = (path or warehouse.root / CATALOG).absolute()
    state = state_of(warehouse)
    found = _left_out(path, state)
    if found is not None:
        return Catalog(path, False, found)
    if path != warehouse.root / CATALOG and path.exists():
        _refuse_others(path)
    try:
        with warehouse.scratch("catalog", is_announced=True) as folder:
            while warehouse.store is not None and _fetch_tables(warehouse, progress):
                state = state_of(warehouse)  # another process of this host may list more, which the views are of too
            left_out = _build(warehouse, folder / CATALOG, state)
            _into_place(folder / CATALOG, path)
    except duckdb.Error as error:
        raise QueryFailed(f"the lake is damaged, see `emolake verify` ({error})") from error
    return Catalog(path, True, left_out)


def _fetch_tables(warehouse: Warehouse, progress: Callable[[int, int], None]) -> int:
    """Has every table that the views are of on this disk; how many it fetched."""
    tables = [(a, name) for a in warehouse.artifacts() for name in a.files if name.endswith(".parquet")]
    absent = [(artifact, name) for artifact, name in tables if not artifact.is_here(name)]
    for start in range(0, len(absent), N_AT_ONCE):
        at_once(lambda one: one[0].path(one[1]), absent[start : start + N_AT_ONCE])
        progress(min(start + N_AT_ONCE, len(absent)), len(absent))
    return len(absent)


def state_of(warehouse: Warehouse) -> str:
    """The digest of all that a catalog depends on: where the lake is, which artifacts it has, what its names mean."""
    refs = {group: warehouse.refs(group) for group in _GROUPS}
    keys = sorted(artifact.key for artifact in warehouse.artifacts())
    return digest([VERSION, FORMAT, duckdb.__version__, str(warehouse.root), keys, refs])


def _left_out(path: Path, state: str) -> tuple[str, ...] | None:
    """What the catalog of this state lacks; None where there is none, or that of another state."""
    if not path.exists():
        return None
    try:
        with duckdb.connect(str(path), read_only=True, config=_ALONE) as connection:
            if connection.execute("SELECT state FROM catalog").fetchall() != [(state,)]:
                return None
            return tuple(name for (name,) in connection.execute('SELECT "view" FROM left_out').fetchall())
    except duckdb.Error:  # damaged, of another version, or open for writing elsewhere: a new one does no harm
        return None


def _refuse_others(path: Path) -> None:
    """Lets pass the catalog of any lake and state."""
    try:
        with duckdb.connect(str(path), read_only=True, config=_ALONE) as connection:
            connection.execute("SELECT lake, state, why FROM catalog, left_out").fetchall()
    except duckdb.Error as error:
        raise NotACatalog(path, str(error).partition("\n")[0]) from error


def _build(warehouse: Warehouse, path: Path, state: str) -> tuple[str, ...]:
    readable = [warehouse.root / "artifacts", path.parent]
    with closed_connection(readable, path.parent / "spill", path) as connection:
        views.create(connection, warehouse)
        for name in _STORED:
            connection.execute(f"CREATE TABLE stored AS FROM {name}")
            connection.execute(f"DROP VIEW {name}")
            connection.execute(f"ALTER TABLE stored RENAME TO {name}")
        left_out = _python_views(connection)
        for name in left_out:
            connection.execute(f"DROP VIEW {_named(name)}")
        connection.execute('CREATE TABLE left_out ("view" VARCHAR, why VARCHAR)')
        for name in left_out:
            connection.execute("INSERT INTO left_out VALUES ($name, $why)", {"name": name, "why": _WHY})
        connection.execute("CREATE TABLE catalog (lake VARCHAR, state VARCHAR)")
        connection.execute("INSERT INTO catalog VALUES ($lake, $state)", {"lake": str(warehouse.root), "state": state})
        _comment(connection)
    return left_out


def _python_views(connection: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    """The views that call Python, and those that read them."""
    rows = connection.execute("SELECT view_name, sql FROM duckdb_views() WHERE NOT internal ORDER BY view_name")
    queries = {name: sql.partition(" AS ")[2] for name, sql in rows.fetchall()}
    found = {name for name, query in queries.items() if _PYTHON.search(query)}
    while more := {
        name for name, query in queries.items() if name not in found
        and any(re.search(rf"\b{re.escape(other)}\b", query) for other in found)
    }:  # fmt: skip
        found |= more
    return tuple(sorted(found))


def _comment(connection: duckdb.DuckDBPyConnection) -> None:
    """What `warehouse.described` says, where DuckDB's clients show it."""
    tables = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    columns = connection.execute("SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal").fetchall()
    for view in dict.fromkeys(name for name, _ in columns):
        form = "TABLE" if view in tables else "VIEW"
        connection.execute(f"COMMENT ON {form} {_named(view)} IS {_text(view_sentence(view))}")
    for view, column in columns:
        says = _text(column_sentence(view, column))
        connection.execute(f"COMMENT ON COLUMN {_named(view)}.{_named(column)} IS {says}")


def _into_place(made: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        shutil.move(made, beside)  # a copy where `path` is on another disk
        with open(beside, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _named(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
