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
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
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
    rows of the first by key count then, as in the views. Files of both sides with the same digest hold the same rows;
    one without a digest is read."""

    name: str
    tables: Mapping[str, tuple[Path, ...]]
    is_namespace: bool = False
    digests: Mapping[Path, str] = field(default_factory=dict)


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
        return _side(reference, _corpus(warehouse, name, when))
    ref = warehouse.ref(reference) if group in _ROOMS else None
    if ref is not None:
        kind = _ROOMS[group]
        made = live(warehouse.artifacts(kind))
        own = [a for a in made if short_digest(a.request.params["plugin"]) == ref["plugin_key"]]
        own.sort(key=lambda artifact: artifact.key)
        tables = {table: [(a, f"{table}.parquet") for a in own] for table in (kind, "failures")}
        return _side(reference, tables if own else {}, is_namespace=True)
    artifact = warehouse.resolve(reference)
    files = sorted(file for file in artifact.files if file.endswith(".parquet"))
    return _side(reference, {Path(file).stem: [(artifact, file)] for file in files})


def _side(name: str, tables: Mapping[str, Sequence[tuple[Artifact, str]]], is_namespace: bool = False) -> Side:
    paths = {table: tuple(a.path(file) for a, file in own) for table, own in tables.items()}
    digests = {a.path(file): a.files[file]["sha256"] for own in tables.values() for a, file in own}
    return Side(name, paths, is_namespace, digests)


def _corpus(warehouse: Warehouse, name: str, when: str) -> dict[str, list[tuple[Artifact, str]]]:
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
    tables = {
        table: [(a, f"{table}.parquet") for a in found if a.request.kind == kind]
        for kind, table in _CORPUS_TABLES.items()
    }
    return {table: own for table, own in tables.items() if own}


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
    """Every table that both sides could have, and how it changed. Files of one digest on both sides are not read:
    whether they have its bytes, `verify` says.

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
        said, _, _ = str(error).partition("\n")  # behind it stands the query
        raise QueryFailed(f"a table of '{before.name}' or '{after.name}' cannot be read ({said})") from error


