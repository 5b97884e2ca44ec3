"""Files that are on a store alone: shards are fetched as they are read, or ahead of that, or streamed."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import webdataset
from webdataset.tariterators import group_by_keys, tar_file_expander

from tests.warehouse.faulty_store import FaultyStore
from warehouse import Artifact, Request, Warehouse, copies, objects
from warehouse.copies import fetch_ahead, fetched, remote_of
from warehouse.errors import SchemaMismatch
from warehouse.operating_errors import StoreFails
from warehouse.shards import INDEX, TAR, ShardReader, write_shard

URL = "faulty://bucket/lake"
ARRAYS = {f"u{n}": np.full((n + 1, 3), n, np.float32) for n in range(5)}


@pytest.fixture
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Artifact]]:
    """Shards of three fields that this host has only the manifests of."""
    FaultyStore.reset()
    monkeypatch.setattr(objects, "PAUSES_S", (0.0,))
    monkeypatch.setenv("EMOLAKE_COPIES", str(tmp_path / "copies"))
    lake = Warehouse(URL, create=True)
    members = [(name, f"id-{name}", array) for name, array in ARRAYS.items()]
    for field in ("one", "two", "three"):
        lake.materialize(Request("shards", "x", 1, {"field": field}), lambda folder: write_shard(folder, "x", members))
    shutil.rmtree(lake.root)
    copies.REMOTES.clear()
    yield Warehouse(URL).artifacts("shards")
    FaultyStore.reset()
    copies.REMOTES.clear()


def test_a_shard_is_fetched_when_its_first_member_is_read(shards: list[Artifact]) -> None:
    reader = ShardReader(shards[0].folder)
    assert list(reader) == list(ARRAYS) and shards[0].is_here(INDEX) and not shards[0].is_here(TAR)
    assert all(np.array_equal(reader.array(name), array) for name, array in ARRAYS.items())
    assert shards[0].is_here(TAR) and not shards[1].is_here(INDEX)


def test_a_fetched_tar_that_its_index_does_not_fit_is_refused(
    shards: list[Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = ShardReader(shards[0].folder)
    monkeypatch.setattr("warehouse.shards.fetched", lambda path: path.write_bytes(b""))
    with pytest.raises(SchemaMismatch, match=r"it names bytes that shard\.tar does not have, which are 0"):
        reader.array("u0")


def test_files_come_ahead_while_the_first_is_read_and_a_failure_is_told_to_who_opens_one(
    shards: list[Artifact],
) -> None:
    n_threads = threading.active_count()
    fetch_ahead(one.place(TAR) for one in shards)
    deadline = time.monotonic() + 20
    while not all(one.is_here(TAR) for one in shards) or threading.active_count() > n_threads:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    FaultyStore.fails = 1.0
    fetch_ahead([shards[0].place(INDEX)])
    with pytest.raises(StoreFails):
        fetched(shards[0].place(INDEX))


def test_webdataset_streams_shards_from_the_store(shards: list[Artifact]) -> None:
    streams = [{"url": one.key, "stream": one.stream(TAR)} for one in shards]
    found = list(webdataset.DataPipeline(lambda: streams, tar_file_expander, group_by_keys, webdataset.decode()))
    assert [one["__key__"] for one in found] == [*ARRAYS] * 3 and not shards[0].is_here(TAR)
    assert all(np.array_equal(one["x.npy"], ARRAYS[one["__key__"]]) for one in found)


def test_a_path_in_no_copy_is_left_as_it_is(tmp_path: Path, shards: list[Artifact]) -> None:
    for path in (tmp_path / "artifacts" / "raw" / "key" / "one.txt", tmp_path / "none"):
        assert fetched(path) == path and remote_of(path) is None and not path.exists()
    copies.REMOTES.clear()
    assert fetched(shards[0].place(TAR)) == shards[0].place(TAR) and shards[0].is_here(TAR)
