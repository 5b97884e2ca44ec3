"""What differs between two readings of a corpus, two artifacts, or two sets of features: rows and columns.

A reference names a side:

* `corpora/meld`: its raw files, utterances and labels as last ingested; `corpora/meld@2026-05-01`: as they were at the
  end of that day, or `@2026-05-01T12:00+00:00` at that moment; `corpora/meld@reports/demo`: as that report used them.
  Where the corpus was read again later, that moment has the newest reading of each unit until then: that the corpus had
  gone back to an older reading by then, or had dropped a unit, is written nowhere and cannot be seen.
* `features/lld`, `aligners/mfa`: every row in the namespace that recipes call so.
* anything else: one artifact, as everywhere.
"""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from warehouse.artifact import Artifact
from warehouse.audit.errors import NothingAsOf, NothingToCompare
from warehouse.audit.lineage import closure_up
from warehouse.audit.past import Past, moment_of
from warehouse.errors import ArtifactNotFound, QueryFailed
from warehouse.hashing import short_digest
from warehouse.merged import live
from warehouse.questions import closed_connection
from warehouse.store import Warehouse

KEYS: Mapping[str, tuple[str, ...]] = {
    "files": ("path",),
    "survey": ("unit", "name"),
    "utterances": ("utterance_id",),
    "labels": ("utterance_id", "scheme", "rater"),
    "intervals": ("input_id", "tier", "position"),
    "features": ("input_id",),
    "failures": ("input_id", "utterance_id", "step"),
    "split": ("utterance_id", "part"),
    "truth": ("utterance_id", "part"),
    "votes": ("utterance_id", "label"),
    "selection": ("utterance_id",),
    "index": ("utterance_id",),
    "predictions": ("utterance_id", "part"),
    "metrics": ("protocol", "variant", "fold", "seed", "part", "metric"),
}
"""Table -> what a row is found by on the other side. A table that is not here has whole rows for keys: they come and
go, and none changes."""

_CORPUS_TABLES = {"raw": "files", "utterances": "utterances", "labels": "labels"}
_ROOMS = {"features": "features", "aligners": "intervals"}
_CELL = ("_shape", "_dtype")  # what stands beside the bytes of an array
_NUMBERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE"}
_ORDERED = _NUMBERS | {"VARCHAR", "BOOLEAN"}
_ARRAYS_AT_ONCE = 256


@dataclass(frozen=True)
class Side:
    """What is compared: table -> the files with its rows. In a namespace two artifacts may have answered one input: the
    rows of the first by key count then, as in the views."""

    name: str
    tables: Mapping[str, tuple[Path, ...]]
    is_namespace: bool = False


@dataclass(frozen=True)
class ColumnChange:
    """A column in which rows of both sides differ: in how many and, of numbers, by how much at most (None where that
    cannot be said, as of arrays of another shape)."""

    column: str
    n_rows: int
    largest: float | None = None


@dataclass(frozen=True)
class Example:
    """One difference: `change` is 'added', 'removed' or 'changed'; of the latter also the column and both cells."""

    change: str
    row: Mapping[str, Any]
    column: str = ""
    before: Any = None
    after: Any = None


