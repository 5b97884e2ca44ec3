"""What a lake remembers beside its artifacts, caches, states and logs, less what a purge withdraws."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from warehouse.audit.at_work import unserved
from warehouse.audit.rewriting import names_any
from warehouse.audit.withdrawal import Withdrawal

_REMEMBERED = (".resume", ".logs", ".cache", ".prefect")
"""Folders beside the artifacts that may be deleted."""


def forget(lake: Path, withdrawal: Withdrawal, tainted: Sequence[str]) -> None:
    """Removes what is remembered beside artifacts and is, or may be, of what goes. A state of a fit says not whose
    utterances it saw, so all go: those fits begin again. So do counts of what was met before.

    Args:
        tainted: keys of models whose logs go.

    Raises:
        LakeServed: what a server remembers names what goes, and the server lives.
    """
    shutil.rmtree(lake / ".resume", ignore_errors=True)
    (lake / ".cache" / "overlaps-met").unlink(missing_ok=True)
    for key in tainted:
        shutil.rmtree(lake / ".logs" / key, ignore_errors=True)
    for path in [*lake.glob("*.duckdb"), *(lake / ".cache" / "voice").glob("*")]:
        if path.suffix == ".duckdb" or path.name.partition("-")[0] in withdrawal.recordings:
            path.unlink(missing_ok=True)
    _forget_digests(lake / ".cache" / "raw.sqlite", withdrawal)
    for folder in _REMEMBERED:
        paths = [path for path in (lake / folder).rglob("*") if path.is_file() and "raw.sqlite" not in path.name]
        named = [path for path in paths if names_any(path, withdrawal)]
        if named and folder == ".prefect":  # one database in several files
            with unserved(lake):
                shutil.rmtree(lake / folder, ignore_errors=True)
        for path in named:
            path.unlink(missing_ok=True)


def _forget_digests(path: Path, withdrawal: Withdrawal) -> None:
    """Takes the paths of recordings of which nothing stays out of the database of raw files, and off its pages."""
    if not path.exists() or not withdrawal.recordings:
        return
    with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as database:
        database.execute("PRAGMA secure_delete = ON")
        database.executemany("DELETE FROM raw WHERE sha256 = ?", [(one,) for one in sorted(withdrawal.recordings)])
        database.execute("VACUUM")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
