"""A lake on a real protocol whose server fails, is slow and lists late, in one process; whole builds are in
tests/flows/test_failing_store.py."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.warehouse.failing_proxy import failing_proxy
from tests.warehouse.s3_server import s3_bucket
from warehouse import Request, Warehouse, copies
from warehouse.audit.verify import verify


@pytest.fixture
def bucket(copies_in: Callable[[str], None]) -> Iterator[str]:
    with s3_bucket() as url:
        yield url
    copies.REMOTES.clear()


def test_commits_to_a_server_that_fails_and_lists_late_are_those_of_a_folder(
    bucket: str, tmp_path: Path, copies_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    def built(lake: Warehouse) -> dict[str, str]:
        for number in range(5):

            def write(folder: Path, text: str = str(number)) -> None:
                (folder / "one.txt").write_text(text)

            lake.materialize(Request("raw", "x", 1, {"n": number}), write)
            lake.set_ref("notes/last", {"number": number})
        return {a.key: a.digest for a in lake.artifacts()}

    sound = built(Warehouse(tmp_path / "sound", create=True))
    own = os.environ["AWS_ENDPOINT_URL"]
    with failing_proxy(own, fails=0.1, late_s=0.5) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        s3fs.S3FileSystem.clear_instance_cache()
        assert built(Warehouse(f"{bucket}/lake", create=True)) == sound
        assert {"500", "503", "cut", "lost", "late"} <= proxy.told.keys()
    monkeypatch.setenv("AWS_ENDPOINT_URL", own)
    s3fs.S3FileSystem.clear_instance_cache()
    copies.REMOTES.clear()
    copies_in("other")
    lake = Warehouse(f"{bucket}/lake")
    assert {a.key: a.digest for a in lake.artifacts()} == sound and verify(lake) == []
    assert lake.ref("notes/last") == {"number": 4}