@dataclass(frozen=True)
class TableChange:
    """The differences of one table, and the columns that only one side has."""

    table: str
    n_before: int
    n_after: int
    added: int
    removed: int
    changed: int
    columns: Sequence[ColumnChange]
    only_before: Sequence[str]
    only_after: Sequence[str]
    examples: Sequence[Example]

    @property
    def is_same(self) -> bool:
        return not (self.added or self.removed or self.changed or self.only_before or self.only_after)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def side_of(warehouse: Warehouse, reference: str) -> Side:
    """The tables that a reference means.

    Raises:
        ArtifactNotFound, AmbiguousReference: it means nothing, or several things.
        NothingAsOf: the corpus was not there then, or the report did not use it.
    """
    group, _, rest = reference.partition("/")
    name, _, when = rest.partition("@")
    if group == "corpora" and name:
        return Side(reference, _corpus(warehouse, name, when))
    ref = warehouse.ref(reference) if group in _ROOMS else None
    if ref is not None:
        kind = _ROOMS[group]
        made = live(warehouse.artifacts(kind))
        own = [a for a in made if short_digest(a.request.params["plugin"]) == ref["plugin_key"]]
        own.sort(key=lambda artifact: artifact.key)
        tables = {table: tuple(a.path(f"{table}.parquet") for a in own) for table in (kind, "failures")}
        return Side(reference, tables if own else {}, is_namespace=True)
    artifact = warehouse.resolve(reference)
    files = sorted(file for file in artifact.files if file.endswith(".parquet"))
    return Side(reference, {Path(file).stem: (artifact.path(file),) for file in files})


def _corpus(warehouse: Warehouse, name: str, when: str) -> dict[str, tuple[Path, ...]]:
    ref, until = warehouse.ref(f"corpora/{name}"), moment_of(when)
    if not when and ref is None:
        raise ArtifactNotFound(f"corpora/{name}")
    if ref is not None and (not when or (until and not _read_after(warehouse, name, until))):
        found = [_read(warehouse, digest) for kind in _CORPUS_TABLES for digest in dict.fromkeys(ref[kind])]
    else:
        artifacts = (Past(warehouse, until) if until else warehouse).artifacts()
        used = None if until else closure_up(artifacts, [warehouse.resolve(when).key])
        found = [
            a for a in artifacts
            if a.request.params.get("corpus") == name and (used is None or a.key in used)
        ]  # fmt: skip
        if until:  # of each unit the newest reading
            found = list({(a.request.kind, a.request.params.get("unit")): a for a in found}.values())
        if not any(a.request.kind == "utterances" for a in found):
            raise NothingAsOf(name, when)
    files = {
        table: tuple(a.path(f"{table}.parquet") for a in found if a.request.kind == kind)
        for kind, table in _CORPUS_TABLES.items()
    }
    return {table: paths for table, paths in files.items() if paths}


def _read_after(warehouse: Warehouse, name: str, until: datetime) -> bool:
    return any(
        a.request.kind in _CORPUS_TABLES and a.request.params.get("corpus") == name
        and datetime.fromisoformat(a.created_at) > until
        for a in warehouse.artifacts()
    )  # fmt: skip


def _read(warehouse: Warehouse, digest: str) -> Artifact:
    found = warehouse.with_digest(digest)
    if not found:
        raise ArtifactNotFound(digest)
    return found[0]


def diff(before: Side, after: Side, n_examples: int = 10) -> list[TableChange]:
    """Every table that both sides could have, and how it changed.

    Rows are matched by the table's key (`KEYS`); where several rows share one, by their order among these.
    Where the sides' tables share no column, all rows of the one went and all of the other came.

    Raises:
        NothingToCompare: the sides have no table in common.
        QueryFailed: a table cannot be read.
    """
    tables = [name for name in before.tables if name in after.tables]
    if not tables:
        raise NothingToCompare(before.name, list(before.tables), after.name, list(after.tables))
    folders = {path.parent for side in (before, after) for name in tables for path in side.tables[name]}
    try:
        with (
            tempfile.TemporaryDirectory() as spill,
            closed_connection(sorted(folders), Path(spill) / "spill") as connection,
        ):
            return [_table_change(connection, name, before, after, n_examples) for name in tables]
    except duckdb.Error as error:
        raise QueryFailed(f"a table of '{before.name}' or '{after.name}' cannot be read ({error})") from error


