"""What is on a store is looked at there, whatever this host's copy holds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.warehouse.faulty_store import FaultyStore
from warehouse import Request, Warehouse
from warehouse.audit.on_store import Shadow
from warehouse.audit.verify import verify

URL = "faulty://bucket/lake"

pytestmark = pytest.mark.usefixtures("store")


def write_one(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "one.txt").write_text("one")


def test_a_shadow_is_what_the_store_has_without_the_files(tmp_path: Path) -> None:
    lake = Warehouse(URL, create=True)
    lake.set_ref("notes/one", {"n": 1})
    made = lake.materialize(Request("raw", "x", 1), write_one)
    FaultyStore.inner.pipe_file("/bucket/lake/artifacts/raw/0123/one.txt", b"of one who was killed")
    assert lake.store is not None
    shadow = Shadow(lake.store, tmp_path / "shadow")
    paths = [path.relative_to(shadow.root).as_posix() for path in sorted(shadow.root.rglob("*")) if path.is_file()]
    assert paths == [f"artifacts/raw/{made.key}/manifest.json", "lake.json", "refs/notes/one.json"]
    there = Warehouse(shadow.root).artifacts()[0]
    assert shadow.listing(there)[0]["deep/one.txt"] == 3 and shadow.is_same(there, "deep/one.txt")
    later = lake.materialize(Request("raw", "x", 2), write_one)
    shadow.look()
    assert (shadow.root / "artifacts" / "raw" / later.key / "manifest.json").exists()


def test_a_damaged_copy_is_no_damage_and_a_sound_copy_hides_none() -> None:
    lake = Warehouse(URL, create=True)
    made = lake.materialize(Request("raw", "x", 1), write_one)
    made.path("deep/one.txt").write_text("two")
    assert verify(lake) == []
    shutil.rmtree(made.folder)
    made = lake.materialize(Request("raw", "x", 1), write_one)
    place = f"/bucket/lake/artifacts/raw/{made.key}"
    FaultyStore.inner.pipe_file(f"{place}/deep/one.txt", b"two")
    assert [fault.what for fault in verify(lake)] == ["bytes"]
    FaultyStore.inner.rm_file(f"{place}/manifest.json")
    assert verify(lake) == [], "a folder without a manifest does not exist"
    FaultyStore.inner.pipe_file("/bucket/lake/lake.json", b'{"format":2}')
    assert [fault.key for fault in verify(lake)] == ["lake.json"]
