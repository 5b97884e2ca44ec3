"""Any lab's own clips: a table (CSV, TSV, JSONL, Parquet, audformat) that says where they are and what they hold."""

from __future__ import annotations

import errno
import math
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from features.audio import TOLERANCE_S
from features.check import Findings
from features.plugin import RawFile, Rows
from features.releases import audformat, table_check
from features.releases.clip_tables import named_text, read_cells, timedelta_s
from features.rows import duration_of, failure_row, label_row, utterance_row
from warehouse.errors import MalformedSource, Untreatable
from warehouse.schema import make_id

_STEP = "corpora.table"
_UNIT = "table"
_LATEST_S = 1e9  # thirty years: what is behind that is no time in a recording, and may be too large to round
_TEXTS = ("text", "speaker", "label", "split", "dialogue", "session", "language", "id")


@dataclass(frozen=True)
class Table:
    """Reads one table, one utterance per row; the fields from `path` to `id` name columns, '' is none.

    Without a column of ids, an utterance is called by its path and, where it has one, its start. Cells that are
    empty or null say nothing: no label, no speaker, the recording's own start or end.

    Of an audformat folder the index of `tables` says which files and spans, and a column is named
    `[table:]column[/attribute]`: 'emotion' of the row's own table, 'files:speaker' of another, 'files:speaker/gender'
    for what the scheme says of that speaker. Without a `split` column the split is that of the table.

    Args:
        file: the table, relative to the root of the corpus: .csv, .tsv, .jsonl, .parquet, or the header (.yaml) of an
            audformat folder, or that folder ('.' where it is the root) if the header is `db.yaml`.
        path: of the media file, relative to the root of the corpus, with forward slashes.
        label: one judgement, kept verbatim under `scheme`.
        start_s, end_s: the span in the media file: seconds, or spans such as '0 days 00:00:01.5'.
        tables: of an audformat folder, those whose rows are the utterances.
        attributes: columns kept as attributes of the utterance, by the names given here.
    """

    version: ClassVar[int] = 2
    published: ClassVar[Mapping[str, int]] = {}
    anomalies: ClassVar[Mapping[str, str]] = table_check.ANOMALIES
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
    tables: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()

    def units(self, root: Path) -> Mapping[str, Sequence[str]]:
        named = dict.fromkeys(row["path"] for row in self._rows(root))
        return {_UNIT: [*self._sources(root), *(path for path in named if _is_file(root / path))]}

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
                    attributes=row["attributes"],
                )
            )
            if row["label"]:
                rows.labels.append(label_row(utterance_id, self.scheme, "summary", row["label"], _number(row["label"])))
        return rows

    def check(self, root: Path, expected: Mapping[str, int] | None = None) -> Findings:
        """Counts what the table holds and names what cannot be read; see `features.releases.table_check`."""
        named = {"speaker": self.speaker, "label": self.label, "text": self.text}
        return table_check.check(root, lambda: self._unhashed(root), named, expected or {})

    def _unhashed(self, root: Path) -> Rows:
        """The rows as `read` gives them, but for the ids of recordings: nothing is hashed."""
        (paths,) = self.units(root).values()
        return self.read(root, _UNIT, {path: RawFile(path, 0, "") for path in paths}, "table")

    def _rows(self, root: Path) -> Iterator[dict[str, Any]]:
        """The rows with our names for the columns: texts, but for the span's numbers and the attributes.

        Raises:
            MissingFolder, MalformedSource.
        """
        if posixpath.isabs(self.file) or posixpath.normpath(self.file).split("/")[0] == "..":
            raise MalformedSource(self.file, "the table must lie below the root of the corpus, named relative to it")
        is_audformat = audformat.is_audformat(root, self.file)
        number = 0
        for number, row in enumerate(self._annotated(root) if is_audformat else self._plain(root), start=1):
            row["path"] = _inside(row["path"], self.file, number)
            yield row
        if not number:
            raise MalformedSource(self.file, "it has no row")

    def _plain(self, root: Path) -> Iterator[dict[str, Any]]:
        if self.tables:
            raise MalformedSource(self.file, "field `tables` is for audformat folders: leave it out")
        if not self.path:
            raise MalformedSource(self.file, "field `path` must name the column of media files")
        columns = {name: getattr(self, name) for name in ("path", "start_s", "end_s", *_TEXTS)}
        named = tuple(dict.fromkeys((*filter(None, columns.values()), *self.attributes)))
        for number, found in enumerate(read_cells(root / self.file, self.file, named), start=1):
            missing = [column for column in named if column not in found]
            if missing:
                raise MalformedSource(
                    self.file, f"row {number} has no column '{missing[0]}' {_todo(found, missing[0], columns)}"
                )
            texts = {column: named_text(found, column, self.file, number) for column in named}
            row: dict[str, Any] = {name: texts[column] if column else "" for name, column in columns.items()}
            for name in ("start_s", "end_s"):
                row[name] = _seconds(row[name], columns[name], self.file, number)
            yield row | {"attributes": self._kept(texts)}

    def _annotated(self, root: Path) -> Iterator[dict[str, Any]]:
        if (self.path, self.start_s, self.end_s) != ("path", "", ""):
            problem = "its tables say which file and span: leave the fields `path`, `start_s` and `end_s` out"
            raise MalformedSource(self.file, problem)
        columns = {name: getattr(self, name) for name in _TEXTS}
        every = audformat.rows(audformat.open_folder(root, self.file), self.tables, self._references)
        for number, found in enumerate(every, start=1):
            texts = {reference: named_text(found.texts, reference, self.file, number) for reference in found.texts}
            row: dict[str, Any] = {name: texts[column] if column else "" for name, column in columns.items()}
            row["split"] = row["split"] if self.split else found.split
            row |= {"path": found.file, "start_s": found.start_s, "end_s": found.end_s}
            yield row | {"attributes": self._kept(texts)}

    def _kept(self, texts: Mapping[str, str]) -> dict[str, str]:
        return {name: texts[name] for name in self.attributes if texts[name]}

    @property
    def _references(self) -> list[str]:
        named = filter(None, (getattr(self, name) for name in _TEXTS))
        return list(dict.fromkeys([*named, *self.attributes]))

    def _sources(self, root: Path) -> list[str]:
        """The files that say what the clips hold."""
        if not audformat.is_audformat(root, self.file):
            return [self.file]
        return audformat.source_files(audformat.open_folder(root, self.file), self.tables, self._references)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


def _todo(found: Mapping[str, Any], missing: str, columns: Mapping[str, str]) -> str:
    """What a row has, and what to do about the column it lacks.

    Args:
        columns: field -> the column it names.
    """
    there = f"(there are: {', '.join(map(repr, found))})"
    if len(found) == 1 and any(mark in name for name in found for mark in ";,\t|"):
        return f"{there}: part the cells of a .csv by commas, of a .tsv by tabs"
    field = next((field for field, column in columns.items() if column == missing), "attributes")
    if field == "attributes":
        return f"{there}: leave it out of field `attributes`"
    return f"{there}: name another in field `{field}`" + ("" if field == "path" else ", or '' if there is none")


def _number(value: str) -> float | None:
    """A finite number; the `1_000` of Python is none."""
    if "_" in value:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _seconds(cell: str, column: str, name: str, number: int) -> float | None:
    if cell in ("", "NaT"):
        return None
    value = _number(cell)
    if value is None:
        value = timedelta_s(cell)
    if value is None or abs(value) > _LATEST_S:
        problem = "which must hold seconds, or a span such as '0 days 00:00:01.5'"
        raise MalformedSource(name, f"row {number} has '{cell}' in column '{column}', {problem}")
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
