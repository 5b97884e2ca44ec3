"""What is taken away from a lake on a store: killed at any request, with others at work, seen by copies of other hosts.

gc is what takes away here (`flows.audit.collect`), of artifacts that are made by hand.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.audit.collect import Garbage, collect, garbage
from flows.run import Setup
from tests.warehouse.faulty_store import FaultyStore, on_store
from warehouse import Artifact, Request, Warehouse, copies
from warehouse.audit.errors import LakeAtWork, UnfinishedPurge
from warehouse.audit.verify import verify
from warehouse.copies import drop
from warehouse.in_progress import here, unfinished
from warehouse.operating_errors import BeingTaken, OtherLake, StoreAtWork, StoreFails, TakenMeanwhile
from warehouse.taking import alone, finish, purging, strays, sweep, take, take_alone

URL = "faulty://bucket/lake"
OTHER = "elsewhere-7-0123456789ab"

pytestmark = pytest.mark.usefixtures("store")


def make(lake: Warehouse, name: str, *sources: Artifact) -> Artifact:
    def write(folder: Path) -> None:
        (folder / "deep").mkdir()
        (folder / "deep" / "one.txt").write_text(name)
        (folder / "two.txt").write_text(name * 2)

    inputs = {"source": tuple(a.digest for a in sources)} if sources else {}
    return lake.materialize(Request("made", "x", 1, {"name": name}, inputs), write)


def built() -> dict[str, Artifact]:
    """A lake of which a name reaches `kept` and what that is made of."""
    lake = Warehouse(URL, create=True)
    made = {"source": make(lake, "source")}
    made["kept"] = make(lake, "kept", made["source"])
    made["old"] = make(lake, "old", made["source"])
    made["older"] = make(lake, "older", made["old"])
    lake.set_ref("weights/one", {"digest": made["kept"].digest, "folder": "/w"})
    return made


def rebuilt(content: dict[str, bytes]) -> Warehouse:
    """The store as it was, for a host that has no copy yet."""
    FaultyStore.reset()
    copies.REMOTES.clear()
    for path, one in content.items():
        FaultyStore.inner.pipe_file(path, one)
    return Warehouse(URL)


def content() -> dict[str, bytes]:
    return {path: FaultyStore.inner.cat_file(path) for path in FaultyStore.inner.find("/bucket")}


def rubbish_of(lake: Warehouse) -> Garbage:
    return garbage(Setup(lake.root, {}, "cpu", 1), hours=0)


def gc(lake: Warehouse) -> int:
    return collect(lake, rubbish_of(lake))


def keys(lake: Warehouse) -> set[str]:
    return {artifact.key for artifact in lake.artifacts()}


def places(*artifacts: Artifact) -> set[str]:
    return {f"made/{a.key}/{name}" for a in artifacts for name in (*a.files, "manifest.json")}


def marker() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(FaultyStore.inner.cat_file("/bucket/lake/lake.json"))
    return content


def at_request(number: int, do: Callable[[], None]) -> None:
    """Has something happen right before a request of those that follow."""
    seen = 0

    def before(request: str, path: str) -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            do()

    FaultyStore.before = staticmethod(before)


def killed_at(number: int) -> None:
    """Has this process be gone from a request on: neither it nor any later one is done."""

    def gone() -> None:
        FaultyStore.before = staticmethod(lambda request, path: gone())
        raise KeyboardInterrupt

    at_request(number, gone)


def in_peace() -> None:
    FaultyStore.before = staticmethod(lambda request, path: None)


def test_what_goes_is_gone_from_the_store_from_the_copy_and_from_copies_of_other_hosts(
    copies_in: Callable[[str], None],
) -> None:
    made = built()
    copies_in("other")
    other = Warehouse(URL)
    assert len(keys(other)) == 4 and made["old"].path("two.txt").exists()
    copies_in("one")
    lake, before = Warehouse(URL), marker()["id"]
    assert gc(lake) == 2 and set(on_store()) == places(made["source"], made["kept"])
    assert keys(lake) == {made["source"].key, made["kept"].key} and not made["old"].folder.exists()
    assert marker()["id"] != before and "taking" not in marker() and on_store(".working") == {}
    assert not [name for name in made["old"].files if any(name.encode() in one for one in on_store(".gone").values())]
    again = make(lake, "old", made["source"])
    copies.REMOTES.clear()
    copies_in("other")
    assert keys(Warehouse(URL)) == {made["source"].key, made["kept"].key, again.key}
    assert Warehouse(URL).find(made["older"].request) is None and verify(Warehouse(URL)) == []
    assert gc(Warehouse(URL)) == 1, "what was made anew may go again"
    copies.REMOTES.clear()
    copies_in("one")
    assert keys(Warehouse(URL)) == {made["source"].key, made["kept"].key}
    assert gc(Warehouse(URL)) == 0 and marker()["id"] == Warehouse(URL).store.id  # type: ignore[union-attr]


def test_killed_at_any_request_the_next_one_ends_it_and_nothing_is_left(
    copies_in: Callable[[str], None],
) -> None:
    made = built()
    number, seen, whole = 0, set(), content()
    while True:
        number += 1
        copies_in(f"first-{number}")
        lake = rebuilt(whole)
        rubbish = rubbish_of(lake)
        killed_at(number)
        try:
            collect(lake, rubbish)
        except KeyboardInterrupt:
            in_peace()
        else:
            in_peace()
            break
        copies.REMOTES.clear()
        copies_in(f"second-{number}")
        there = {name for name, one in made.items() if f"made/{one.key}/manifest.json" in on_store()}
        assert {"source", "kept"} <= there, "what is wanted stays at every moment"
        lake = Warehouse(URL)
        assert {fault.key for fault in verify(lake)} <= (
            {"lake.json"} if there == made.keys() else {"lake.json", made["older"].key}
        )
        seen.add((len(there), "taking" in marker()))
        if "taking" in marker():
            with pytest.raises(BeingTaken, match=f"is taking something away from the lake {URL}, and nothing"):
                make(lake, "new")
            with pytest.raises(BeingTaken, match=r"if that host is gone for good, delete \.working/"):
                gc(lake)
        for name in on_store(".working"):
            FaultyStore.inner.rm_file(f"/bucket/lake/.working/{name}")
        gc(lake)
        assert set(on_store()) == places(made["source"], made["kept"]) and verify(lake) == []
        assert keys(lake) == {made["source"].key, made["kept"].key}
        copies.REMOTES.clear()
        copies_in(f"first-{number}")
        assert keys(Warehouse(URL)) == keys(lake) and verify(Warehouse(URL)) == []
        assert list((Warehouse(URL).root / "artifacts" / "made").iterdir()) != []
    assert number > 15 and seen >= {(4, False), (4, True), (2, True), (2, False)}


def test_of_one_who_begins_to_work_and_one_who_takes_away_at_most_one_goes_on(
    copies_in: Callable[[str], None],
) -> None:
    """Another host puts its name and reads the marker right before any request of this one."""
    built()
    refused, number, whole = set(), 0, content()
    while True:
        number += 1
        copies_in(str(number))
        lake, told = rebuilt(whole), list[dict[str, Any]]()
        rubbish, before = rubbish_of(lake), marker()["id"]

        def begin(told: list[dict[str, Any]] = told) -> None:
            FaultyStore.inner.pipe_file(f"/bucket/lake/.working/{OTHER}", b"{}")
            told.append(marker())

        at_request(number, begin)
        try:
            n_gone = collect(lake, rubbish)
        except StoreAtWork as error:
            assert f"somebody works in the lake {URL} ({OTHER} in .working)" in str(error)
            n_gone = 0
        in_peace()
        if not told:
            break
        works = "taking" not in told[0] and told[0]["id"] == before
        assert not (works and n_gone) and (n_gone or "taking" not in marker())
        refused.add((works, bool(n_gone)))
    assert refused >= {(True, False), (False, True)}


def test_of_two_who_take_away_at_once_at_most_one_does() -> None:
    made = built()
    lake = Warehouse(URL)
    rubbish = rubbish_of(lake)

    def write_over(request: str, path: str) -> None:
        if (request, path) == ("ls", "bucket/lake/.working"):
            told = marker() | {"taking": {"who": OTHER, "then": "0"}}
            FaultyStore.inner.pipe_file("/bucket/lake/lake.json", json.dumps(told).encode())

    FaultyStore.before = staticmethod(write_over)
    with pytest.raises(BeingTaken, match=OTHER):
        collect(lake, rubbish)
    in_peace()
    assert set(on_store()) == places(*made.values())


def test_what_is_cited_meanwhile_stays_and_what_rests_on_what_went_is_not_kept(
    copies_in: Callable[[str], None],
) -> None:
    made = built()
    copies_in("other")
    other = Warehouse(URL)
    assert other.find(made["old"].request) is not None
    copies_in("one")
    lake = Warehouse(URL)
    rubbish = rubbish_of(lake)
    copies_in("other")
    late = make(other, "late", made["old"])
    copies_in("one")
    assert collect(lake, rubbish) == 1
    assert set(on_store()) == places(made["source"], made["kept"], made["old"], late)
    with pytest.raises(TakenMeanwhile, match=f"taken away from the lake {URL} since this command began"):
        make(other, "later", made["older"])
    with other.scratch("run", is_announced=True):
        assert other.find(made["older"].request) is None and make(other, "latest", late)
    assert verify(other) == []


def test_a_process_that_could_not_learn_what_went_does_so_the_next_time(copies_in: Callable[[str], None]) -> None:
    """And a lake that is opened again does not speak for who opened it before."""
    made = built()
    copies_in("other")
    other = Warehouse(URL)
    assert len(keys(other)) == 4
    known = copies.REMOTES[other.root]
    copies_in("one")
    assert gc(Warehouse(URL)) == 2
    copies_in("other")
    copies.REMOTES[other.root] = known

    def fail(request: str, path: str) -> None:
        if "/.gone/" in path:
            raise ConnectionResetError

    FaultyStore.before = staticmethod(fail)
    with pytest.raises(StoreFails):
        Warehouse(URL)
    in_peace()
    assert keys(Warehouse(URL)) == {made["source"].key, made["kept"].key}
    with pytest.raises(TakenMeanwhile):
        make(other, "late", made["older"])
    make(Warehouse(URL), "late", made["kept"])
    assert verify(Warehouse(URL)) == []


def test_a_folder_of_the_copy_that_lost_its_manifest_is_no_hindrance() -> None:
    made = built()
    for name in ("old", "older"):
        (made[name].folder / "manifest.json").unlink()
    copies.REMOTES.clear()
    lake = Warehouse(URL)
    (made["kept"].folder / "manifest.json").unlink()
    found = lake.find(made["old"].request)
    assert found is not None and found.path("deep/one.txt").read_text() == "old"
    assert make(lake, "older", made["old"]).digest == made["older"].digest and len(keys(Warehouse(URL))) == 4
    drop(lake.root, found.folder)
    assert lake.store is not None
    lake.store.known[found.folder] = found
    with pytest.raises(TakenMeanwhile):
        lake.store._fetch(found, "deep/one.txt")
    assert not found.folder.exists()


def test_a_run_on_another_machine_of_the_same_name_is_one() -> None:
    made = built()
    lake = Warehouse(URL)
    host = here().partition("~")[0]
    for place in (f"{host}~{'b' * 12}.effffffc.{'c' * 12}", f"{host}~{'b' * 12}.effffffc", host):
        name = f"{place}-4000000-0123456789ab"
        FaultyStore.inner.pipe_file(f"/bucket/lake/.working/{name}", b"{}")
        with pytest.raises(StoreAtWork):
            gc(lake)
        (lake.root / ".scratch" / name).mkdir()
        assert Warehouse(URL) and set(on_store(".working")) == {name}
        FaultyStore.inner.rm_file(f"/bucket/lake/.working/{name}")
        shutil.rmtree(lake.root / ".scratch" / name, ignore_errors=True)
    assert gc(lake) == 2 and set(on_store()) == places(made["source"], made["kept"])


def test_scratch_that_nobody_touches_any_more_hinders_nobody() -> None:
    built()
    lake = Warehouse(URL)
    (lake.root / ".scratch" / OTHER).mkdir()
    os.utime(lake.root / ".scratch" / OTHER, (1, 1))
    assert gc(lake) == 2 and not (lake.root / ".scratch" / OTHER).exists()


def test_who_works_on_this_host_keeps_things_where_they_are_and_who_was_killed_does_not() -> None:
    built()
    lake = Warehouse(URL)
    (lake.root / ".scratch" / OTHER).mkdir()
    with pytest.raises(LakeAtWork):
        gc(lake)
    (lake.root / ".scratch" / OTHER).rmdir()
    left = f"{here()}-{4_000_000}-0123456789ab"
    FaultyStore.inner.pipe_file(f"/bucket/lake/.working/{left}", b"{}")
    assert gc(lake) == 2 and on_store(".working") == {}
    for killed in (lake.root / ".scratch" / left, lake.root / ".scratch" / OTHER):
        killed.mkdir()
        FaultyStore.inner.pipe_file(f"/bucket/lake/.working/{killed.name}", b"{}")
    Warehouse(URL)
    assert set(on_store(".working")) == {OTHER}


def test_what_killed_commits_left_goes_but_no_file_whose_manifest_a_listing_lacks() -> None:
    made = built()
    lake = Warehouse(URL)
    stray = ("made/0123/one.txt", "made/4567/deep/one.txt")
    for name in (*stray, "made/notes.txt"):
        FaultyStore.inner.pipe_file(f"/bucket/lake/artifacts/{name}", b"x")
    assert lake.store is not None and sorted(strays(lake.store)) == [f"artifacts/{name}" for name in stray]
    FaultyStore.stale = staticmethod(lambda path: path.endswith("manifest.json"))
    assert len(strays(lake.store)) == 10 and sweep(lake.store, strays(lake.store)) == 2
    FaultyStore.stale = staticmethod(lambda path: False)
    assert set(on_store()) == {"made/notes.txt", *places(*made.values())}
    FaultyStore.inner.rm_file("/bucket/lake/artifacts/made/notes.txt")
    FaultyStore.inner.pipe_file(f"/bucket/lake/artifacts/{stray[0]}", b"x")
    gc(lake)
    assert set(on_store()) == places(made["source"], made["kept"])


def test_what_was_staged_or_kept_for_artifacts_that_never_came_goes() -> None:
    made = built()
    lake = Warehouse(URL)
    kept = f"/bucket/lake/.resume/0123/00000001-{'0' * 64}.safetensors"
    for path in ("/bucket/lake/.staged/0123/abcd/rows.parquet", kept):
        FaultyStore.inner.pipe_file(path, b"x")
    staged = f"/bucket/lake/.staged/{made['kept'].key}/{made['kept'].digest}/two.txt"
    FaultyStore.inner.pipe_file(staged, b"keptkept")
    collect(lake, young := garbage(Setup(lake.root, {}, "cpu", 1), hours=24))
    assert young.leftovers == [] and on_store(".staged") == {} and len(on_store(".resume")) == 1
    found = rubbish_of(lake)
    assert found.leftovers == [lake.root / ".resume" / "0123"] and collect(lake, found) == 2
    assert on_store(".resume") == {} and verify(lake) == []


def test_a_store_that_fails_meanwhile_leaves_what_the_next_one_ends() -> None:
    made = built()
    lake = Warehouse(URL)
    rubbish = rubbish_of(lake)

    def fail(request: str, path: str) -> None:
        if request == "rm_file" and path.endswith("two.txt"):
            raise ConnectionResetError

    FaultyStore.before = staticmethod(fail)
    with pytest.raises(StoreFails, match=r"did not remove 'artifacts/made/\w+/two\.txt' in 7 attempts"):
        collect(lake, rubbish)
    in_peace()
    FaultyStore.fails = 0.1
    assert "taking" in marker() and [fault.key for fault in verify(lake)] == ["lake.json"]
    assert on_store(".working") == {} and on_store().keys() > places(made["source"], made["kept"])
    gc(lake)
    assert set(on_store()) == places(made["source"], made["kept"])
    copies.REMOTES.clear()
    assert keys(Warehouse(URL)) == {made["source"].key, made["kept"].key}


def test_a_choice_that_fails_or_is_of_nothing_changes_nothing() -> None:
    made = built()
    lake = Warehouse(URL)
    assert lake.store is not None
    before = marker()

    def fail() -> dict[str, list[str]]:
        raise ValueError("no choice")

    with lake.scratch("test", is_announced=True) as scratch:
        with pytest.raises(ValueError, match="no choice"):
            take(lake.store, scratch.name, fail)
        assert take(lake.store, scratch.name, dict) == 0
    finish(lake.store)
    assert marker() == before and set(on_store()) == places(*made.values()) and on_store(".gone") == {}
    FaultyStore.inner.pipe_file("/bucket/lake/lake.json", b'{"format":1,"id":"another"}')
    with pytest.raises(OtherLake):
        lake.scratch("run", is_announced=True).__enter__()


def test_killed_at_any_request_who_is_alone_stays_so_until_another_has_done_it(
    copies_in: Callable[[str], None],
) -> None:
    """As a purge: its journal is put, something is written, something taken away twice, and the journal goes."""
    made, journal = built(), "/bucket/lake/.purge/p.json"
    whole, seen, number = content(), set(), 0

    def purged(lake: Warehouse, is_first: bool = True) -> None:
        store = lake.store
        assert store is not None
        with alone(store, unfinished(), "p"):
            if is_first:
                store.objects.put(".purge/p.json", b"{}")
            elif not FaultyStore.inner.exists(journal):
                return
            make(lake, "instead", made["source"])
            for name in ("older", "old"):
                there = store.bring_manifest(lake.root / "artifacts" / "made" / made[name].key)
                take_alone(store, {f"made/{made[name].key}": list(made[name].files)} if there else {})
            store.objects.remove(".purge/p.json")

    while True:
        number += 1
        copies_in(f"first-{number}")
        lake = rebuilt(whole)
        killed_at(number)
        try:
            purged(lake)
        except KeyboardInterrupt:
            in_peace()
        else:
            in_peace()
            break
        copies.REMOTES.clear()
        copies_in(f"second-{number}")
        lake, is_held = Warehouse(URL), "taking" in marker()
        seen.add((is_held, FaultyStore.inner.exists(journal), f"made/{made['old'].key}/manifest.json" in on_store()))
        for name in on_store(".working"):
            if is_held and name == marker()["taking"]["who"]:
                with pytest.raises(BeingTaken):
                    purged(lake, False)
            FaultyStore.inner.rm_file(f"/bucket/lake/.working/{name}")
        if is_held:
            assert purging(lake.store) == "p"  # type: ignore[arg-type]
            with pytest.raises(UnfinishedPurge):
                make(lake, "new")
            with pytest.raises(UnfinishedPurge):
                finish(lake.store)  # type: ignore[arg-type]
            with pytest.raises(UnfinishedPurge), alone(lake.store, unfinished(), "another"):  # type: ignore[arg-type]
                pass
            purged(lake, False)
        assert "taking" not in marker() and on_store(".working") == {} and not FaultyStore.inner.exists(journal)
        there = {path.split("/")[1] for path in on_store() if path.endswith("manifest.json")}
        kept = {made["source"].key, made["kept"].key}
        assert there == {one.key for one in made.values()} or (kept < there and len(there) == 3)
        assert made["old"].key in there or not any(made["old"].key in path for path in on_store())
        assert verify(Warehouse(URL)) == []
    assert number > 20 and seen == {
        (False, False, True), (True, False, True), (True, True, True), (True, True, False), (True, False, False),
        (False, False, False),
    }  # fmt: skip


def test_of_one_who_begins_to_work_and_one_who_would_be_alone_at_most_one_goes_on() -> None:
    """Another host puts its name and reads the marker right before any request of this one."""
    built()
    refused, number, whole = set(), 0, content()
    while True:
        number += 1
        lake, told = rebuilt(whole), list[dict[str, Any]]()

        def begin(told: list[dict[str, Any]] = told) -> None:
            FaultyStore.inner.pipe_file(f"/bucket/lake/.working/{OTHER}", b"{}")
            told.append(marker())

        at_request(number, begin)
        try:
            with alone(lake.store, unfinished(), "p"):  # type: ignore[arg-type]
                is_over = not told
                at_request(0, begin)
        except StoreAtWork:
            refused.add("alone")
        else:
            if is_over:
                break
            assert told[0]["taking"]["purge"] == "p"
            refused.add("work")
        assert "taking" not in marker() and set(on_store(".working")) == {OTHER}
    assert refused == {"alone", "work"}