def _table_change(
    connection: duckdb.DuckDBPyConnection, table: str, before: Side, after: Side, n_examples: int
) -> TableChange:
    sides = {"before": before, "after": after}
    files = {view: [glob.escape(str(path)) for path in side.tables[table]] for view, side in sides.items()}
    held = {view: [side.digests.get(path, str(path)) for path in side.tables[table]] for view, side in sides.items()}
    is_twice = before.is_namespace and _answers_twice(connection, files["before"])
    ours = _columns(connection, "before", files["before"], is_twice)
    if held["before"] == held["after"] and before.is_namespace == after.is_namespace:
        n = _n_rows(connection, "before")
        return TableChange(table, n, n, 0, 0, 0, [], [], [], [])
    also_twice = after.is_namespace and _answers_twice(connection, files["after"])
    theirs = _columns(connection, "after", files["after"], also_twice)
    both = [name for name in ours if name in theirs]
    only_before, only_after = [n for n in ours if n not in theirs], [n for n in theirs if n not in ours]
    if not both:
        removed, added = _n_rows(connection, "before"), _n_rows(connection, "after")
        return TableChange(table, removed, added, added, removed, 0, [], only_before, only_after, [])
    keys = [name for name in KEYS.get(table, both) if name in both] or both
    shared = [name for name in both if name not in keys]
    order = [name for name in shared if ours[name] in _ORDERED and theirs[name] in _ORDERED]
    repeating = {view for view in sides if _repeats_keys(connection, view, keys)}
    n_alike = 0
    if not (repeating or is_twice or also_twice):  # then a row of a file that both have has no other counterpart
        alike = Counter(held["before"]) & Counter(held["after"])
        n_alike = _leave_out(connection, files, held, alike) if alike else 0
    for view in sides:
        nth = f"row_number() OVER (PARTITION BY {_list(keys)} ORDER BY {_list([*keys, *order])})"
        nth = nth if view in repeating else "1"  # sorting would take longer than all else
        query = f"CREATE OR REPLACE TEMP VIEW {view}_rows AS SELECT *, {nth} AS nth, true AS here FROM {view}"
        connection.execute(query)
    matching = [*map(_named, keys), *(["nth"] if repeating else [])]
    same_key = " AND ".join(f"b.{name} IS NOT DISTINCT FROM a.{name}" for name in matching)
    counts = "count(b.here), count(a.here), count(*) FILTER (b.here IS NULL), count(*) FILTER (a.here IS NULL)"
    query = f"SELECT {counts} FROM before_rows AS b FULL JOIN after_rows AS a ON {same_key}"
    ((n_before, n_after, added, removed),) = connection.execute(query).fetchall()
    matched = f"before_rows AS b JOIN after_rows AS a ON {same_key}"
    arrays = [name for name in shared if all(f"{name}{end}" in shared for end in _CELL)]
    beside = {f"{name}{end}" for name in arrays for end in _CELL}
    compared = [name for name in shared if name not in beside] if n_before > removed else []
    differs = {name: _differs([name, *(f"{name}{end}" for end in _CELL if name in arrays)]) for name in compared}
    changed, columns = 0, list[ColumnChange]()
    if compared:
        tests = [
            f"count(*) FILTER ({' OR '.join(differs.values())})",
            *(f"count(*) FILTER ({test})" for test in differs.values()),
            *(_largest(name, ours[name], theirs[name]) for name in compared),
        ]
        ((changed, *more),) = connection.execute(f"SELECT {', '.join(tests)} FROM {matched}").fetchall()
        columns = [
            ColumnChange(name, n, _largest_of_arrays(connection, matched, name) if name in arrays else largest)
            for name, n, largest in zip(compared, more[: len(compared)], more[len(compared) :], strict=True) if n
        ]  # fmt: skip
    told = {c.column: differs[c.column] for c in columns}
    examples = list(_examples(connection, same_key, keys, removed, added, told, n_examples))
    n_before, n_after = n_before + n_alike, n_after + n_alike
    return TableChange(table, n_before, n_after, added, removed, changed, columns, only_before, only_after, examples)


def _leave_out(
    connection: duckdb.DuckDBPyConnection, files: Mapping[str, Sequence[str]], held: Mapping[str, Sequence[str]],
    alike: Counter[str],
) -> int:  # fmt: skip
    """Makes the views of both sides again without as many files of each digest; how many rows these have."""
    read = "FROM read_parquet(${}, union_by_name = true, hive_partitioning = false)"
    for view, own in files.items():
        left, rest, out = alike.copy(), list[str](), list[str]()
        for file, digest in zip(own, held[view], strict=True):
            (out if left[digest] else rest).append(file)
            left[digest] -= bool(left[digest])
        query = f"({read.format('files')} LIMIT 0)"  # columns that only these have stay
        query += f" UNION ALL BY NAME ({read.format('rest')})" if rest else ""
        _make_view(connection, view, connection.sql(query, params={"files": own} | ({"rest": rest} if rest else {})))
    ((n,),) = connection.execute(f"SELECT count(*) {read.format('files')}", {"files": out}).fetchall()
    return int(n)


def _answers_twice(connection: duckdb.DuckDBPyConnection, files: Sequence[str]) -> bool:
    """Whether two files have rows about one input, of which the first then counts: to look for that in each row, with
    all its columns, takes much longer."""
    read = "FROM read_parquet($files, hive_partitioning = false)"
    query = f"SELECT 1 {read} GROUP BY input_id HAVING min(file_index) <> max(file_index)"
    ((found,),) = connection.execute(f"SELECT EXISTS ({query})", {"files": files}).fetchall()
    return bool(found)


def _repeats_keys(connection: duckdb.DuckDBPyConnection, view: str, keys: Sequence[str]) -> bool:
    """Whether two rows of a side have the same key."""
    query = f"SELECT EXISTS (FROM (SELECT 1 FROM {view} GROUP BY {_list(keys)} HAVING count(*) > 1))"
    ((found,),) = connection.execute(query).fetchall()
    return bool(found)


