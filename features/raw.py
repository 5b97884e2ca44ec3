"""The raw files of a corpus: hashed once, then recognised by size, inode and times of change."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from features.plugin import RawFile
from warehouse.errors import DiskFull, SourceChanged
from warehouse.hashing import digest, file_digest
from warehouse.schema import FILES
from warehouse.tables import write_rows

VERSION = 1


class RawDigests:
    """SHA-256 of files, remembered in a small database inside the lake. Delete it and files are hashed again."""

    def __init__(self, lake: Path) -> None:
        self._lake = lake
        path = lake / ".cache" / "raw.sqlite"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path, timeout=60, check_same_thread=False)
        with self._saying_disk_full():
            # A commit per file, so that a kill loses one digest; not waiting for the disk, so that it costs nothing.
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS raw (path TEXT PRIMARY KEY, stamp TEXT NOT NULL, sha256 TEXT NOT NULL)"
            )

    def raw_file(self, root: Path, path: str) -> RawFile:
        """Size and digest of one file.

        Raises:
            SourceChanged: the file is gone.
            DiskFull: its digest could not be remembered.
        """
        absolute = root / path
        try:
            stat = absolute.stat()
        except FileNotFoundError as error:
            raise SourceChanged(absolute) from error
        stamp = f"{stat.st_size} {stat.st_ino} {stat.st_mtime_ns} {stat.st_ctime_ns}"
        row = self._database.execute("SELECT stamp, sha256 FROM raw WHERE path = ?", (str(absolute),)).fetchone()
        if row is not None and row[0] == stamp:
            return RawFile(path, stat.st_size, row[1])
        sha256 = file_digest(absolute)
        with self._saying_disk_full():
            self._database.execute("INSERT OR REPLACE INTO raw VALUES (?, ?, ?)", (str(absolute), stamp, sha256))
        return RawFile(path, stat.st_size, sha256)

    def raw_files(
        self, root: Path, paths: Iterable[str], progress: Callable[[int], None] = lambda n_bytes: None
    ) -> dict[str, RawFile]:
        """`raw_file` for many; `progress` is told the bytes of each file done."""
        found = {}
        for path in sorted(paths):
            found[path] = self.raw_file(root, path)
            progress(found[path].n_bytes)
        return found

    def close(self) -> None:
        self._database.close()

    @contextmanager
    def _saying_disk_full(self) -> Iterator[None]:
        try:
            with self._database:
                yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise DiskFull(self._lake, "the digests of raw files") from error
            raise


def files_digest(files: Iterable[RawFile]) -> str:
    """Identity of a unit's raw files: their paths, sizes and digests."""
    return digest([[file.path, file.n_bytes, file.sha256] for file in files])


def write_files(folder: Path, files: Iterable[RawFile]) -> None:
    """Writes `files.parquet`: the record from which every number is traced back to bytes."""
    rows = [{"path": file.path, "n_bytes": file.n_bytes, "sha256": file.sha256} for file in files]
    write_rows(folder / "files.parquet", rows, FILES)
