"""audformat folders: a YAML header and the tables it describes, joined to one row per file or segment.

Nothing of a folder is run: the header is read with YAML's safe loader, the tables as Parquet or CSV, and a `.pkl`
beside them is never opened. The audformat package itself reads a header with a loader that builds any Python object
the header names, prefers the `.pkl` of a table to its other forms, and empties cells that the scheme does not list.

Source: https://audeering.github.io/audformat/data-format.html
"""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.releases.clip_tables import cell_text, read_cells, timedelta_s
from warehouse.errors import MalformedSource, MissingFolder

Key = tuple[str, float | None, float | None]
"""File and span of a row; of a whole file, without the span."""

_SECTIONS = ("tables", "misc_tables", "schemes", "splits")
_PARTS = ("train", "dev", "test")  # audformat's fourth type of split is 'other'
_REFERENCE = re.compile(r"(?:(?P<table>[^:]+):)?(?P<column>[^/]+)(?:/(?P<attribute>.+))?")


@dataclass(frozen=True)
class Folder:
    """An audformat folder whose header has been read; `header` is its path below `root`."""

    root: Path
    header: str
    sections: Mapping[str, Mapping[str, Mapping[str, Any]]]

    def entry(self, section: str, name: Any) -> Mapping[str, Any]:
        """One entry of the header's 'tables', 'misc_tables', 'schemes' or 'splits'.

        Raises:
            MalformedSource: there is none of this name.
        """
        there = self.sections[section]
        if cell_text(name) not in there:
            raise MalformedSource(self.header, f"there is no '{name}' in its {section} ({_listed(there)})")
        return there[cell_text(name)]

    def columns(self, table: str) -> Mapping[str, Mapping[str, Any]]:
        """The columns of a table, each with what the header says of it.

        Raises:
            MalformedSource.
        """
        found = self.entry("tables", table).get("columns") or {}
        return _named(found, self.header, f"the columns of its table '{table}'")

    def n_levels(self, table: str) -> int:
        """How much of a Key tells the rows of a table apart: 1 is the file, 3 are file, start and end."""
        return 3 if self.entry("tables", table).get("type") == "segmented" else 1

    def file_of(self, table: str) -> str:
        """The Parquet or CSV file of a table, relative to the root; Parquet first, as audformat has it.

        Raises:
            MissingFolder: there is neither.
            MalformedSource: the table is named like a path.
        """
        if "/" in table or "\\" in table:
            raise MalformedSource(self.header, f"its table '{table}' is named like a path")
        stem = f"{posixpath.splitext(self.header)[0]}.{table}"
        for name in (f"{stem}.parquet", f"{stem}.csv"):
            if (self.root / name).is_file():
                return name
        todo = "save it with audformat as Parquet or CSV; a .pkl is never opened"
        raise MissingFolder(f"the table '{table}' of {self.header}", self.root / f"{stem}.csv", todo)


@dataclass(frozen=True)
class Row:
    """One row. `file` is relative to the root; `texts` has the text of each reference."""

    file: str
    start_s: float | None
    end_s: float | None
    split: str
    texts: Mapping[str, str]


@dataclass(frozen=True)
class _Column:
    """What a reference means: a column; what is read of each of its labels (None: of any cell, itself); the misc table
    that lists those labels, if one does."""

    table: str
    file: str
    name: str
    is_time: bool
    labels: Mapping[str, str] | None
    misc_table: str | None


def is_audformat(root: Path, file: str) -> bool:
    """Whether `file` means an audformat folder: its header, or the folder itself, whose header is then `db.yaml`."""
    return file.lower().endswith((".yaml", ".yml")) or (root / file).is_dir()


