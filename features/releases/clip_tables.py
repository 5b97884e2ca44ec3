"""Plain tables, whatever their form, as rows of cells: CSV, TSV, JSONL and Parquet."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from warehouse.errors import MalformedSource, MissingFolder

FORMS = (".csv", ".tsv", ".jsonl", ".parquet")

_SPAN = re.compile(r"(?=.)(?:(-?\d{1,9}) days?)?(?:(?:^|(?<=[ys]),? )\+?(\d{1,9}):(\d\d):(\d\d)(?:\.(\d{1,9}))?)?")
_HALF = re.compile("[\ud800-\udfff]")
"""What an escape of JSON may say, and no UTF-8 can."""

_SEVERAL: Mapping[type, str] = {list: "a list", tuple: "a list", dict: "a mapping", bytes: "bytes"}


def read_cells(path: Path, name: str, wanted: Collection[str] | None = None) -> Iterator[Mapping[str, Any]]:
    """Column -> cell, row by row. Durations of Parquet are seconds.

    Args:
        name: what errors call the table: its path below the root of the corpus.
        wanted: the columns that will be looked at (default: all); those of Parquet that are not are left unread, and
            their cells are None.

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
        yield from _read_parquet(path, name, wanted)
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
        if not columns and text.strip():
            raise MalformedSource(name, "line 1 is blank, but must name the columns")
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


def named_text(cells: Mapping[str, Any], column: str, name: str, number: int) -> str:
    """`cell_text` of a column that someone asks for.

    Args:
        name: what errors call the table.
        number: of the row, from 1.

    Raises:
        MalformedSource: the cell is no one value, or no text that could be written.
    """
    kind = _SEVERAL.get(type(cells[column]))
    if kind is not None:
        raise MalformedSource(name, f"row {number} has {kind} in column '{column}', which must hold one value")
    text = cell_text(cells[column])
    if _HALF.search(text):
        raise MalformedSource(name, f"row {number} has half of a character in column '{column}'")
    return text


def timedelta_s(text: str) -> float | None:
    """Seconds of a span as pandas and Python write it; None where it is none.

    Example:
        >>> timedelta_s("0 days 00:00:01.5"), timedelta_s("0:01:00"), timedelta_s("1.5")
        (1.5, 60.0, None)
    """
    match = _SPAN.fullmatch(text)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups()[:4])
    nanoseconds = int((match[5] or "").ljust(9, "0"))
    return ((((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1_000_000_000 + nanoseconds) / 1_000_000_000


def _refuse_alike(columns: Sequence[str], name: str) -> None:
    """Columns without a name may be many: nobody asks for them."""
    for column, n_times in Counter(columns).items():
        if column and n_times > 1:
            raise MalformedSource(name, f"it has two columns '{column}': which is meant, it does not say")


def _read_parquet(path: Path, name: str, wanted: Collection[str] | None) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as stream:
            _refuse_alike(stream.schema_arrow.names, name)
            names = stream.schema_arrow.names
            read = names if wanted is None else [column for column in names if column in wanted]
            for batch in stream.iter_batches(columns=read):
                # Python's own timedelta ends at the microsecond: nanoseconds would be refused or lost.
                columns = {column.name: _values(batch[column.name], column.name, name) for column in batch.schema}
                for number in range(batch.num_rows):
                    yield {column: columns[column][number] if column in columns else None for column in names}
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the machine's fault: pyarrow's own have no number
        raise MalformedSource(name, f"it is no Parquet file ({' '.join(str(error).split())})") from error


def _values(cells: Any, column: str, name: str) -> list[Any]:
    import pyarrow as pa

    try:
        return _seconds(cells) if pa.types.is_duration(cells.type) else cells.to_pylist()
    except (ValueError, OverflowError, LookupError) as error:  # dates beyond Python's, no zone of time, no UTF-8
        raise MalformedSource(name, f"column '{column}' cannot be read ({' '.join(str(error).split())})") from error


def _seconds(durations: Any) -> list[float | None]:
    import pyarrow as pa

    nanoseconds = durations.cast(pa.duration("ns")).cast(pa.int64()).to_pylist()
    return [None if cell is None else cell / 1_000_000_000 for cell in nanoseconds]


def _object(line: str, name: str, number: int) -> Mapping[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        cells = dict(pairs)
        if len(cells) < len(pairs):
            twice = next(key for key, n_times in Counter(key for key, _ in pairs).items() if n_times > 1)
            raise MalformedSource(name, f"line {number} has '{twice}' twice: which is meant, it does not say")
        return cells

    try:
        found = json.loads(line, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise MalformedSource(name, f"line {number} is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise MalformedSource(name, f"line {number} is no JSON object")
    return found
