"""The catalog as a file: what any DuckDB client finds in it, while others write it anew."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent
from typing import Any

import duckdb
import pytest

from tests.sparing import first
from tests.warehouse.small_lake import MAIN, SmallLake, small_lake, utterance
from warehouse import Warehouse
from warehouse.audit.errors import NotACatalog
from warehouse.catalog_file import CATALOG, Catalog, catalog
from warehouse.errors import QueryFailed

HOUSE = Path(__file__).resolve().parents[2]


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    small = small_lake(tmp_path / "lake")
    ref = small.lake.ref("features/words") or {}
    small.lake.set_ref("features/words", ref | {"needs": "text", "hops_s": {"x": 0.01}})
    return small


def asked(path: Path, query: str) -> list[tuple[Any, ...]]:
    """As a client that knows nothing of us asks."""
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(query).fetchall()


def test_a_bare_client_has_the_views(small: SmallLake) -> None:
    made = catalog(small.lake)
    assert made == Catalog(small.lake.root / CATALOG, True, ("disagreement", "means_words", "side_by_side"))
    there = {name for (name,) in asked(made.path, "SHOW TABLES")}
    own = {name for (name,) in small.lake.sql("SHOW TABLES").fetchall()}
    assert there == (own | {"catalog", "left_out"}) - set(made.left_out)
    with duckdb.connect(str(made.path), read_only=True) as client, small.lake.connect() as ours:
        for name in sorted(own & there):
            query = f'SELECT count(*) FROM "{name}"'
            assert client.execute(query).fetchall() == ours.execute(query).fetchall(), name
    joined = "SELECT symbol FROM utterances JOIN intervals ON pair_id(audio_id, text_id) = input_id ORDER BY position"
    assert asked(made.path, joined) == [("SO",), ("IT",)]
    why = "it calls Python: ask `emolake sql`, or Warehouse.sql"
    assert asked(made.path, "FROM left_out") == [(name, why) for name in made.left_out]


def test_it_says_what_everything_means(small: SmallLake) -> None:
    path = catalog(small.lake).path
    silent = "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal AND coalesce(comment, '') = ''"
    assert asked(path, silent) == []
    for kind in ("table", "view"):
        query = f"SELECT {kind}_name FROM duckdb_{kind}s() WHERE NOT internal AND coalesce(comment, '') = ''"
        assert asked(path, query) == []


def test_it_is_written_again_when_it_is_stale_and_only_then(small: SmallLake) -> None:
    path = catalog(small.lake).path
    assert not catalog(small.lake).is_new and not catalog(Warehouse(small.lake.root)).is_new
    newer = small.reading("main", [MAIN, utterance("main", "u2", "new")], version=2)  # an artifact
    assert catalog(small.lake).is_new and asked(path, "SELECT count(*) FROM utterances") == [(2,)]
    small.ingested("main", newer)  # a name
    assert catalog(small.lake).is_new and asked(path, "SELECT count(*) FROM utterances") == [(3,)]
    assert not catalog(small.lake).is_new


@pytest.mark.parametrize("damage", first(2, ["absent", "cut", "empty", "garbage", "another"]))
def test_what_is_no_catalog_is_replaced(small: SmallLake, tmp_path: Path, damage: str) -> None:
    path = catalog(small.lake).path
    content = path.read_bytes()
    path.unlink()
    if damage == "another":
        with duckdb.connect(str(path)) as connection:
            connection.execute("CREATE TABLE mine (a INT)")
    elif damage != "absent":
        path.write_bytes({"empty": b"", "garbage": b"x" * 5000, "cut": content[: len(content) // 2]}[damage])
    assert catalog(small.lake).is_new and asked(path, "SELECT count(*) FROM utterances") == [(2,)]
    assert not catalog(small.lake).is_new


def test_a_lake_that_was_moved_has_a_stale_one(small: SmallLake, tmp_path: Path) -> None:
    catalog(small.lake)
    shutil.move(small.lake.root, tmp_path / "moved o'lake")
    lake = Warehouse(tmp_path / "moved o'lake")
    assert catalog(lake).is_new
    assert asked(lake.root / CATALOG, "SELECT lake FROM catalog") == [(str(lake.root),)]
    assert asked(lake.root / CATALOG, "SELECT count(*) FROM utterances") == [(2,)]


def test_it_can_lie_elsewhere_and_leaves_nothing_else(small: SmallLake, tmp_path: Path) -> None:
    before = {path for path in small.lake.root.rglob("*") if ".scratch" not in path.parts}
    path = tmp_path / "new" / "of lake.duckdb"
    assert catalog(small.lake, path) == Catalog(path, True, ("disagreement", "means_words", "side_by_side"))
    assert not catalog(small.lake, path).is_new
    assert os.listdir(path.parent) == [path.name] and os.listdir(small.lake.root / ".scratch") == []
    assert {path for path in small.lake.root.rglob("*") if ".scratch" not in path.parts} == before


@pytest.mark.parametrize("there", ["empty", "text", "folder", "database", "cut"])
def test_elsewhere_what_is_no_catalog_is_left_alone(small: SmallLake, tmp_path: Path, there: str) -> None:
    path = tmp_path / "mine"
    if there == "folder":
        path.mkdir()
    elif there == "database":
        with duckdb.connect(str(path)) as connection:
            connection.execute("CREATE TABLE catalog (lake VARCHAR, state VARCHAR)")
    else:
        content = catalog(small.lake).path.read_bytes()
        path.write_bytes({"empty": b"", "text": b"my thesis\n" * 900, "cut": content[: len(content) // 2]}[there])
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(NotACatalog, match=r"mine is there and cannot be told to be .*: it is left as it is; name"):
        catalog(small.lake, path)
    assert path.is_dir() if there == "folder" else path.read_bytes() == before
    assert {one.name for one in tmp_path.iterdir()} == {"lake", "mine"}


def test_elsewhere_the_catalog_of_another_state_or_lake_is_replaced(small: SmallLake, tmp_path: Path) -> None:
    path = tmp_path / "mine.duckdb"
    other = small_lake(tmp_path / "other").lake
    for lake in (small.lake, other, small.lake):
        assert catalog(lake, path).is_new
        assert asked(path, "SELECT lake FROM catalog") == [(str(lake.root),)]


def test_agreement_is_kept_as_it_is(small: SmallLake) -> None:
    path = catalog(small.lake).path
    assert asked(path, "SELECT table_name FROM duckdb_tables() WHERE table_name = 'agreement'") == [("agreement",)]


def test_a_damaged_lake_has_none(small: SmallLake) -> None:
    small.utterances.path("utterances.parquet").unlink()
    with pytest.raises(QueryFailed, match="the lake is damaged, see `emolake verify`"):
        catalog(small.lake)
    assert not (small.lake.root / CATALOG).exists() and os.listdir(small.lake.root / ".scratch") == []


def test_a_name_may_hold_quotes(small: SmallLake) -> None:
    """Whoever gives away a lake chooses what its refs are called."""
    name = """x" AS SELECT 1; CREATE TABLE taken (a INT); --'"""
    small.lake.set_ref(f"features/{name}", small.lake.ref("features/voice") or {})
    path = catalog(small.lake).path
    there = {name for (name,) in asked(path, "SELECT table_name FROM duckdb_columns()")}
    assert f"features_{name}" in there and "taken" not in there


