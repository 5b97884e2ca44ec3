"""The database of an embedded Prefect server: made once for a version of Prefect, and copied for every lake after it.

A new one takes Prefect some hundred migrations, seven processor seconds. What they end with, before any flow ran, is
kept in the user's cache (XDG_CACHE_HOME, or ~/.cache). Delete it, and the next new lake makes it again.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path

_DATABASE = "prefect.db"
_COMPLETE = "prefect.db.complete"


def path(home: Path) -> Path:
    """Where a server keeps its database."""
    return home / _DATABASE


def prepare(home: Path) -> None:
    """Before a server starts: removes a database whose making was killed half-way, since no start could use it, and
    puts a copy of the kept one in its place. A kept one that is damaged goes too."""
    if (home / _COMPLETE).exists():
        return
    for part in home.glob(f"{_DATABASE}*"):
        part.unlink()
    try:
        if _is_whole(_kept()):
            shutil.copyfile(_kept(), path(home))
        else:
            _kept().unlink(missing_ok=True)
    except OSError:  # a cache that cannot be read costs the lake some seconds, no more
        path(home).unlink(missing_ok=True)


def complete(home: Path) -> None:
    """Once a server answers: its database is whole. One that is new, and holds nothing of any run yet, is kept for the
    lakes to come."""
    is_new = not (home / _COMPLETE).exists()
    (home / _COMPLETE).touch()
    kept = _kept()
    scratch = kept.with_suffix(f".{os.getpid()}")
    with suppress(OSError, sqlite3.Error):  # a cache that cannot be written costs the next lake some seconds, no more
        if not is_new or kept.exists():
            return
        kept.parent.mkdir(parents=True, exist_ok=True)
        try:
            with closing(sqlite3.connect(path(home))) as made, closing(sqlite3.connect(scratch)) as copy:
                made.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")  # one file, which may be read without writing beside it
            with open(scratch, "rb") as stream:
                os.fsync(stream.fileno())
            scratch.replace(kept)
        finally:
            scratch.unlink(missing_ok=True)


def _is_whole(kept: Path) -> bool:
    if not kept.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{kept.as_uri()}?mode=ro", uri=True)) as database:
            return bool(database.execute("PRAGMA quick_check").fetchone() == ("ok",))
    except sqlite3.DatabaseError:
        return False


def _kept() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "emolake" / f"prefect-{version('prefect')}.db"