def open_folder(root: Path, file: str) -> Folder:
    """Reads the header.

    Raises:
        MissingFolder: there is none.
        MalformedSource: it is not YAML, asks for Python objects, or is no header of audformat.
    """
    import yaml

    if (root / file).is_dir():
        file = posixpath.normpath(posixpath.join(file, "db.yaml"))
    if not (root / file).is_file():
        raise MissingFolder(f"the header '{file}'", root / file, "name it relative to the root of the corpus")
    try:
        found = yaml.safe_load((root / file).read_bytes())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise MalformedSource(file, f"it is no plain YAML ({' '.join(str(error).split())})") from error
    if not isinstance(found, dict) or "tables" not in found:
        raise MalformedSource(file, "it is no header of audformat: it has no 'tables'")
    return Folder(root, file, {name: _named(found.get(name) or {}, file, f"its '{name}'") for name in _SECTIONS})


def source_files(folder: Folder, tables: Sequence[str], references: Sequence[str]) -> list[str]:
    """The header and the files of the tables that `rows` reads, relative to the root.

    Raises:
        MissingFolder, MalformedSource.
    """
    columns = [_column(folder, table, reference) for table in tables for reference in references]
    joined = [name for column in columns for name in (column.table, column.misc_table) if name is not None]
    return [folder.header, *map(folder.file_of, dict.fromkeys([*tables, *joined]))]


def rows(folder: Folder, tables: Sequence[str], references: Sequence[str]) -> Iterator[Row]:
    """The rows of these tables, one table after the other. `split` is 'train', 'dev', 'test' or '', as the header says
    of the table.

    Rows of other tables are joined by file, and by span where both tables are segmented; where there is none for a row,
    its texts are empty.

    Args:
        references: `[table:]column[/attribute]`; without a table, a column of the row's own. The attribute is one that
            the column's scheme gives its labels, in the header or in a misc table. Where the header gives each label
            one plain value, any name of an attribute means that value.

    Raises:
        MissingFolder: a table has no file that is read.
        MalformedSource: header, tables and references do not fit together.
    """
    if not tables:
        there = _listed(folder.sections["tables"])
        raise MalformedSource(folder.header, f"field `tables` must name those whose rows are wanted ({there})")
    others: dict[str, dict[tuple[Any, ...], Mapping[str, Any]]] = {}
    for table in tables:
        columns = {reference: _column(folder, table, reference) for reference in references}
        wanted: dict[str, list[str]] = {table: []}
        for column in columns.values():
            wanted.setdefault(column.table, []).append(column.name)
        for other in [other for other in wanted if other != table]:
            others[other] = _by_key(folder, other, wanted[other])
        split = folder.entry("tables", table).get("split_id")
        part = "" if split is None else folder.entry("splits", split).get("type")
        for key, cells in _keyed(folder, table, wanted[table]):
            texts = {}
            for reference, column in columns.items():
                own = cells
                if column.table != table:
                    own = others[column.table].get(key[: folder.n_levels(column.table)], {})
                texts[reference] = _text(own.get(column.name), column)
            file = posixpath.join(posixpath.dirname(folder.header), key[0]) if key[0] else ""
            yield Row(file, key[1], key[2], part if part in _PARTS else "", texts)


def _named(section: Any, header: str, what: str) -> dict[str, Mapping[str, Any]]:
    if not isinstance(section, dict) or not all(isinstance(entry or {}, dict) for entry in section.values()):
        raise MalformedSource(header, f"{what} do not map names to mappings")
    return {cell_text(name): entry or {} for name, entry in section.items()}


def _column(folder: Folder, table: str, reference: str) -> _Column:
    other, name, attribute = table, reference, None
    if reference not in folder.columns(table) and (match := _REFERENCE.fullmatch(reference)):
        other, name, attribute = match["table"] or table, match["column"], match["attribute"]
    there = folder.columns(other)
    if name not in there:
        raise MalformedSource(folder.header, f"its table '{other}' has no column '{name}' ({_listed(there)})")
    if folder.n_levels(other) > folder.n_levels(table):
        problem = f"the table '{other}' has segments, so no row of it belongs to a whole file of '{table}'"
        raise MalformedSource(folder.header, problem)
    named = there[name].get("scheme_id")
    scheme = {} if named is None else folder.entry("schemes", named)
    labels = scheme.get("labels")
    said = _said_of(folder, labels)
    if attribute is None:
        read = None if said is None else {label: label for label in said}
    else:
        read = _attribute(said or {}, attribute)
        if read is None:
            known = dict.fromkeys(key for entry in (said or {}).values() if isinstance(entry, Mapping) for key in entry)
            problem = f"nothing is said of '{attribute}' by the scheme of column '{name}' ({_listed(known)})"
            raise MalformedSource(folder.header, problem)
    misc_table = labels if isinstance(labels, str) else None
    return _Column(other, folder.file_of(other), name, scheme.get("dtype") == "time", read, misc_table)


