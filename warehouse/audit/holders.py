"""Which artifacts hold a row about an utterance: of any reading that the lake ever had, told again or not."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from threading import local
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from warehouse.artifact import Artifact
from warehouse.errors import QueryFailed
from warehouse.schema import pair_id

if TYPE_CHECKING:
    import duckdb

KEYED: Mapping[str, tuple[str, ...]] = {
    "utterances": ("utterance_id",),
    "labels": ("utterance_id",),
    "split": ("utterance_id",),
    "truth": ("utterance_id",),
    "votes": ("utterance_id",),
    "selection": ("utterance_id",),
    "predictions": ("utterance_id",),
    "features": ("input_id",),
    "intervals": ("input_id",),
    "index": ("utterance_id", "input_id"),
    "failures": ("utterance_id", "input_id"),
}
"""Table (a file's name without '.parquet') -> the columns that say what a row is about."""


_own = local()  # not a ContextVar, which a thread may be given a copy of: two must not ask one connection at once


def rows_where(
    artifacts: Iterable[Artifact], table: str, wanted: str, values: Mapping[str, Any], columns: Sequence[str]
) -> list[dict[str, Any]]:
    """The rows of one table of many artifacts for which a condition holds, each with its `artifact`, a key, in order.

    One scan over all files, which reads of each only these columns, and the whole of them only where the condition may
    hold; a column that a file lacks is NULL.

    Args:
        wanted: in SQL, about some of the columns; `one_of` writes such.
        values: its parameters.

    Raises:
        QueryFailed: a file cannot be read.
    """
    file = f"{table}.parquet"
    of_path = {str(a.path(file)): a.key for a in artifacts if file in a.files}
    if not of_path:
        return []
    query = f"SELECT {', '.join(columns)}, _file, file_row_number FROM rows WHERE {wanted}"
    order = {path: number for number, path in enumerate(of_path)}
    found = sorted(asked_of(of_path, columns, query, values), key=lambda row: (order[row[-2]], row[-1]))
    names = [*columns, "artifact"]
    return [dict(zip(names, (*row, of_path[path]), strict=True)) for *row, path, _ in found]


def one_of(column: str, values: str) -> str:
    """That a column has one of the values that a parameter of this name has, in SQL; of none nothing has."""
    return f"{column} IN (SELECT unnest(${values}::VARCHAR[]))"


def rows_about(paths: Iterable[Path], values: Mapping[str, Collection[str]]) -> dict[Path, int]:
    """How many rows of some Parquet files have one of these values in one of these columns; of files that have any."""
    of_path = {str(path): path for path in paths}
    if not (of_path and any(values.values())):
        return {}
    # A condition on either of two columns would have each row looked at.
    own = " UNION ".join(f"SELECT _file, file_row_number FROM rows WHERE {one_of(name, name)}" for name in values)
    query = f"SELECT _file, count(*) FROM ({own}) GROUP BY ALL"
    ids = {name: sorted(own) for name, own in values.items()}
    return {of_path[path]: n for path, n in asked_of(of_path, list(values), query, ids)}


@contextmanager
def one_connection() -> Iterator[Callable[[], duckdb.DuckDBPyConnection]]:
    """Within it all questions of this thread here are asked of one connection, which the first of them opens, or who
    calls what is given: to open one takes longer than to answer most of them."""
    if outer := getattr(_own, "connection", None):
        yield outer
        return
    with ExitStack() as closing:

        @cache
        def connection() -> duckdb.DuckDBPyConnection:
            import duckdb  # takes as long to import as small questions to answer

            return closing.enter_context(duckdb.connect())

        _own.connection = connection
        try:
            yield connection
        finally:
            del _own.connection


def asked_of(
    paths: Iterable[Path | str], columns: Sequence[str], query: str, values: Mapping[str, Any] = MappingProxyType({})
) -> list[tuple[Any, ...]]:
    """The answer to a question in SQL about `rows`, which has some columns of many Parquet files, and their `_file`.

    Args:
        columns: one that a file lacks is NULL.
        values: parameters.

    Raises:
        QueryFailed: a file cannot be read.
    """
    import duckdb

    files = [glob.escape(str(path)) for path in paths]
    if not files:
        return []
    none = ", ".join(f"NULL::{_KINDS.get(column, 'VARCHAR')} AS {column}" for column in columns)
    read = (
        "read_parquet($files, union_by_name = true, hive_partitioning = false, filename = '_file', "
        "file_row_number = true)"
    )
    rows = f"WITH rows AS (SELECT {none} WHERE false UNION ALL BY NAME FROM {read})"
    try:
        with one_connection() as connection:
            return connection().execute(f"{rows} {query}", {"files": files, **values}).fetchall()
    except duckdb.Error as error:
        raise QueryFailed(f"the lake is damaged, see `emolake verify` ({error})") from error


_KINDS = {"start_s": "DOUBLE", "end_s": "DOUBLE", "attributes": "MAP(VARCHAR, VARCHAR)", "n_bytes": "BIGINT"}

_CLIP = ("utterance_id", "corpus", "unit", "recording_id", "path", "start_s", "end_s", "audio_id", "text", "text_id",
         "speaker_id", "attributes")  # fmt: skip


def clips_where(artifacts: Sequence[Artifact], column: str, values: Collection[str]) -> list[dict[str, Any]]:
    """The utterances, in any reading, whose column has one of these values, and all that are told from them again."""
    readings = [a for a in artifacts if a.request.kind == "utterances"]
    found = rows_where(readings, "utterances", one_of(column, "values"), {"values": list(values)}, _CLIP)
    new = found
    while new:
        digests = {a.digest for a in readings if a.key in {row["artifact"] for row in new}}
        told = [a for a in readings if digests & set(a.request.inputs.get("source", ()))]
        sources = {"values": [row["utterance_id"] for row in new]}
        new = rows_where(told, "utterances", one_of("attributes['source']", "values"), sources, _CLIP)
        found = found + new
    return found


def input_ids_of(clip: Mapping[str, Any]) -> set[str]:
    """What rows about an utterance may be keyed by: its sound, its words, or both."""
    heard = {clip["audio_id"], pair_id(clip["audio_id"], clip["text_id"])} if clip["audio_id"] else set()
    return heard | {clip["text_id"]}


def holders(
    artifacts: Sequence[Artifact], utterance_ids: Collection[str], input_ids: Collection[str]
) -> dict[str, Counter[str]]:
    """Key -> file -> how many of its rows are about these utterances or inputs, of every artifact that has any.

    Which bytes an artifact holds is asked of the bytes, not of what it was made from: a text that two utterances share
    is one row, and stands where either of them put it.
    """
    values = {"utterance_id": utterance_ids, "input_id": input_ids}
    found: dict[str, Counter[str]] = {}
    with one_connection():
        for table, columns in KEYED.items():
            file = f"{table}.parquet"
            of_path = {a.path(file): a.key for a in artifacts if file in a.files}
            for path, n in rows_about(of_path, {name: values[name] for name in columns}).items():
                found.setdefault(of_path[path], Counter())[file] = n
    return found
