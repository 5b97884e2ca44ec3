"""The database of a server in a new lake: made once, then copied."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from flows import server_database


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _home(tmp_path: Path, name: str) -> Path:
    home = tmp_path / name
    home.mkdir()
    return home


def _made(home: Path) -> None:
    """Stands for a server that makes its database and goes on writing into it."""
    with closing(sqlite3.connect(server_database.path(home))) as database, database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE flow_run (id INTEGER)")


def _tables(home: Path) -> list[tuple[str]]:
    with closing(sqlite3.connect(server_database.path(home))) as database:
        return database.execute("SELECT name FROM sqlite_master").fetchall()


def test_the_second_lake_gets_a_copy_of_what_the_first_made(tmp_path: Path) -> None:
    first, second = _home(tmp_path, "first"), _home(tmp_path, "second")
    server_database.prepare(first)
    assert not server_database.path(first).exists()
    _made(first)
    server_database.complete(first)
    with closing(sqlite3.connect(server_database.path(first))) as database, database:
        database.execute("CREATE TABLE of_a_run (id INTEGER)")
    server_database.prepare(second)
    assert _tables(second) == [("flow_run",)]
    assert not [path.name for path in (tmp_path / "cache" / "emolake").iterdir() if path.suffix != ".db"]


def test_what_a_killed_start_left_goes_and_what_is_complete_stays(tmp_path: Path) -> None:
    home = _home(tmp_path, "home")
    server_database.path(home).write_bytes(b"half")
    (home / "prefect.db-wal").write_bytes(b"half")
    server_database.prepare(home)
    assert list(home.iterdir()) == []
    _made(home)
    server_database.complete(home)
    server_database.prepare(home)
    assert _tables(home) == [("flow_run",)]


def test_a_cache_that_is_a_file_costs_time_only(tmp_path: Path, cache: Path) -> None:
    cache.write_text("in the way")
    home = _home(tmp_path, "home")
    _made(home)
    server_database.complete(home)
    server_database.prepare(_home(tmp_path, "next"))
    assert _tables(home) == [("flow_run",)]


def test_nothing_of_a_lake_that_ran_before_is_kept(tmp_path: Path, cache: Path) -> None:
    home = _home(tmp_path, "old")
    _made(home)
    (home / "prefect.db.complete").touch()
    server_database.prepare(home)
    server_database.complete(home)
    assert not cache.exists()


def test_a_damaged_copy_goes_and_is_made_again(tmp_path: Path, cache: Path) -> None:
    first, second = _home(tmp_path, "first"), _home(tmp_path, "second")
    _made(first)
    server_database.complete(first)
    (kept,) = (cache / "emolake").iterdir()
    kept.write_bytes(b"half")
    server_database.prepare(second)
    assert not kept.exists() and not server_database.path(second).exists()
    _made(second)
    server_database.complete(second)
    assert kept.exists()


def test_a_cache_that_cannot_be_read_costs_time_only(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = _home(tmp_path, "first"), _home(tmp_path, "second")
    _made(first)
    server_database.complete(first)

    def refused(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(server_database.shutil, "copyfile", refused)
    server_database.prepare(second)
    assert not server_database.path(second).exists()
