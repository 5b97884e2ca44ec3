"""Plain tables, whatever their form, as rows of cells: CSV, TSV, JSONL and Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from warehouse.errors import MalformedSource, MissingFolder

FORMS = (".csv", ".tsv", ".jsonl", ".parquet")


def read_cells(path: Path, name: str) -> Iterator[Mapping[str, Any]]:
    """Column -> cell, row by row. Durations of Parquet are seconds.

    Args:
        name: what errors call the table: its path below the root of the corpus.

    Raises:
        MissingFolder: there is no such file.
        MalformedSource: it is of another form, or not what its suffix says.
    """
    form = path.suffix.lower()
    if form not in FORMS:
        raise MalformedSource(name, f"a table must be one of {', '.join(FORMS)}, or the .yaml of an audformat folder")
    if not path.is_file():
        raise MissingFolder(f"the table '{name}'", path, "name it relative to the root of the corpus")
    if form == ".parquet":
        yield from _read_parquet(path, name)
        return
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedSource(name, f"it is not UTF-8 ({error.reason} at byte {error.start})") from error
    if form == ".jsonl":
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                yield _object(line, name, number)
        return
    # Strict, because a quotation mark that is never closed would else take the rows after it into its cell.
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if form == ".tsv" else ",", strict=True)
    try:
        columns = reader.fieldnames or ()
        _refuse_alike(columns, name)
        for row in reader:
            if None in row or None in row.values():
                raise MalformedSource(name, f"line {reader.line_num} has not {len(columns)} cells")
            yield row
    except csv.Error as error:
        todo = "a cell with a quotation mark is written in such marks, the marks inside doubled"
        problem = f"line {reader.line_num + 1} cannot be split into cells ({error}): {todo}"
        raise MalformedSource(name, problem) from error


def cell_text(cell: Any) -> str:
    """A cell as text; '' is a cell that says nothing: an empty one, null, or a number that is none (NaN).

    Example:
        >>> cell_text(" happy "), cell_text(None), cell_text(0)
        ('happy', '', '0')
    """
    return "" if cell is None or cell != cell else str(cell).strip()


def _refuse_alike(columns: Sequence[str], name: str) -> None:
    """Columns without a name may be many: nobody asks for them."""
    for column, n_times in Counter(columns).items():
        if column and n_times > 1:
            raise MalformedSource(name, f"it has two columns '{column}': which is meant, it does not say")


def _read_parquet(path: Path, name: str) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as stream:
            _refuse_alike(stream.schema_arrow.names, name)
            for batch in stream.iter_batches():
                # Python's own timedelta ends at the microsecond: nanoseconds would be refused or lost.
                columns = {
                    column.name: _seconds(batch[column.name]) if pa.types.is_duration(column.type) else
                    batch[column.name].to_pylist()
                    for column in batch.schema
                }  # fmt: skip
                for number in range(batch.num_rows):
                    yield {column: cells[number] for column, cells in columns.items()}
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the machine's fault: pyarrow's own have no number
        raise MalformedSource(name, f"it is no Parquet file ({' '.join(str(error).split())})") from error


def _seconds(durations: Any) -> list[float | None]:
    import pyarrow as pa

    nanoseconds = durations.cast(pa.duration("ns")).cast(pa.int64()).to_pylist()
    return [None if cell is None else cell / 1_000_000_000 for cell in nanoseconds]


def _object(line: str, name: str, number: int) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise MalformedSource(name, f"line {number} is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise MalformedSource(name, f"line {number} is no JSON object")
    return found
