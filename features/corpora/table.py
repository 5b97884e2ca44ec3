"""Any lab's own clips: a CSV, TSV, JSONL or Parquet table that says where they are and what they hold."""

from __future__ import annotations

import csv
import io
import json
import math
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from features.audio import TOLERANCE_S
from features.plugin import RawFile, Rows
from features.rows import duration_of, failure_row, label_row, utterance_row
from warehouse.errors import MalformedSource, MissingFolder, Untreatable
from warehouse.schema import make_id

FORMS = (".csv", ".tsv", ".jsonl", ".parquet")

_STEP = "corpora.table"
_UNIT = "table"


@dataclass(frozen=True)
class Table:
    """Reads one table, one utterance per row; every other field but `scheme` names a column, '' is none.

    Without a column of ids, an utterance is called by its path and, where it has one, its start. Cells that are
    empty or null say nothing: no label, no speaker, the recording's own start or end.

    Args:
        file: the table, relative to the root of the corpus: .csv, .tsv, .jsonl or .parquet.
        path: of the media file, relative to the root of the corpus, with forward slashes.
        label: one judgement, kept verbatim under `scheme`.
        start_s, end_s: the span in the media file.
    """

    version: ClassVar[int] = 1
    file: str
    path: str = "path"
    text: str = "text"
    speaker: str = "speaker"
    label: str = "label"
    start_s: str = ""
    end_s: str = ""
    split: str = ""
    dialogue: str = ""
    session: str = ""
    language: str = ""
    id: str = ""
    scheme: str = "emotion"

    def units(self, root: Path) -> Mapping[str, Sequence[str]]:
        named = dict.fromkeys(row["path"] for row in self._rows(root))
        return {_UNIT: [self.file, *(path for path in named if (root / path).is_file())]}

    def read(self, root: Path, unit: str, files: Mapping[str, RawFile], corpus: str) -> Rows:
        rows = Rows()
        seen: set[str] = set()
        durations: dict[str, float | Untreatable] = {}
        n_turns: dict[str, int] = {}
        for number, row in enumerate(self._rows(root), start=1):
            path = row["path"]
            utterance_id = make_id(corpus, *_name(row))
            if utterance_id in seen:
                todo = "name a column of ids in `id`" if not self.id else "ids must differ"
                raise MalformedSource(self.file, f"row {number} is a second utterance '{utterance_id}': {todo}")
            seen.add(utterance_id)
            try:
                if path not in files:
                    raise Untreatable(f"there is no file {path}")
                start_s, end_s = _span(row, _duration(root, path, durations))
            except Untreatable as error:
                rows.failures.append(failure_row(_STEP, utterance_id, str(error)))
                continue
            turn = n_turns.get(row["dialogue"], 0)
            n_turns[row["dialogue"]] = turn + 1
            rows.utterances.append(
                utterance_row(
                    utterance_id=utterance_id,
                    corpus=corpus,
                    unit=unit,
                    recording=files[path],
                    start_s=start_s,
                    end_s=end_s,
                    verbatim=row["text"],
                    text=row["text"],
                    speaker_id=row["speaker"],
                    dialogue_id=row["dialogue"],
                    turn=turn if row["dialogue"] else 0,
                    session=row["session"],
                    split=row["split"],
                    language=row["language"],
                )
            )
            if row["label"]:
                rows.labels.append(label_row(utterance_id, self.scheme, "summary", row["label"], _number(row["label"])))
        return rows

    def _rows(self, root: Path) -> Iterator[dict[str, Any]]:
        """The rows with our names for the columns: texts, but for the span's numbers.

        Raises:
            MissingFolder, MalformedSource.
        """
        columns = {
            name: getattr(self, name)
            for name in ("path", "text", "speaker", "label", "start_s", "end_s", "split", "dialogue", "session",
                         "language", "id")
        }  # fmt: skip
        if not columns["path"]:
            raise MalformedSource(self.file, "field `path` must name the column of media files")
        number = 0
        for number, found in enumerate(_read(root / self.file, self.file), start=1):
            missing = [column for column in columns.values() if column and column not in found]
            if missing:
                there = ", ".join(f"'{name}'" for name in found)
                raise MalformedSource(self.file, f"row {number} has no column '{missing[0]}' (there are: {there})")
            row: dict[str, Any] = {name: _text(found[column]) if column else "" for name, column in columns.items()}
            row["path"] = _inside(row["path"], self.file, number)
            for name in ("start_s", "end_s"):
                row[name] = _seconds(row[name], columns[name], self.file, number)
            yield row
        if not number:
            raise MalformedSource(self.file, "it has no row")


def _read(path: Path, name: str) -> Iterator[Mapping[str, Any]]:
    form = path.suffix.lower()
    if form not in FORMS:
        raise MalformedSource(name, f"a table must be one of {', '.join(FORMS)}")
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
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if form == ".tsv" else ",")
    n_columns = len(reader.fieldnames or ())
    for row in reader:
        if None in row or None in row.values():
            raise MalformedSource(name, f"line {reader.line_num} has not {n_columns} cells")
        yield row


def _read_parquet(path: Path, name: str) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as stream:
            for batch in stream.iter_batches():
                yield from batch.to_pylist()
    except pa.ArrowInvalid as error:
        raise MalformedSource(name, f"it is no Parquet file ({error})") from error


def _object(line: str, name: str, number: int) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise MalformedSource(name, f"line {number} is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise MalformedSource(name, f"line {number} is no JSON object")
    return found


def _text(cell: Any) -> str:
    return "" if cell is None else str(cell).strip()


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _seconds(cell: str, column: str, name: str, number: int) -> float | None:
    if not cell:
        return None
    value = _number(cell)
    if value is None:
        raise MalformedSource(name, f"row {number} has '{cell}' in column '{column}', which must hold seconds")
    return value


def _inside(path: str, name: str, number: int) -> str:
    """The path without detours, if it stays below the root."""
    plain = posixpath.normpath(path.replace("\\", "/"))
    if not path or plain.startswith(("/", "../")) or plain in (".", "..") or plain[1:2] == ":":
        raise MalformedSource(
            name, f"row {number} has the path '{path}': paths must lie below the root of the corpus, relative to it"
        )
    return plain


def _name(row: Mapping[str, Any]) -> tuple[str, ...]:
    if row["id"]:
        return (row["id"],)
    stem = posixpath.splitext(row["path"])[0]
    return (stem,) if row["start_s"] is None else (stem, f"{round(row['start_s'] * 1000):08d}")


def _duration(root: Path, path: str, durations: dict[str, float | Untreatable]) -> float:
    """The recording's length, asked once for many rows."""
    if path not in durations:
        try:
            durations[path] = duration_of(root, path)
        except Untreatable as error:
            durations[path] = error
    found = durations[path]
    if isinstance(found, Untreatable):
        raise found
    return found


def _span(row: Mapping[str, Any], duration_s: float) -> tuple[float, float]:
    start_s = 0.0 if row["start_s"] is None else row["start_s"]
    end_s = duration_s if row["end_s"] is None else row["end_s"]
    if start_s < 0 or end_s <= start_s:
        raise Untreatable(f"the span [{start_s}, {end_s}] s is empty or starts before 0")
    if end_s > duration_s + TOLERANCE_S:
        raise Untreatable(f"the span [{start_s}, {end_s}] s passes the end of the recording at {duration_s:g} s")
    return start_s, end_s
