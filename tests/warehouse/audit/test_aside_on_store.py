"""What is damaged on a store is put again from a sound copy, or lies aside in the copy and is gone from the store."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.audit.repair import repair
from flows.run import Setup
from tests.flows.audit.little import Little, at_once, write_little
from tests.warehouse.faulty_store import FaultyStore, on_store, put_lake
from tests.warehouse.small_lake import small_lake
from tests.warehouse.test_taking import built, content, in_peace, killed_at, rebuilt
from warehouse import Artifact, Warehouse, catalog_file, copies
from warehouse.audit.aside import ASIDE, Fate, damaged_in
from warehouse.audit.aside_on_store import clean_copy, mend_store
from warehouse.audit.errors import LakeAtWork
from warehouse.audit.verify import verify
from warehouse.catalog_file import catalog
from warehouse.operating_errors import StoreAtWork

URL = "faulty://bucket/lake"
OTHER = "elsewhere-7-0123456789ab"

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def lake(tmp_path: Path, copies_in: Callable[[str], None]) -> Warehouse:
    """A copy that has every file."""
    put_lake(small_lake(tmp_path / "folder").lake.root)
    lake = Warehouse(URL)
    for artifact in lake.artifacts():
        artifact.whole()
    return lake


def at(artifact: Artifact, name: str) -> str:
    return f"/bucket/lake/artifacts/{artifact.request.kind}/{artifact.key}/{name}"


def everything() -> dict[str, bytes]:
    return {path: FaultyStore.inner.cat_file(path) for path in FaultyStore.inner.find("/bucket")}


def mended(lake: Warehouse) -> list[Fate]:
    assert lake.store is not None
    return mend_store(lake, lake.store, verify(lake))


def of_kind(lake: Warehouse, kind: str) -> Artifact:
    return lake.artifacts(kind)[0]


def test_what_the_copy_has_is_put_again(lake: Warehouse, copies_in: Callable[[str], None]) -> None:
    before = everything()
    other, gone, torn = of_kind(lake, "utterances"), of_kind(lake, "split"), of_kind(lake, "checkpoint")
    FaultyStore.inner.pipe_file(at(other, "utterances.parquet"), b"others")
    FaultyStore.inner.rm_file(at(gone, "split.parquet"))
    FaultyStore.inner.pipe_file(at(torn, "manifest.json"), b"{")
    fates = {fate.key: fate for fate in mended(lake)}
    assert {fate.outcome for fate in fates.values()} == {"repaired"} and len(fates) == 3
    assert fates[other.key].told == "'utterances.parquet' put again, from this host's copy"
    assert fates[torn.key].told == "its manifest put again, from this host's copy"
    assert everything() == before and verify(lake) == [], "and no copy is out of date"


def test_what_the_copy_has_not_goes_aside_and_is_gone_from_the_store(
    lake: Warehouse, copies_in: Callable[[str], None]
) -> None:
    other, torn, split = of_kind(lake, "utterances"), of_kind(lake, "checkpoint"), of_kind(lake, "split")
    copies_in("other")
    assert Warehouse(URL).find(other.request) is not None
    copies_in("one")
    other.path("utterances.parquet").unlink()
    shutil.rmtree(torn.folder)
    FaultyStore.inner.pipe_file(at(other, "utterances.parquet"), b"others")
    FaultyStore.inner.pipe_file(at(torn, "manifest.json"), b"{")
    FaultyStore.inner.pipe_file(at(split, "deep/more.txt"), b"mine")
    FaultyStore.inner.pipe_file(at(other, "more.txt"), b"goes along with it")
    FaultyStore.inner.pipe_file("/bucket/lake/artifacts/utterances/notes.txt", b"mine")
    FaultyStore.inner.pipe_file("/bucket/lake/refs/features/voice.json", b"{")
    faults = verify(lake)
    FaultyStore.inner.pipe_file(f"/bucket/lake/.working/{OTHER}", b"{}")
    with pytest.raises(StoreAtWork):
        mended(lake)
    FaultyStore.inner.rm_file(f"/bucket/lake/.working/{OTHER}")
    assert {one.key for one in verify(lake)} == {one.key for one in faults}
    fates = mended(lake)
    assert sorted(fate.told for fate in fates) == [
        f"'split/{split.key}/deep/more.txt' is now below .damaged/extra",
        "'utterances/notes.txt' is now below .damaged/extra",
    ]
    aside = lake.root / ASIDE
    assert (aside / "extra" / "split" / split.key / "deep" / "more.txt").read_bytes() == b"mine"
    assert lake.find(split.request) is not None
    assert (aside / "utterances" / other.key / "utterances.parquet").read_bytes() == b"others"
    assert (aside / "checkpoint" / torn.key / "manifest.json").read_bytes() == b"{"
    assert (aside / "extra" / "utterances" / "notes.txt").read_bytes() == b"mine"
    assert (aside / "refs" / "features" / "voice.json").read_bytes() == b"{"
    assert not [name for name in everything() if other.key in name or torn.key in name or "notes" in name]
    assert {fault.what for fault in verify(lake)} == {"input", "name"} and "features/voice" not in lake.refs("features")
    assert not other.folder.exists()
    copies.REMOTES.clear()
    copies_in("other")
    assert Warehouse(URL).find(other.request) is None


def test_killed_at_any_request_nothing_damaged_is_lost(copies_in: Callable[[str], None]) -> None:
    made = built()
    bad = made["older"]
    FaultyStore.inner.pipe_file(at(bad, "two.txt"), b"flipped")
    number, whole = 0, content()
    while True:
        number += 1
        copies_in(f"copy-{number}")
        lake = rebuilt(whole)
        faults = verify(lake)
        assert lake.store is not None and [(fault.what, fault.file) for fault in faults] == [("bytes", "two.txt")]
        killed_at(number)
        try:
            mend_store(lake, lake.store, faults)
        except KeyboardInterrupt:
            in_peace()
        else:
            in_peace()
            break
        copies.REMOTES.clear()
        for name in on_store(".working"):
            FaultyStore.inner.rm_file(f"/bucket/lake/.working/{name}")
        lake = Warehouse(URL)
        mended(lake)
        [aside] = damaged_in(lake)
        assert aside.artifact is not None and (aside.folder / "two.txt").read_bytes() == b"flipped", number
        assert not [name for name in on_store() if bad.key in name] and verify(lake) == []
    assert number > 15


def test_what_is_damaged_twice_is_brought_once_and_what_went_since_leaves_what_lies_aside(copies_in: Any) -> None:
    made, asked = built(), list[str]()
    bad, lake = made["older"], Warehouse(URL)
    for name in bad.files:
        FaultyStore.inner.pipe_file(at(bad, name), b"flipped")
        (bad.folder / name).unlink(missing_ok=True)
    faults = verify(lake)
    assert lake.store is not None and [fault.file for fault in faults] == sorted(bad.files)

    def before(request: str, path: str) -> None:
        asked.append(path)

    FaultyStore.before = staticmethod(before)
    mend_store(lake, lake.store, faults)
    assert asked.count(at(bad, "two.txt")[1:]) == 2, "brought, and removed"
    mend_store(lake, lake.store, faults)
    [aside] = damaged_in(lake)
    assert (aside.folder / "two.txt").read_bytes() == b"flipped"


def test_who_works_keeps_a_copy_as_it_is_and_scratch_that_nobody_touches_keeps_nothing(lake: Warehouse) -> None:
    other = of_kind(lake, "utterances")
    (other.folder / "utterances.parquet").write_bytes(b"others")
    (lake.root / ".scratch" / OTHER).mkdir()
    with pytest.raises(LakeAtWork):
        mended(lake)
    assert (other.folder / "utterances.parquet").read_bytes() == b"others"
    os.utime(lake.root / ".scratch" / OTHER, (1, 1))
    mended(lake)
    assert not (lake.root / ".scratch" / OTHER).exists() and not (other.folder / "utterances.parquet").exists()


def test_a_copy_is_made_clean_before_anything_is_made_of_it(lake: Warehouse) -> None:
    flipped, torn, absent = of_kind(lake, "utterances"), of_kind(lake, "split"), of_kind(lake, "truth")
    shard = of_kind(lake, "shards")
    for path in (flipped.folder / "utterances.parquet", torn.folder / "manifest.json"):
        path.write_bytes(b"{")
    (of_kind(lake, "checkpoint").folder / "manifest.json").unlink()
    FaultyStore.inner.rm_file(at(absent, "manifest.json"))
    assert lake.store is not None
    told = list[tuple[int, int]]()
    clean_copy(lake, lake.store, lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] > 10
    assert not [folder for folder in lake.root.glob("artifacts/*/*") if not (folder / "manifest.json").exists()]
    assert not (flipped.folder / "utterances.parquet").exists() and (shard.folder / "shard.tar").exists()
    assert not torn.folder.exists() and not absent.folder.exists() and lake.find(torn.request) is not None
    assert flipped.path("utterances.parquet").stat().st_size == flipped.files["utterances.parquet"]["n_bytes"]


def test_a_catalog_has_what_another_process_of_this_host_lists_meanwhile(
    lake: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import duckdb

    hidden = of_kind(lake, "utterances").folder
    (hidden / "utterances.parquet").unlink()
    os.rename(hidden, tmp_path / "hidden")
    monkeypatch.setattr(lake.manifests, "_pull", None)
    fetch, n_names = catalog_file._fetch_tables, list[int]()

    def and_then_more(warehouse: Warehouse, progress: Any) -> int:
        n_names.append(len(on_store(".working")))
        n_fetched = fetch(warehouse, progress)
        if not hidden.exists():
            os.rename(tmp_path / "hidden", hidden)
        return n_fetched

    monkeypatch.setattr(catalog_file, "_fetch_tables", and_then_more)
    catalog(lake, tmp_path / "one.duckdb")
    with duckdb.connect(str(tmp_path / "one.duckdb"), read_only=True) as connection:
        counts = connection.execute("SELECT corpus, count(*) FROM utterances GROUP BY ALL ORDER BY ALL").fetchall()
    assert counts == [("main", 1), ("other", 1)] and n_names == [0, 1, 1] and on_store(".working") == {}


def test_a_catalog_is_of_the_copy_which_has_every_table_then(lake: Warehouse, tmp_path: Path) -> None:
    import duckdb

    shutil.rmtree(lake.root)
    copies.REMOTES.clear()
    lake, told = Warehouse(URL), list[tuple[int, int]]()
    made = catalog(lake, progress=lambda done, total: told.append((done, total)))
    assert made.is_new and made.path == lake.root / "catalog.duckdb" and told[-1][0] == told[-1][1] > 10
    assert not catalog(lake, progress=lambda done, total: told.append((0, 0))).is_new and told[-1] != (0, 0)
    assert catalog(lake, tmp_path / "elsewhere.duckdb").is_new
    with duckdb.connect(str(tmp_path / "elsewhere.duckdb"), read_only=True) as connection:
        count = "SELECT corpus, count(*) FROM utterances GROUP BY ALL ORDER BY ALL"
        assert connection.execute(count).fetchall() == lake.sql(count).fetchall() == [("main", 1), ("other", 1)]


@pytest.mark.slow
def test_a_lake_on_a_store_is_made_whole_again_from_its_recipe(
    tmp_path: Path, copies_in: Callable[[str], None]
) -> None:
    little: Little = write_little(tmp_path / "little")
    put_lake(little.warehouse.root)
    lake = Warehouse(URL)
    whole = {a.key: a.digest for a in lake.artifacts()}
    kinds = {a.request.kind: a for a in lake.artifacts()}
    for artifact in kinds.values():
        FaultyStore.inner.pipe_file(
            at(artifact, max(artifact.files, key=lambda one: artifact.files[one]["n_bytes"])), b"x"
        )
    faults, unannounced = verify(lake), list[str]()

    def before(request: str, path: str) -> None:
        if request == "pipe_file" and path.endswith("manifest.json") and not on_store(".working"):
            unannounced.append(path)

    FaultyStore.before = staticmethod(before)

    def anew(works: Any, bar: Any) -> Any:
        """As workers do, which open the lake after what was damaged has been taken away."""
        return at_once(Warehouse(URL))(works, bar)

    fates = repair(Setup(lake.root, {}, "cpu", 1), faults, anew)
    assert unannounced == []
    assert {fate.outcome for fate in fates} == {"repaired"} and {fate.key for fate in fates} >= {
        a.key for a in kinds.values()
    }
    assert verify(Warehouse(URL)) == [] and {a.key: a.digest for a in Warehouse(URL).artifacts()} == whole
    assert not (lake.root / ASIDE).exists() and json.loads(FaultyStore.inner.cat_file("/bucket/lake/lake.json"))["id"]