def _said_of(folder: Folder, labels: Any) -> dict[str, Any] | None:
    """Label -> what is said of it; None where a scheme lists no labels."""
    if isinstance(labels, str):
        folder.entry("misc_tables", labels)
        file = folder.file_of(labels)
        listed = (list(cells.items()) for cells in read_cells(folder.root / file, file))
        return {cell_text(cells[0][1]): dict(cells[1:]) for cells in listed}  # the index comes first
    if isinstance(labels, Mapping):
        return {cell_text(label): entry for label, entry in labels.items()}
    if labels is None or isinstance(labels, list):
        return None if labels is None else {cell_text(label): {} for label in labels}
    raise MalformedSource(folder.header, f"the labels of a scheme are {labels!r}: no list, mapping or misc table")


def _attribute(said: Mapping[str, Any], attribute: str) -> dict[str, str] | None:
    """Label -> its attribute, '' where it lacks it; None where no label has it."""
    mappings = [entry for entry in said.values() if isinstance(entry, Mapping)]
    if not any(attribute in entry for entry in mappings) and (any(mappings) or len(mappings) == len(said)):
        return None
    values = {label: entry.get(attribute) if isinstance(entry, Mapping) else entry for label, entry in said.items()}
    return {label: cell_text(value) for label, value in values.items()}


def _by_key(folder: Folder, table: str, columns: Sequence[str]) -> dict[tuple[Any, ...], Mapping[str, Any]]:
    """The rows of a table to be joined, by as much of their key as tells them apart."""
    found: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for number, (key, cells) in enumerate(_keyed(folder, table, columns), start=1):
        own = key[: folder.n_levels(table)]
        if own in found:
            raise MalformedSource(folder.file_of(table), f"row {number} is a second row of '{own[0]}'")
        found[own] = cells
    return found


def _keyed(folder: Folder, table: str, columns: Sequence[str]) -> Iterator[tuple[Key, Mapping[str, Any]]]:
    file = folder.file_of(table)
    index = ("file", "start", "end")[: folder.n_levels(table)]
    for number, cells in enumerate(read_cells(folder.root / file, file, (*index, *columns)), start=1):
        missing = [name for name in (*index, *columns) if name not in cells]
        if missing:
            raise MalformedSource(file, f"row {number} has no column '{missing[0]}' ({_listed(cells)})")
        span = [_seconds(cells[name], name, file) for name in index[1:]] or [None, None]
        yield (cell_text(cells["file"]), span[0], span[1]), cells


def _text(cell: Any, column: _Column) -> str:
    if column.is_time:
        cell = _seconds(cell, column.name, column.file)
    text = cell_text(cell)
    if not text or column.labels is None:
        return text
    if text not in column.labels:
        problem = f"'{text}' in column '{column.name}' is no label of its scheme ({_listed(column.labels)})"
        raise MalformedSource(column.file, problem)
    return column.labels[text]


def _seconds(cell: Any, column: str, file: str) -> float | None:
    """Seconds of a time as Parquet ('duration') or CSV ('0 days 00:00:01.5') keeps it; None is not stated."""
    if isinstance(cell, float) and math.isfinite(cell):
        return cell
    text = cell_text(cell)
    if text in ("", "NaT"):
        return None
    found = timedelta_s(text)
    if found is None:
        raise MalformedSource(file, f"'{text}' in column '{column}' is no time, such as '0 days 00:00:01.5'")
    return found


def _listed(names: Iterable[Any], most: int = 12) -> str:
    shown = [f"'{name}'" for name in names]
    return f"there are: {', '.join(shown[:most])}{' …' * (len(shown) > most)}" if shown else "there are none"
