"""Whole builds in a lake on S3 whose server fails, or fails and is slow: the command line, Prefect, worker processes,
jobs; held against builds in a folder that nobody disturbed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flows.test_on_s3 import emolake
from tests.reliability.rounds import Bench, holdings
from tests.warehouse.failing_proxy import failing_proxy
from tests.warehouse.s3_server import s3_bucket
from warehouse import Warehouse, copies
from warehouse.audit.verify import verify
from warehouse.remote import copy_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    one = Bench(tmp_path_factory.mktemp("bench"))
    with one.served(), pytest.MonkeyPatch.context() as patch:
        for name, value in one.environment.items():
            patch.setenv(name, value)
        yield one


@pytest.mark.parametrize(
    ("recipe", "how"), [("fitted", {"fails": 0.1}), ("both", {"fails": 0.1, "slow_s": 0.1})], ids=["fails", "slow"]
)
def test_a_build_over_such_a_store_is_that_of_a_folder(
    bench: Bench, recipe: str, how: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    peaceful, _ = bench.in_peace(recipe)
    monkeypatch.setenv("EMOLAKE_COPIES", str(tmp_path / "one"))
    with s3_bucket() as bucket:
        lake, own = f"{bucket}/lake", os.environ["AWS_ENDPOINT_URL"]
        arguments = [lake if one == "LAKE" else one for one in bench.arguments(recipe, Path("LAKE"))]
        with failing_proxy(own, **how) as proxy, monkeypatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", proxy.url)
            emolake(*arguments)
            assert {"500", "503", "cut", "lost"} <= proxy.told.keys()
        shutil.rmtree(tmp_path / "one")
        monkeypatch.setenv("EMOLAKE_COPIES", str(tmp_path / "two"))
        s3fs.S3FileSystem.clear_instance_cache()
        assert holdings(copy_of(lake)) == peaceful
        found = Warehouse(lake)
        assert verify(found) == [] and found.store is not None and found.store.objects.sizes(".working") == {}
        copies.REMOTES.clear()


def test_a_build_whose_listings_are_behind_loses_no_row_and_shows_none_twice(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which artifacts there are may differ: batches are made of the rows that a listing lacks, so what it misses of an
    earlier step is asked for in other batches, or again. Every such artifact is sound, and views show a row once."""
    import s3fs

    peaceful, _ = bench.in_peace("fitted")
    monkeypatch.setenv("EMOLAKE_COPIES", str(tmp_path / "one"))
    with s3_bucket() as bucket:
        lake, own = f"{bucket}/lake", os.environ["AWS_ENDPOINT_URL"]
        arguments = [lake if one == "LAKE" else one for one in bench.arguments("fitted", Path("LAKE"))]
        with failing_proxy(own, fails=0.1, late_s=3.0) as proxy, monkeypatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", proxy.url)
            emolake(*arguments)
            assert {"500", "503", "cut", "lost", "late"} <= proxy.told.keys()
        shutil.rmtree(tmp_path / "one")
        monkeypatch.setenv("EMOLAKE_COPIES", str(tmp_path / "two"))
        s3fs.S3FileSystem.clear_instance_cache()
        found = holdings(copy_of(lake))
        assert found.rows == peaceful.rows and found.names == peaceful.names
        assert verify(Warehouse(lake)) == []
        copies.REMOTES.clear()