def _table_change(
    connection: duckdb.DuckDBPyConnection, table: str, before: Side, after: Side, n_examples: int
) -> TableChange:
    ours, theirs = (_columns(connection, view, side, table) for view, side in (("before", before), ("after", after)))
    both = [name for name in ours if name in theirs]
    only_before, only_after = [n for n in ours if n not in theirs], [n for n in theirs if n not in ours]
    if not both:
        query = "SELECT (SELECT count(*) FROM before), (SELECT count(*) FROM after)"
        ((removed, added),) = connection.execute(query).fetchall()
        return TableChange(table, removed, added, added, removed, 0, [], only_before, only_after, [])
    keys = [name for name in KEYS.get(table, both) if name in both] or both
    shared = [name for name in both if name not in keys]
    order = [name for name in shared if ours[name] in _ORDERED and theirs[name] in _ORDERED]
    for view in ("before", "after"):
        nth = f"row_number() OVER (PARTITION BY {_list(keys)} ORDER BY {_list([*keys, *order])})"
        if not _shares_keys(connection, view, keys):  # sorting would take longer than all else
            nth = "1"
        connection.execute(
            f"CREATE OR REPLACE TEMP VIEW {view}_rows AS SELECT *, {nth} AS nth, true AS here FROM {view}"
        )
    same_key = " AND ".join(f"b.{name} IS NOT DISTINCT FROM a.{name}" for name in [*map(_named, keys), "nth"])
    matched = f"before_rows AS b FULL JOIN after_rows AS a ON {same_key}"
    arrays = [name for name in shared if all(f"{name}{end}" in shared for end in _CELL)]
    beside = {f"{name}{end}" for name in arrays for end in _CELL}
    compared = [name for name in shared if name not in beside]
    differs = {name: _differs([name, *(f"{name}{end}" for end in _CELL if name in arrays)]) for name in compared}
    counts = [
        "count(b.here)", "count(a.here)", "count(*) FILTER (b.here IS NULL)", "count(*) FILTER (a.here IS NULL)",
        f"count(*) FILTER ({' OR '.join(differs.values()) or 'false'})",
        *(f"count(*) FILTER ({test})" for test in differs.values()),
        *(_largest(name, ours[name], theirs[name]) for name in compared),
    ]  # fmt: skip
    ((n_before, n_after, added, removed, changed, *more),) = connection.execute(
        f"SELECT {', '.join(counts)} FROM {matched}"
    ).fetchall()
    columns = [
        ColumnChange(name, n, _largest_of_arrays(connection, matched, name) if name in arrays else largest)
        for name, n, largest in zip(compared, more[: len(compared)], more[len(compared) :], strict=True) if n
    ]  # fmt: skip
    tests = {c.column: differs[c.column] for c in columns}
    examples = list(_examples(connection, matched, keys, removed, added, tests, n_examples))
    return TableChange(table, n_before, n_after, added, removed, changed, columns, only_before, only_after, examples)


def _answers_twice(connection: duckdb.DuckDBPyConnection, files: Sequence[str]) -> bool:
    """Whether two files have rows about one input, of which the first then counts: to look for that in each row, with
    all its columns, takes much longer."""
    read = "FROM read_parquet($files, hive_partitioning = false)"
    query = f"SELECT 1 {read} GROUP BY input_id HAVING min(file_index) <> max(file_index)"
    ((found,),) = connection.execute(f"SELECT EXISTS ({query})", {"files": files}).fetchall()
    return bool(found)


def _shares_keys(connection: duckdb.DuckDBPyConnection, view: str, keys: Sequence[str]) -> bool:
    """Whether two rows of a side have the same key."""
    query = f"SELECT EXISTS (FROM (SELECT 1 FROM {view} GROUP BY {_list(keys)} HAVING count(*) > 1))"
    ((found,),) = connection.execute(query).fetchall()
    return bool(found)


