"""Rows to Parquet and back, with the schema checked both ways; the same rows always give the same bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.arrays import texts_of
from warehouse.errors import SchemaMismatch

if TYPE_CHECKING:
    import pyarrow.dataset as ds


def table_of(rows: Iterable[Mapping[str, Any]], schema: pa.Schema, where: str = "the rows") -> pa.Table:
    """Builds a table of exactly this schema from dict rows.

    Raises:
        SchemaMismatch: a row has a missing or an unknown column, a null where none may be, or a wrong type.
    """
    rows = list(rows)
    names = set(schema.names)
    integers = [column.name for column in schema if pa.types.is_integer(column.type)]
    for number, row in enumerate(rows):
        if row.keys() != names:
            missing, unknown = sorted(names - row.keys()), sorted(row.keys() - names)
            raise SchemaMismatch(where, f"row {number} lacks {missing} and has unknown {unknown}")
        for name in integers:  # Arrow would cut the fraction off without a word
            if isinstance(row[name], (float, np.floating)):
                raise SchemaMismatch(where, f"row {number} has {row[name]} in column '{name}', which holds integers")
    try:
        table = pa.Table.from_pylist(rows, schema=schema)
    except (pa.ArrowException, OverflowError, TypeError, UnicodeEncodeError) as error:
        raise SchemaMismatch(where, str(error)) from error
    check_table(table, schema, where)
    return table


def check_table(table: pa.Table, schema: pa.Schema, where: str) -> None:
    """Raises SchemaMismatch unless the table has exactly these columns, types and no forbidden null."""
    _check(table.schema, schema, where, lambda name: table.column(name).null_count)


def _check(own: pa.Schema, schema: pa.Schema, where: str, n_nulls: Callable[[str], int]) -> None:
    found = {column.name: column.type for column in own}
    for name, n_columns in Counter(own.names).items():
        if n_columns > 1:
            raise SchemaMismatch(where, f"column '{name}' is given twice")
    for column in schema:
        if column.name not in found:
            raise SchemaMismatch(where, f"column '{column.name}' is missing (columns: {', '.join(found)})")
        if found[column.name] != column.type:
            raise SchemaMismatch(where, f"column '{column.name}' is {found[column.name]}, not {column.type}")
        if not column.nullable and n_nulls(column.name):
            raise SchemaMismatch(where, f"column '{column.name}' holds {n_nulls(column.name)} nulls")
    unknown = sorted(set(found) - set(schema.names))
    if unknown:
        raise SchemaMismatch(where, f"unknown columns {unknown}")


def write_table(path: Path, table: pa.Table, schema: pa.Schema) -> None:
    """Writes a table after checking it. Bytes depend on rows and schema alone."""
    check_table(table, schema, str(path))
    table = table.select(schema.names).cast(schema).combine_chunks()
    pq.write_table(table, path, compression="zstd", compression_level=3, row_group_size=65_536)


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> None:
    """`table_of` and `write_table` in one."""
    write_table(path, table_of(rows, schema, str(path)), schema)


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """Reads a table and checks it.

    Raises:
        SchemaMismatch: the file is missing, is not Parquet or has another schema.
    """
    with reading(path):
        table = columns_of(path)
    check_table(table, schema, str(path))
    return table


def columns_of(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """All or some columns of a table, unchecked: as `pq.read_table`, which first imports what reads many files."""
    with pq.ParquetFile(path) as file:
        table = file.read(columns)
    return table.select(columns) if columns else table


def groups_of(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """All or some columns of a table, one group of rows after another, unchecked. No threads: for groups of some ten
    thousand rows they take twice as much of the processor, and who reads tables may be one of several.

    Raises:
        SchemaMismatch: the file is missing or is damaged.
    """
    with reading(path), pq.ParquetFile(path, pre_buffer=False) as file:
        for number in range(file.num_row_groups):
            group = file.read_row_group(number, columns, use_threads=False)
            yield group.select(columns) if columns else group


def rows_of(paths: Sequence[Path], schema: pa.Schema) -> ds.Dataset:
    """The rows of many tables, checked as `read_table` does it but for nulls, and read when they are asked for: DuckDB
    and Arrow's scanners take of them what they need.

    Raises:
        SchemaMismatch: as `read_table`.
    """
    import pyarrow.dataset as ds  # takes as long to import as small questions to answer

    check_files(paths, schema)
    return ds.dataset(list(map(str, paths)), schema=schema, format="parquet")


def check_files(paths: Iterable[Path], schema: pa.Schema) -> None:
    """Raises SchemaMismatch unless each of these tables can be read and has exactly this schema."""
    for path in paths:
        with reading(path):
            found = pq.read_schema(path)
        _check(found, schema, str(path), lambda name: 0)


def rows_about(path: Path, ids: Collection[str], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of a table whose `input_id` is one of these, a few at a time, for arrays are large. Groups of rows
    without one are not read: a file may hold the rows of many works (`warehouse.compaction`).

    Args:
        columns: `input_id` among them.
    """
    import pyarrow.compute as pc  # takes as long to import as small questions to answer

    wanted = texts_of(sorted(ids))
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            if file.num_row_groups > 1 and not _is_any(file.read_row_group(group, ["input_id"]), wanted):
                continue
            for batch in file.iter_batches(16, [group], list(columns)):
                yield from batch.filter(pc.is_in(batch.column("input_id"), wanted)).to_pylist()


def _is_any(table: pa.Table, wanted: pa.Array) -> bool:
    import pyarrow.compute as pc

    found: bool = pc.any(pc.is_in(table.column("input_id"), wanted)).as_py()
    return found


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raises SchemaMismatch where a table is missing or is damaged."""
    try:
        yield
    except FileNotFoundError as error:
        raise SchemaMismatch(str(path), "there is no such file") from error
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
        raise SchemaMismatch(str(path), str(error)) from error


# Feature rows: an array is one binary cell (little-endian, C order) with its shape and dtype beside it, because
# nested lists read several times slower; a vector with named dimensions is plain numeric columns.


def array_columns(name: str) -> pa.Schema:
    """The three columns of an array output `name`: its bytes, shape and dtype."""
    return pa.schema(
        [
            pa.field(name, pa.binary(), nullable=False),
            pa.field(f"{name}_shape", pa.list_(pa.int32()), nullable=False),
            pa.field(f"{name}_dtype", pa.string(), nullable=False),
        ]
    )


def array_cells(name: str, array: np.ndarray) -> dict[str, Any]:
    """The cells of one array for the columns of `array_columns`.

    Raises:
        SchemaMismatch: it does not hold numbers.
    """
    array = little_endian(np.asarray(array), name)
    return {name: array.tobytes(), f"{name}_shape": list(array.shape), f"{name}_dtype": array.dtype.name}


def little_endian(array: np.ndarray, name: str) -> np.ndarray:
    """The array in the one layout of the disk: little-endian, C order, numbers only.

    Raises:
        SchemaMismatch: it does not hold numbers; objects could only be pickled.
    """
    if array.dtype.kind not in "biufc":
        raise SchemaMismatch(f"array '{name}'", f"its dtype is {array.dtype}, not one of numbers")
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def array_of(row: Mapping[str, Any], name: str) -> np.ndarray:
    """The array of one row, the inverse of `array_cells`."""
    dtype = np.dtype(row[f"{name}_dtype"]).newbyteorder("<")
    return np.frombuffer(row[name], dtype=dtype).reshape(row[f"{name}_shape"])


def vector_columns(names: Sequence[str]) -> pa.Schema:
    """One float column per named dimension."""
    return pa.schema([pa.field(name, pa.float32(), nullable=False) for name in names])