def _n_rows(connection: duckdb.DuckDBPyConnection, view: str) -> int:
    ((n,),) = connection.execute(f"SELECT count(*) FROM {view}").fetchall()
    return int(n)


def _columns(connection: duckdb.DuckDBPyConnection, view: str, files: Sequence[str], is_twice: bool) -> dict[str, str]:
    """Makes the view of a side's table; column -> DuckDB's type.

    Args:
        is_twice: what `_answers_twice` says.
    """
    rows = connection.read_parquet(list(files), union_by_name=True, hive_partitioning=False)
    types = dict(zip(rows.columns, map(str, rows.types), strict=True))
    if is_twice:
        file = "f" * (max(map(len, types)) + 1)  # longer than any column, so it is none
        query = f"FROM read_parquet($files, union_by_name = true, hive_partitioning = false, filename = '{file}')"
        query += f" QUALIFY {file} = min({file}) OVER (PARTITION BY input_id)"
        rows = connection.sql(query, params={"files": files}).project(", ".join(map(_quoted, types)))
    _make_view(connection, view, rows)
    return types


def _make_view(connection: duckdb.DuckDBPyConnection, view: str, rows: duckdb.DuckDBPyRelation) -> None:
    """A view of these rows, with columns as `_named`."""
    named = ", ".join(f"{_quoted(name)} AS {_named(name)}" for name in rows.columns)
    rows.project(named).create_view(view, replace=True)


def _named(name: str) -> str:
    """A column in SQL, under a name that no helper beside it can have."""
    return _quoted(f"={name}")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _list(names: Iterable[str]) -> str:
    return ", ".join(map(_named, names))


def _differs(names: Sequence[str]) -> str:
    either = " OR ".join(f"b.{name} IS DISTINCT FROM a.{name}" for name in map(_named, names))
    return f"({either})"


def _largest(name: str, ours: str, theirs: str) -> str:
    """The largest difference of a column of numbers, in SQL; NULL for any other."""
    return f"max(abs(b.{_named(name)} - a.{_named(name)}))::DOUBLE" if {ours, theirs} <= _NUMBERS else "NULL"


def _largest_of_arrays(connection: duckdb.DuckDBPyConnection, matched: str, name: str) -> float | None:
    """The largest difference between the numbers of two arrays, over all rows; None where one has another shape or
    dtype than its counterpart."""
    own = [_named(f"{name}{end}") for end in ("", *_CELL)]
    cells = ", ".join(f"b.{cell}, a.{cell}" for cell in own)
    rows = connection.execute(f"SELECT {cells} FROM {matched} WHERE b.{own[0]} != a.{own[0]}")
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
    connection: duckdb.DuckDBPyConnection, same_key: str, keys: Sequence[str], removed: int, added: int,
    differs: Mapping[str, str], most: int,
) -> Iterator[Example]:  # fmt: skip
    """Of each sort of change that there is the first rows by key; bytes are told by their number."""

    def rows(query: str, more: str = "") -> Iterator[tuple[Any, ...]]:
        named = ", ".join(f"b.{key}" for key in map(_named, keys))
        ordered = f"SELECT {named}{more} FROM {query} ORDER BY {named}, b.nth LIMIT {most}"
        yield from connection.execute(ordered).fetchall()

    for change, here, there, n in (("removed", "before", "after", removed), ("added", "after", "before", added)):
        for row in rows(f"{here}_rows AS b ANTI JOIN {there}_rows AS a ON {same_key}") if n and most else ():
            yield Example(change, dict(zip(keys, row, strict=True)))
    for column, test in differs.items() if most else ():
        query = f"before_rows AS b JOIN after_rows AS a ON {same_key} WHERE {test}"
        for cells in rows(query, f", b.{_named(column)}, a.{_named(column)}"):
            own = dict(zip(keys, cells[:-2], strict=True))
            yield Example("changed", own, column, *map(_cell, cells[-2:]))


def _cell(value: Any) -> Any:
    return f"({len(value)} bytes)" if isinstance(value, bytes) else value
