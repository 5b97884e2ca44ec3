"""Requests to a store, made again while it fails."""

from __future__ import annotations

import errno
import http.client
from pathlib import Path
from typing import Any

import pytest

from tests.warehouse.faulty_store import FaultyStore
from warehouse import objects
from warehouse.hashing import file_digest
from warehouse.objects import Objects, at_once
from warehouse.operating_errors import StoreFails

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def lake() -> Objects:
    return Objects("faulty://bucket/lake")


def test_a_file_is_put_listed_and_read_and_what_is_not_there_is_none(lake: Objects, tmp_path: Path) -> None:
    assert lake.get("refs/one.json") is None and lake.names("refs") == [] and lake.sizes("refs") == {}
    lake.put("refs/a/one.json", b"one")
    lake.put("refs/two.json", b"0123456789")
    assert lake.names("refs") == ["a", "two.json"] and lake.sizes("refs") == {"a/one.json": 3, "two.json": 10}
    assert lake.part("refs/two.json", 3, 5) == b"34" and lake.present("refs/a/one.json") == b"one"
    lake.copy("refs/two.json", "refs/three.json")
    lake.copy("refs/none.json", "refs/three.json")
    lake.remove("refs/two.json")
    lake.remove("refs/two.json")
    assert lake.names("refs") == ["a", "three.json"]
    sha256 = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882"
    assert lake.download("refs/three.json", tmp_path / "here", 10, sha256) and file_digest(tmp_path / "here") == sha256
    assert not lake.download("refs/a/one.json", tmp_path / "here", 10, sha256)
    assert not lake.download("refs/none.json", tmp_path / "here", 10, sha256)


def test_names_that_lead_out_of_a_folder_are_passed_over(lake: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {f"bucket/lake/refs/{name}": {"size": 1} for name in ("one.json", "../../evil.json", "a//b.json", "a/./b")}
    monkeypatch.setattr(FaultyStore, "find", lambda self, path, **options: found)
    monkeypatch.setattr(FaultyStore, "ls", lambda self, path, **options: [*found, "bucket/lake/refs/.."])
    assert lake.sizes("refs") == {"one.json": 1} and lake.names("refs") == ["b", "b.json", "evil.json", "one.json"]


def test_a_stamp_changes_with_the_content_or_always(lake: Objects) -> None:
    lake.put("refs/one.json", b"one")
    first = lake.stamps("refs")
    assert lake.stamps("refs") == first
    lake.put("refs/one.json", b"two")
    assert lake.stamps("refs") != first
    assert objects._stamp({"size": 3}) != objects._stamp({"size": 3})


@pytest.mark.parametrize("part", [0, 1 << 26])
def test_a_file_is_created_once(lake: Objects, tmp_path: Path, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_PART", part)
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    assert lake.upload(tmp_path / "one", "x") and not lake.upload(tmp_path / "two", "x")
    assert lake.get("x") == b"one" and not lake.create("x", b"two") and lake.create("y", b"two")
    assert lake.is_there("x") and not lake.is_there("z")
    lake.replace(tmp_path / "two", "x")
    assert lake.get("x") == b"two"


def test_a_store_without_conditions_is_asked_first(lake: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    real = FaultyStore.pipe_file

    def without(self: FaultyStore, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        if mode == "create":
            raise OSError(errno.ENOSYS, "NotImplemented")
        real(self, path, value)

    monkeypatch.setattr(FaultyStore, "pipe_file", without)
    assert lake.create("x", b"one") and not lake.create("x", b"two") and lake.get("x") == b"one"


def test_what_fails_is_asked_again_and_what_is_refused_is_not(lake: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def failing(n_times: int, error: OSError) -> None:
        def before(request: str, path: str) -> None:
            asked.append(request)
            if len(asked) <= n_times:
                raise error

        asked.clear()
        FaultyStore.before = staticmethod(before)

    failing(6, ConnectionResetError("cut off"))
    lake.put("x", b"one")
    assert len(asked) == 7
    failing(7, ConnectionResetError("cut off"))
    with pytest.raises(StoreFails, match=r"did not take 'x' in 7 attempts \(last: ConnectionResetError: cut off\)"):
        lake.put("x", b"one")
    failing(1, PermissionError("Access Denied"))
    with pytest.raises(StoreFails, match=r"did not give 'x' in 1 attempts \(last: PermissionError: Access Denied\)"):
        lake.get("x")
    failing(0, OSError())
    monkeypatch.setattr(FaultyStore, "stale", staticmethod(lambda path: True))
    with pytest.raises(StoreFails, match=r"'none' is not there yet"):
        lake.present("none")
    assert len(asked) == 7


def test_failures_that_are_no_errors_of_the_system_are_asked_again(lake: Objects) -> None:
    import aiohttp
    import urllib3.exceptions

    failures = [
        aiohttp.ClientPayloadError("Response payload is not completed"),
        urllib3.exceptions.IncompleteRead(1, 2),
        http.client.IncompleteRead(b"1", 2),
    ]

    def before(request: str, path: str) -> None:
        if failures:
            raise failures.pop()

    FaultyStore.before = staticmethod(before)
    lake.put("x", b"one")
    assert failures == [] and lake.get("x") == b"one"


def test_several_requests_are_answered_in_order() -> None:
    assert at_once(lambda n: n * n, range(50)) == [n * n for n in range(50)]
    assert at_once(str, ()) == [] and at_once(str, [1]) == ["1"]