def _columns(connection: duckdb.DuckDBPyConnection, view: str, side: Side, table: str) -> dict[str, str]:
    """Makes the view of a side's table, with columns as `_named`; column -> DuckDB's type."""
    files = [glob.escape(str(path)) for path in side.tables[table]]
    rows = connection.read_parquet(files, union_by_name=True, hive_partitioning=False)
    types = dict(zip(rows.columns, map(str, rows.types), strict=True))
    if side.is_namespace and _answers_twice(connection, files):
        file = "f" * (max(map(len, types)) + 1)  # longer than any column, so it is none
        query = f"FROM read_parquet($files, union_by_name = true, hive_partitioning = false, filename = '{file}')"
        query += f" QUALIFY {file} = min({file}) OVER (PARTITION BY input_id)"
        rows = connection.sql(query, params={"files": files})
    rows.project(", ".join(f"{_quoted(name)} AS {_named(name)}" for name in types)).create_view(view, replace=True)
    return types


def _named(name: str) -> str:
    """A column in SQL, under a name that no helper beside it can have."""
    return _quoted(f"={name}")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _list(names: Iterable[str]) -> str:
    return ", ".join(map(_named, names))


def _differs(names: Sequence[str]) -> str:
    either = " OR ".join(f"b.{name} IS DISTINCT FROM a.{name}" for name in map(_named, names))
    return f"(b.here AND a.here AND ({either}))"


def _largest(name: str, ours: str, theirs: str) -> str:
    """The largest difference of a column of numbers, in SQL; NULL for any other."""
    return f"max(abs(b.{_named(name)} - a.{_named(name)}))::DOUBLE" if {ours, theirs} <= _NUMBERS else "NULL"


def _largest_of_arrays(connection: duckdb.DuckDBPyConnection, matched: str, name: str) -> float | None:
    """The largest difference between the numbers of two arrays, over all rows; None where one has another shape or
    dtype than its counterpart."""
    own = [_named(f"{name}{end}") for end in ("", *_CELL)]
    cells = ", ".join(f"b.{cell}, a.{cell}" for cell in own)
    rows = connection.execute(f"SELECT {cells} FROM {matched} WHERE b.here AND a.here AND b.{own[0]} != a.{own[0]}")
    largest = 0.0
    while batch := rows.fetchmany(_ARRAYS_AT_ONCE):
        for ours, theirs, shape, other_shape, dtype, other_dtype in batch:
            if (shape, dtype) != (other_shape, other_dtype):
                return None
            numbers = [np.frombuffer(cell, np.dtype(dtype).newbyteorder("<")) for cell in (ours, theirs)]
            kind = np.complex128 if numbers[0].dtype.kind == "c" else np.float64
            largest = max(largest, float(np.abs(numbers[0].astype(kind) - numbers[1].astype(kind)).max()))
    return largest


def _examples(
    connection: duckdb.DuckDBPyConnection, matched: str, keys: Sequence[str], removed: int, added: int,
    differs: Mapping[str, str], most: int,
) -> Iterator[Example]:  # fmt: skip
    """Of each sort of change that there is the first rows by key; bytes are told by their number."""
    named = ", ".join(f"coalesce(b.{key}, a.{key}) AS {key}" for key in map(_named, keys))

    def rows(where: str, more: str = "") -> Iterator[tuple[Any, ...]]:
        query = f"SELECT {named}{more} FROM {matched} WHERE {where} ORDER BY {_list(keys)} LIMIT {most}"
        yield from connection.execute(query).fetchall()

    for change, absent, n in (("removed", "a", removed), ("added", "b", added)):
        for row in rows(f"{absent}.here IS NULL") if n and most else ():
            yield Example(change, dict(zip(keys, row, strict=True)))
    for column, test in differs.items() if most else ():
        for cells in rows(test, f", b.{_named(column)}, a.{_named(column)}"):
            own = dict(zip(keys, cells[:-2], strict=True))
            yield Example("changed", own, column, *map(_cell, cells[-2:]))


def _cell(value: Any) -> Any:
    return f"({len(value)} bytes)" if isinstance(value, bytes) else value
