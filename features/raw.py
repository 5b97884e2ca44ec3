"""The raw files of a corpus: hashed once, then recognised by size, inode and times of change."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager
from functools import partial
from itertools import islice
from operator import eq
from pathlib import Path
from typing import NamedTuple

from features.plugin import RawFile
from features.unit_files import Files, look, utf8
from warehouse.errors import DiskFull, SourceChanged, UnreadableDigests
from warehouse.hashing import digest, file_digest
from warehouse.schema import FILES
from warehouse.tables import write_rows

VERSION = 1

_LOOK_UP = 1000  # files whose digests are looked up at once
_N_READERS = 4
_GROUP_FILES, _GROUP_BYTES = 64, 2**23  # what a reader is given at once: one file that is large, or some small ones
_KEEP_EVERY_S = 0.2
"""How much hashing a kill may cost. Keeping each digest by itself costs more than hashing a small file."""


class RawDigests:
    """SHA-256 of files, remembered in a small database inside the lake. Delete it and files are hashed again."""

    def __init__(self, lake: Path) -> None:
        self.lake = lake
        self._path = lake / ".cache" / "raw.sqlite"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(self._path, timeout=60, check_same_thread=False)
        with self._saying_what_is_wrong():
            # Not waiting for the disk: what a crash of the machine takes is hashed again.
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS raw (path TEXT PRIMARY KEY, stamp TEXT NOT NULL, sha256 TEXT NOT NULL)"
            )
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS units (place TEXT PRIMARY KEY, state TEXT NOT NULL, files TEXT NOT NULL)"
            )

    def raw_file(self, root: Path, path: str) -> RawFile:
        """Size and digest of one file.

        Raises:
            SourceChanged: the file is gone.
            MalformedSource: its name is not UTF-8.
            DiskFull: its digest could not be remembered.
            UnreadableDigests: the database is damaged.
        """
        return self.raw_files(root, [path])[path]

    def raw_files(
        self, root: Path, paths: Iterable[str], progress: Callable[[int], None] = lambda n_bytes: None
    ) -> dict[str, RawFile]:
        """`raw_file` for many; `progress` is told the bytes of each file done."""
        ordered = sorted(paths)
        found: dict[str, RawFile] = {}
        for first in range(0, len(ordered), _LOOK_UP):
            found |= self._raw_files(root, ordered[first : first + _LOOK_UP], progress)
        return found

    def unit(
        self, root: Path, name: str, paths: Iterable[str], progress: Callable[[int], None] = lambda n_bytes: None
    ) -> tuple[str, Sequence[RawFile]]:
        """The digest (`files_digest`) of a unit's files, and the files themselves, sorted by path.

        Where all are as they were at the last look, neither is any of them opened nor is each looked up: the digest of
        then is that of now, and the files are listed only if somebody asks for one.

        Args:
            name: tells this unit from others of the root, and from those that other readers find there.

        Raises:
            SourceChanged, MalformedSource, DiskFull, UnreadableDigests: as `raw_file`.
        """
        ordered = sorted(paths)
        if any(map(eq, ordered, islice(ordered, 1, None))):
            ordered = list(dict.fromkeys(ordered))
        seen, place = look(root, ordered), digest([str(root), name])
        with self._saying_what_is_wrong():
            known = self._database.execute("SELECT files FROM units WHERE place = ? AND state = ?", (place, seen.state))
            found = known.fetchone()
        if found is not None:
            progress(seen.n_bytes)
            return found[0], Files(seen.n_files, partial(_listed, self.lake, root, ordered, found[0]))
        files = tuple(self.raw_files(root, ordered, progress).values())
        whole = files_digest(files)
        if look(root, ordered) == seen:  # else something changed while it was hashed, and this is of no use
            with self._saying_what_is_wrong():
                self._database.execute("INSERT OR REPLACE INTO units VALUES (?, ?, ?)", (place, seen.state, whole))
        return whole, files

    def _raw_files(self, root: Path, paths: Sequence[str], progress: Callable[[int], None]) -> dict[str, RawFile]:
        places = {path: utf8(os.path.join(root, path)) for path in paths}
        question = "SELECT path, stamp, sha256 FROM raw WHERE path BETWEEN ? AND ?"
        span = min(places.values()), max(places.values())
        with self._saying_what_is_wrong():
            known = {place: (stamp, sha256) for place, stamp, sha256 in self._database.execute(question, span)}
        stamps = {path: _stamp(place) for path, place in places.items()}
        unseen = {path: stamp for path, stamp in stamps.items() if known.get(places[path], ("", ""))[0] != stamp.text}
        found = {
            path: RawFile(path, stamp.n_bytes, known[places[path]][1])
            for path, stamp in stamps.items() if path not in unseen
        }  # fmt: skip
        for file in found.values():
            progress(file.n_bytes)
        new: list[tuple[str, str, str]] = []
        kept_at = time.monotonic()
        with closing(_digests({path: places[path] for path in unseen}, unseen)) as digests:
            try:
                for path, sha256 in digests:
                    new.append((places[path], unseen[path].text, sha256))
                    found[path] = RawFile(path, unseen[path].n_bytes, sha256)
                    progress(unseen[path].n_bytes)
                    if time.monotonic() - kept_at > _KEEP_EVERY_S:
                        self._keep(new)
                        kept_at = time.monotonic()
            finally:
                self._keep(new)
        return {path: found[path] for path in paths}

    def _keep(self, new: list[tuple[str, str, str]]) -> None:
        """Remembers digests, in one short transaction: another process may be waiting to write its own."""
        if new:
            with self._saying_what_is_wrong():
                self._database.executemany("INSERT OR REPLACE INTO raw VALUES (?, ?, ?)", new)
            new.clear()

    def close(self) -> None:
        self._database.close()

    @contextmanager
    def _saying_what_is_wrong(self) -> Iterator[None]:
        try:
            with self._database:
                yield
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise DiskFull(self.lake, "the digests of raw files") from error
            if error.sqlite_errorcode in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                raise UnreadableDigests(self._path, str(error)) from error
            raise


class _Stamp(NamedTuple):
    """What tells that a file is as it was, and its size."""

    text: str
    n_bytes: int


def _stamp(place: str) -> _Stamp:
    try:
        stat = os.stat(place)
    except FileNotFoundError as error:
        raise SourceChanged(place) from error
    return _Stamp(f"{stat.st_size} {stat.st_ino} {stat.st_mtime_ns} {stat.st_ctime_ns}", stat.st_size)


def _digests(places: Mapping[str, str], stamps: Mapping[str, _Stamp]) -> Generator[tuple[str, str]]:
    """Path and digest of each file, as they are done. Several are read at once: the disk or the network is what takes
    long."""
    groups: list[list[str]] = []
    n_bytes = _GROUP_BYTES
    for path in places:
        if n_bytes >= _GROUP_BYTES or len(groups[-1]) == _GROUP_FILES:
            groups.append([])
            n_bytes = 0
        groups[-1].append(path)
        n_bytes += stamps[path].n_bytes

    def hashed(group: list[str]) -> list[tuple[str, str]]:
        return [(path, file_digest(places[path])) for path in group]

    if len(groups) < 2:
        for group in groups:
            yield from hashed(group)
        return
    readers = ThreadPoolExecutor(_N_READERS)
    try:
        for done in as_completed([readers.submit(hashed, group) for group in groups]):
            yield from done.result()
    finally:
        readers.shutdown(cancel_futures=True)


def _listed(lake: Path, root: Path, paths: Sequence[str], whole: str) -> tuple[RawFile, ...]:
    """The files of a unit that was as it had been.

    Raises:
        SourceChanged: it is not any more.
    """
    with closing(RawDigests(lake)) as digests:
        files = tuple(digests.raw_files(root, paths).values())
    if files_digest(files) != whole:
        raise SourceChanged(root)
    return files


def files_digest(files: Iterable[RawFile]) -> str:
    """Identity of a unit's raw files: their paths, sizes and digests."""
    return digest([[file.path, file.n_bytes, file.sha256] for file in files])


def without(files: Iterable[RawFile], withdrawn: Collection[str]) -> list[RawFile]:
    """The files whose bytes (SHA-256) are not withdrawn (`warehouse.audit.tombstones`)."""
    return [file for file in files if file.sha256 not in withdrawn]


def write_files(folder: Path, files: Iterable[RawFile], withdrawn: Collection[str] = ()) -> None:
    """Writes `files.parquet`: the record from which every number is traced back to bytes. What is withdrawn is no part
    of it."""
    kept = without(files, withdrawn)
    rows = [{"path": file.path, "n_bytes": file.n_bytes, "sha256": file.sha256} for file in kept]
    write_rows(folder / "files.parquet", rows, FILES)
