"""The raw files of a unit: looked at in one pass, and told one by one only where somebody asks.

A plan with nothing to do looks at every file of a corpus. What it wants to know is only whether they are as they were:
so what the system says of all of them is one row of numbers with one digest, compared at once.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple, overload

import pyarrow as pa
import pyarrow.parquet as pq

from features.plugin import RawFile
from warehouse.errors import MalformedSource, SourceChanged
from warehouse.schema import FILES
from warehouse.tables import check_files, read_table

_TOLD = ("st_size", "st_ino", "st_mtime_ns", "st_ctime_ns")
_STAMP = attrgetter(*_TOLD)
_MANY = 8  # files, for which it is worth to open their folder
_MOST = 4096  # of a folder's files are asked at once, for what is told of them is kept so long
_AFTER_SLASH = chr(ord("/") + 1)


class Look(NamedTuple):
    """What a look at a unit's files found: their number and bytes, and the digest of all names and stamps."""

    n_files: int
    n_bytes: int
    state: str


def look(root: Path, paths: Sequence[str]) -> Look:
    """Asks the system for the size, inode and times of change of every file, in this order. Opens none.

    Where many lie in a folder they are asked of that folder, because to find the way to a file takes the system as long
    as to answer.

    Args:
        paths: sorted.

    Raises:
        SourceChanged: one is gone.
        MalformedSource: the name of one is not UTF-8.
    """
    stamps, hashed = array("Q"), hashlib.sha256(utf8(str(root)).encode())
    first = 0
    try:
        while first < len(paths):
            folder, slash, _ = paths[first].rpartition("/")
            most = min(first + _MOST, len(paths))
            last = bisect_left(paths, f"{folder}{_AFTER_SLASH}", first, most) if slash else first + 1
            handle = _opened(f"{root}/{folder}") if slash and last - first >= _MANY else None
            together = paths[first:last]
            try:
                _add(stamps, root, together, handle, len(folder) + 1)
            finally:
                if handle is not None:
                    os.close(handle)
            hashed.update(_names(root, together))
            first = last
    except FileNotFoundError as error:
        raise SourceChanged(f"{root}/{_gone(root, paths)}") from error
    hashed.update(stamps.tobytes())
    return Look(len(paths), sum(stamps[:: len(_TOLD)]), hashed.hexdigest())


def _add(stamps: array[int], root: Path, paths: Sequence[str], folder: int | None, n_above: int) -> None:
    """Adds what the system says of each file."""
    stat, stamp = os.stat, _STAMP  # of their own, and in a comprehension: `map` and `partial` take a tenth longer
    if folder is None:
        told = [stamp(stat(f"{root}/{path}")) for path in paths]
    else:
        told = [stamp(stat(path[n_above:], dir_fd=folder)) for path in paths]
    n_before = len(stamps)
    try:
        stamps.extend(chain.from_iterable(told))
    except OverflowError:  # a time before 1970
        del stamps[n_before:]
        for path in paths:
            stamps.extend(number % 2**64 for number in _STAMP(os.stat(f"{root}/{path}")))


def _names(root: Path, paths: Sequence[str]) -> bytes:
    """Each path after a zero, which no path holds."""
    try:
        return b"\0" + "\0".join(paths).encode()
    except UnicodeEncodeError:
        for path in paths:
            utf8(f"{root}/{path}")
        raise


def _opened(folder: str) -> int | None:
    """A handle of a folder; None where it can be passed through and not listed."""
    try:
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        return None


def _gone(root: Path, paths: Sequence[str]) -> str:
    """The first of these that is not there; where all are again, the first."""
    return next((path for path in paths if not os.path.exists(f"{root}/{path}")), paths[0])


def utf8(place: str) -> str:
    """The path of a file, which can be written down.

    Raises:
        MalformedSource: its name is not UTF-8.
    """
    try:
        place.encode()
    except UnicodeEncodeError as error:
        shown = os.fsencode(place).decode("utf-8", "replace")
        raise MalformedSource(shown, "its name is not UTF-8: rename it") from error
    return place


class Files(Sequence[RawFile]):
    """The raw files of a unit in order, of which the number is known and the rest is asked for when somebody wants it.
    Sent to another process it is the tuple that it stands for."""

    def __init__(self, n_files: int, load: Callable[[], tuple[RawFile, ...]]) -> None:
        self._n_files, self._load = n_files, load

    @cached_property
    def _files(self) -> tuple[RawFile, ...]:
        return self._load()

    def __len__(self) -> int:
        return self._n_files

    @overload
    def __getitem__(self, place: int) -> RawFile: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[RawFile]: ...
    def __getitem__(self, place: int | slice) -> RawFile | Sequence[RawFile]:
        return self._files[place]

    def __iter__(self) -> Iterator[RawFile]:
        return iter(self._files)

    def __eq__(self, other: object) -> bool:
        return self._files == (other._files if isinstance(other, Files) else other)

    def __hash__(self) -> int:
        return hash(self._files)

    def __reduce__(self) -> tuple[type[tuple], tuple[tuple[RawFile, ...]]]:
        return tuple, (self._files,)


def recorded_files(path: Path) -> Files:
    """The raw files that a unit's record (`files.parquet`) lists.

    Raises:
        SchemaMismatch: it cannot be read; of its columns, when somebody asks for a file.
    """
    check_files([path], FILES)
    with pq.ParquetFile(path) as file:
        return Files(file.metadata.num_rows, lambda: files_of(read_table(path, FILES)))


def files_of(table: pa.Table) -> tuple[RawFile, ...]:
    """The raw files that a table with the columns of a record lists."""
    return tuple(map(RawFile, *(table.column(name).to_pylist() for name in ("path", "n_bytes", "sha256"))))