READER = """
    import sys, time
    import duckdb
    path, until, n = sys.argv[1], time.monotonic() + float(sys.argv[2]), 0
    seen = set()
    while time.monotonic() < until or n < 3:
        with duckdb.connect(path, read_only=True) as connection:
            seen |= set(connection.execute("SELECT state FROM catalog").fetchall())
            assert connection.execute("SELECT count(*) FROM utterances").fetchall() == [(2,)]
        n += 1
    print(len(seen))
"""

BUILDER = """
    import sys, time
    from warehouse import Warehouse
    from warehouse.catalog_file import catalog
    lake, until, n = Warehouse(sys.argv[1]), time.monotonic() + float(sys.argv[2]), 0
    while time.monotonic() < until or n < 2:
        lake.set_ref("aligners/a" , {"plugin_key": f"{sys.argv[3]}-{n}"})
        n += catalog(lake).is_new
    print(n)
"""


@pytest.mark.parametrize("seconds", first(1, ["0.5", "5"]))
def test_readers_never_wait_and_builders_never_fail(small: SmallLake, seconds: str) -> None:
    """Two builders write it again and again, while two bare clients in processes of their own open and ask it."""
    catalog(small.lake)
    path = str(small.lake.root / CATALOG)
    asks = [[READER, path, seconds]] * 2
    builds = [[BUILDER, str(small.lake.root), seconds, name] for name in "ab"]
    environ = os.environ | {"PYTHONPATH": str(HOUSE)}
    began = time.monotonic()
    running = [
        subprocess.Popen(
            [sys.executable, "-c", dedent(code), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env=environ,
        )
        for code, *arguments in asks + builds
    ]  # fmt: skip
    said = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0] * 4, said
    assert all(int(out) >= 1 for out, _ in said), f"{said} in {time.monotonic() - began:.0f} s"
    assert sum(int(out) for out, _ in said[2:]) >= 4
    assert not catalog(small.lake).is_new or asked(Path(path), "SELECT count(*) FROM utterances") == [(2,)]
