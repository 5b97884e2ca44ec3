"""A lake on a store: commits without rename, races, kills, failing and late stores; over memory and over real S3."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from infra.runtime import BadSetting, read_runtime
from tests.warehouse.faulty_store import FaultyStore, on_store
from tests.warehouse.s3_server import s3_bucket
from warehouse import Artifact, Request, Warehouse, Work, copies
from warehouse.audit.errors import SecretToldOn
from warehouse.audit.tombstones import Tombstone, hashed, tombstones
from warehouse.audit.verify import verify
from warehouse.errors import DiskFull, NewerFormat, NotALake
from warehouse.marker import renew_id
from warehouse.operating_errors import (
    FileLost,
    MissingExtra,
    NoLakeUrl,
    OtherBytes,
    OtherLake,
    StoreFails,
)
from warehouse.remote import copy_of, folder_of, is_url, url_of

URL = "faulty://bucket/lake"
REQUEST = Request("raw", "features.raw", 1, {"corpus": "films"})
HOUSE = Path(__file__).resolve().parents[2]
PLACE = f"bucket/lake/artifacts/raw/{REQUEST.key}"

pytestmark = pytest.mark.usefixtures("store")


def writing(**texts: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for name, text in texts.items():
            (folder / f"{name}.txt").write_text(text)

    return write


def forget(lake: Warehouse) -> None:
    """As a host that was never here."""
    shutil.rmtree(lake.root)
    copies.REMOTES.clear()


# -- the copy --------------------------------------------------------------------------------------------------------


def test_a_url_is_worked_on_in_a_folder_that_says_what_it_is_a_copy_of(
    tmp_path: Path, copies_in: Callable[[str], None]
) -> None:
    with pytest.raises(NotALake, match=r"^faulty://bucket/lake is no lake \(it has no lake\.json\)"):
        Warehouse(URL)
    lake = Warehouse(f"{URL}/", create=True)
    assert lake.root == tmp_path / "one" / "faulty@3A@2F@2Fbucket@2Flake" == copy_of(URL)
    marker = json.loads(FaultyStore.inner.cat_file("/bucket/lake/lake.json"))
    assert marker == {"format": 1, "id": marker["id"]} and marker["id"]
    assert json.loads((lake.root / "lake.json").read_bytes()) == {**marker, "store": URL}
    forget(lake)
    assert url_of(lake.root) == URL and Warehouse(lake.root).name == URL, "a host that has only the folder's path"
    assert url_of(tmp_path) == "" and not is_url(str(tmp_path)) and is_url("s3://b/l")
    assert Warehouse(tmp_path / "plain", create=True).store is None
    environ = {"EMOLAKE_LAKE": f"{URL}/", "EMOLAKE_COPIES": str(tmp_path / "one")}
    assert read_runtime(environ).lake == folder_of(URL) == lake.root and folder_of("lakes/a") == Path("lakes/a")


def test_a_newer_lake_a_password_and_an_unknown_store_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    FaultyStore.inner.pipe_file("/bucket/lake/lake.json", b'{"format":99}')
    with pytest.raises(NewerFormat, match="the lake faulty://bucket/lake has format 99"):
        Warehouse(URL)
    FaultyStore.inner.pipe_file("/bucket/lake/lake.json", b"[]")
    with pytest.raises(NotALake, match="does not state a format"):
        Warehouse(URL)
    n_before = FaultyStore.n_requests
    for address in ("faulty://me:hunter2@bucket/lake", "s3://AKIA:ab/cd+ef@bucket/lake", "S3://A%3Aab/cd@b/lake"):
        with pytest.raises(SecretToldOn) as told:
            Warehouse(address)
        assert "bucket" not in str(told.value) and "ab/cd" not in str(told.value)
        with pytest.raises(BadSetting, match=r"EMOLAKE_LAKE is '\w+://…@") as said:
            read_runtime({"EMOLAKE_LAKE": address})
        assert "ab/cd" not in str(said.value) and "hunter2" not in str(said.value)
    assert FaultyStore.n_requests == n_before
    for text in ("S3://bucket/lake2", "simplecache::s3://bucket/lake", "s3://"):
        with pytest.raises(NoLakeUrl, match=f"'{text}' is neither a folder nor the URL of a lake"):
            Warehouse(text, create=True)
        with pytest.raises(BadSetting, match=f"EMOLAKE_LAKE is '{text}', but it must be a folder, or a URL like"):
            read_runtime({"EMOLAKE_LAKE": text})
    with pytest.raises(NotALake, match="nosuch"):
        Warehouse("nosuch://bucket/lake")

    def absent(url: str, **options: Any) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", absent)
    with pytest.raises(MissingExtra, match=r"s3://b/l needs the package 's3fs'.*pip install 'emolake\[s3\]'"):
        Warehouse("s3://b/l")


def test_what_one_host_makes_another_finds_and_fetches_when_it_opens_it(copies_in: Callable[[str], None]) -> None:
    made = Warehouse(URL, create=True).materialize(REQUEST, writing(one="1", two="2"))
    assert sorted(on_store()) == [f"raw/{REQUEST.key}/{n}" for n in ("manifest.json", "one.txt", "two.txt")]
    copies_in("other")
    other = Warehouse(URL)
    assert FaultyStore.n_requests < 12
    found = other.find(REQUEST)
    assert found is not None and found.digest == made.digest and other.artifacts() == [found]
    assert sorted(path.name for path in found.folder.iterdir()) == ["manifest.json"]
    assert not found.is_here("one.txt") and found.place("one.txt").parent == found.folder
    assert found.path("one.txt").read_text() == "1" and sorted(p.name for p in found.whole().iterdir())[1:] == [
        "one.txt", "two.txt",
    ]  # fmt: skip
    n_before = FaultyStore.n_requests
    assert found.path("one.txt").read_text() == "1" and other.find(REQUEST) is not None
    assert FaultyStore.n_requests == n_before, "what is here is asked of nobody"
    assert found.path("none.txt") == found.folder / "none.txt" and not verify(other)


def test_a_copy_of_another_lake_or_of_one_before_a_purge_is_refused(tmp_path: Path) -> None:
    lake = Warehouse(URL, create=True)
    lake.materialize(REQUEST, writing(one="1"))
    FaultyStore.reset()
    copies.REMOTES.clear()
    told = f"{URL} is no longer the lake that {lake.root} is a copy of .*: delete that folder"
    with pytest.raises(OtherLake, match=told):
        Warehouse(URL, create=True)
    shutil.rmtree(lake.root)
    lake = Warehouse(URL, create=True)
    assert lake.materialize(REQUEST, writing(one="1")).key == REQUEST.key and on_store()
    folder = Warehouse(tmp_path / "folder", create=True).root
    for renewed in (False, True):  # brought back from the folder that it was copied into, and purged there
        if renewed:
            renew_id(folder)
        FaultyStore.inner.pipe_file("/bucket/lake/lake.json", (folder / "lake.json").read_bytes())
        copies.REMOTES.clear()
        with pytest.raises(OtherLake):
            Warehouse(lake.root)
        shutil.rmtree(lake.root)
        copies.REMOTES.clear()
        assert Warehouse(URL).find(REQUEST) and Warehouse(lake.root).name == URL


def test_a_full_disk_of_this_host_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Warehouse(URL, create=True)
    lake.materialize(REQUEST, writing(one="1"))
    forget(lake)
    (found,) = Warehouse(URL).artifacts()
    asked = []

    def failing(error: OSError) -> None:
        def get_file(self: FaultyStore, rpath: str, lpath: str, **options: Any) -> None:
            asked.append(rpath)
            error.filename = lpath
            raise error

        monkeypatch.setattr(FaultyStore, "get_file", get_file)

    failing(OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(DiskFull, match=f"disk of {lake.root} while 'artifacts/raw/{REQUEST.key}' was written"):
        found.path("one.txt")
    failing(PermissionError(errno.EACCES, "Permission denied"))
    with pytest.raises(PermissionError):
        found.path("one.txt")
    assert len(asked) == 2


def test_a_work_finds_the_files_that_its_arguments_name(copies_in: Callable[[str], None]) -> None:
    made = Warehouse(URL, create=True).materialize(REQUEST, writing(one="1", two="2"))
    copies_in("other")
    lake = Warehouse(URL)
    folder = lake.folder_of(REQUEST)
    arguments = {"files": [{"deep": (folder / "one.txt", str(folder / "two.txt"))}]}
    answer = lake.perform(Work(Request("features", "x", 1, inputs={"raw": (made.digest,)}), join, arguments))
    assert answer.path("joined.txt").read_text() == "12"


def join(folder: Path, files: Any) -> None:
    (folder / "joined.txt").write_text("".join(Path(path).read_text() for path in files[0]["deep"]))


# -- commits ---------------------------------------------------------------------------------------------------------


def rival(lake: Warehouse, at: tuple[str, str], **texts: str) -> list[Artifact]:
    """Another host that makes the same artifact, whole, just before a request of this one."""
    told: list[Artifact] = []
    mine = os.environ["EMOLAKE_COPIES"]

    def before(request: str, path: str) -> None:
        if (request, path) == at and not told:
            FaultyStore.before = staticmethod(lambda request, path: None)
            os.environ["EMOLAKE_COPIES"] = f"{mine}-rival"
            told.append(Warehouse(URL).materialize(REQUEST, writing(**texts)))
            os.environ["EMOLAKE_COPIES"] = mine

    FaultyStore.before = staticmethod(before)
    return told


@pytest.mark.parametrize("step", ["one.txt", "manifest.json"])
@pytest.mark.parametrize("theirs", [{"one": "1", "two": "2"}, {"one": "other", "three": "3"}])
def test_of_two_writers_one_stands_with_its_own_bytes(step: str, theirs: dict[str, str]) -> None:
    lake = Warehouse(URL, create=True)
    won = rival(lake, ("pipe_file", f"{PLACE}/{step}"), **theirs)
    made = lake.materialize(REQUEST, writing(one="1", two="2"))
    assert made.digest == won[0].digest and made.created_at == won[0].created_at
    assert {name: made.path(name).read_text() for name in made.files} == {f"{k}.txt": v for k, v in theirs.items()}
    assert verify(lake) == [] and on_store(".staged") == {}


def test_a_writer_killed_before_its_manifest_made_nothing_and_the_next_one_stands_with_other_bytes() -> None:
    lake = Warehouse(URL, create=True)

    def killed(request: str, path: str) -> None:
        if (request, path) == ("pipe_file", f"{PLACE}/manifest.json"):
            raise KeyboardInterrupt

    FaultyStore.before = staticmethod(killed)
    with pytest.raises(KeyboardInterrupt):
        lake.materialize(REQUEST, writing(one="1", two="2"))
    FaultyStore.before = staticmethod(lambda request, path: None)
    assert sorted(on_store()) == [f"raw/{REQUEST.key}/one.txt", f"raw/{REQUEST.key}/two.txt"]
    assert lake.find(REQUEST) is None and lake.artifacts() == [] and verify(lake) == []
    made = lake.materialize(REQUEST, writing(one="other", two="2"))
    assert verify(lake) == [] and on_store(".staged") == {}
    forget(lake)
    assert Warehouse(URL).artifacts()[0].digest == made.digest
    assert Warehouse(URL).artifacts()[0].path("one.txt").read_text() == "other"


@pytest.mark.parametrize("how", ["read", "ranges", "verify"])
def test_a_commit_killed_before_its_last_move_is_finished_by_who_finds_it(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Warehouse(URL, create=True)
    FaultyStore.inner.pipe_file(f"/{PLACE}/one.txt", b"of a writer who was killed")

    def killed(request: str, path: str) -> None:
        if request == "cp_file":
            raise KeyboardInterrupt

    FaultyStore.before = staticmethod(killed)
    with pytest.raises(KeyboardInterrupt):
        lake.materialize(REQUEST, writing(one="1"))
    FaultyStore.before = staticmethod(lambda request, path: None)
    forget(lake)
    lake = Warehouse(URL)
    (found,) = lake.artifacts()
    if how == "read":
        assert found.path("one.txt").read_text() == "1"
    elif how == "ranges":
        monkeypatch.setattr("warehouse.artifact._LITTLE", 0)
        stream = found.part("one.txt")
        assert not isinstance(stream, Path) and stream.read() == b"1"
    assert verify(lake) == [] and on_store(".staged") == {}
    assert on_store()[f"raw/{REQUEST.key}/one.txt"] == b"1"


@pytest.mark.parametrize("step", ["cp_file", "rm_file"])
@pytest.mark.parametrize("how", ["settles", "removes"])
def test_of_two_writers_of_the_same_bytes_in_the_way_of_a_third_either_puts_them_in_place(
    step: str, how: str, copies_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Warehouse(URL, create=True)
    FaultyStore.inner.pipe_file(f"/{PLACE}/one.txt", b"of a writer who was killed")
    copies_in("rival")
    rival = Warehouse(URL)
    monkeypatch.setattr(rival, "find", lambda request: None)  # it looked before the other was done
    copies_in("one")

    def before(request: str, path: str) -> None:
        if request == step:
            FaultyStore.before = staticmethod(lambda request, path: None)
            if how == "settles":
                rival.materialize(REQUEST, writing(one="1"))
            else:
                (staged,) = on_store(".staged")
                FaultyStore.inner.rm_file(f"/bucket/lake/.staged/{staged}")

    FaultyStore.before = staticmethod(before)
    made = lake.materialize(REQUEST, writing(one="1"))
    assert on_store()[f"raw/{REQUEST.key}/one.txt"] == b"1" and on_store(".staged") == {}
    forget(lake)
    assert verify(Warehouse(URL)) == [] and Warehouse(URL).artifacts()[0].created_at == made.created_at


def test_what_a_killed_writer_staged_half_is_staged_again() -> None:
    lake = Warehouse(URL, create=True)
    digest = Warehouse(lake.root.parent / "folder", create=True).materialize(REQUEST, writing(one="right")).digest
    FaultyStore.inner.pipe_file(f"/{PLACE}/one.txt", b"ri")
    FaultyStore.inner.pipe_file(f"/bucket/lake/.staged/{REQUEST.key}/{digest}/one.txt", b"r")
    lake.materialize(REQUEST, writing(one="right"))
    assert on_store()[f"raw/{REQUEST.key}/one.txt"] == b"right" and on_store(".staged") == {} and verify(lake) == []


def test_what_lies_among_the_staged_and_is_none_of_an_artifact_is_passed_over() -> None:
    lake = Warehouse(URL, create=True)
    made = lake.materialize(REQUEST, writing(one="1"))
    stray = ("README", "0123/README", f"{REQUEST.key}/{made.digest}/none.txt", "4567/89/one.txt")
    for name in stray:
        FaultyStore.inner.pipe_file(f"/bucket/lake/.staged/{name}", b"x")
    FaultyStore.inner.pipe_file("/bucket/lake/artifacts/raw/4567/manifest.json", b"half of a mani")
    assert [fault.what for fault in verify(lake)] == ["manifest"]
    assert sorted(on_store(".staged")) == sorted(stray) and sorted(on_store()) == [
        "raw/4567/manifest.json", f"raw/{REQUEST.key}/manifest.json", f"raw/{REQUEST.key}/one.txt",
    ]  # fmt: skip


def test_what_is_found_staged_is_found_by_no_clock_of_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warehouse.artifact._LITTLE", 0)
    lake = Warehouse(URL, create=True)
    lake.materialize(REQUEST, writing(one="1"))
    forget(lake)
    monkeypatch.setattr("time.time_ns", lambda: 1 << 62)
    lake = Warehouse(URL)
    stream = lake.artifacts()[0].stream("one.txt")
    assert stream.read() == b"1" and list((lake.root / ".scratch").iterdir()) == []
    later = Request("raw", "later", 1, {})
    FaultyStore.inner.pipe_file(f"/bucket/lake/artifacts/raw/{later.key}/one.txt", b"of another")
    with monkeypatch.context() as patch:
        patch.setattr("warehouse.remote.Store._settle", lambda *arguments: None)
        patch.setenv("EMOLAKE_COPIES", f"{lake.root.parent}-rival")
        Warehouse(URL).materialize(later, writing(one="2"))
    found = lake.find(later)
    assert found is not None and found.stream("one.txt").read() == b"2"


def test_other_bytes_are_told_of_and_never_read() -> None:
    lake = Warehouse(URL, create=True)
    lake.materialize(REQUEST, writing(one="1"))
    forget(lake)
    FaultyStore.inner.pipe_file(f"/{PLACE}/one.txt", b"2")
    lake = Warehouse(URL)
    (found,) = lake.artifacts()
    with pytest.raises(OtherBytes, match=rf"{URL} has other bytes of 'one\.txt' than the manifest of {REQUEST.key}"):
        found.path("one.txt")
    assert not (found.folder / "one.txt").exists() and verify(lake, deep=False) == []
    (fault,) = verify(lake)
    assert fault.key == REQUEST.key and fault.problem == "file 'one.txt' has other bytes than when it was made"
    FaultyStore.inner.pipe_file(f"/{PLACE}/two.txt", b"2")
    FaultyStore.inner.pipe_file("/bucket/lake/artifacts/stray", b"2")
    FaultyStore.inner.rm_file(f"/{PLACE}/one.txt")
    with pytest.raises(FileLost, match=rf"the file 'one\.txt' of {REQUEST.key} is not on the store {URL}"):
        found.path("one.txt")
    FaultyStore.inner.pipe_file("/bucket/lake/refs/weights/one.json", b"{}")
    faults = verify(lake)
    assert [fault.what for fault in faults] == ["extra", "bytes", "extra", "name", "name"]
    assert f"delete {URL}/refs/weights/one.json" in faults[-1].problem


# -- names -----------------------------------------------------------------------------------------------------------


def test_a_name_is_what_the_store_says_and_the_last_writer_stands(copies_in: Callable[[str], None]) -> None:
    first = Warehouse(URL, create=True)
    first.set_ref("weights/one", {"digest": "a", "folder": "/a"})
    copies_in("other")
    other = Warehouse(URL)
    assert other.ref("weights/one") == {"digest": "a", "folder": "/a"} and other.ref("weights/none") is None
    other.set_ref("weights/one", {"digest": "b", "folder": "/a"})
    assert first.ref("weights/one") == other.refs("weights")["one"] == {"digest": "b", "folder": "/a"}
    n_before = FaultyStore.n_requests
    assert first.refs("weights") == first.refs("weights") and FaultyStore.n_requests == n_before + 3
    first.set_ref("weights/one", {"digest": "b", "folder": "/a"})
    FaultyStore.inner.rm_file("/bucket/lake/refs/weights/one.json")
    assert first.ref("weights/one") is None


def test_what_was_withdrawn_is_known_to_a_new_copy_and_to_an_old_process(copies_in: Callable[[str], None]) -> None:
    first = Warehouse(URL, create=True)
    stone = Tombstone(corpora=frozenset({hashed("films")}))
    first.set_ref(f"tombstones/{stone.id}", stone.as_json())
    copies_in("other")
    other = Warehouse(URL)
    assert tombstones(other.root) == {stone.id: stone} and other.refs("tombstones") != {}
    second = Tombstone(corpora=frozenset({hashed("plays")}))
    first.set_ref(f"tombstones/{second.id}", second.as_json())
    assert tombstones(other.root).keys() == {stone.id, second.id}


# -- a store that fails ------------------------------------------------------------------------------------------------


def test_a_lake_on_a_failing_slow_and_late_store_is_the_lake_of_a_sound_one(tmp_path: Path) -> None:
    def built(lake: Warehouse) -> dict[str, str]:
        for number in range(20):
            texts = {"one": str(number), "two": "2" * number}
            lake.materialize(Request("raw", "x", 1, {"n": number}), writing(**texts))
            lake.set_ref("notes/last", {"number": number})
        return {a.key: a.digest for a in lake.artifacts()}

    sound = built(Warehouse(tmp_path / "sound", create=True))
    FaultyStore.reset(fails=0.1, slow_s=0.001, seed=7)
    FaultyStore.stale = staticmethod(lambda path: hash(path) % 3 == 0)
    lake = Warehouse(URL, create=True)
    assert built(lake) == sound
    FaultyStore.stale = staticmethod(lambda path: False)
    forget(lake)
    again = Warehouse(URL)
    assert {a.key: a.digest for a in again.artifacts()} == sound and verify(again) == []
    assert all(a.path("one.txt").read_text() == str(a.request.params["n"]) for a in again.artifacts())
    assert FaultyStore.n_failed > 20 and again.ref("notes/last") == {"number": 19}


def test_a_listing_that_is_behind_asks_for_work_that_is_then_found(copies_in: Callable[[str], None]) -> None:
    made = Warehouse(URL, create=True).materialize(REQUEST, writing(one="1"))
    copies_in("other")
    FaultyStore.stale = staticmethod(lambda path: True)
    lake = Warehouse(URL)
    assert lake.artifacts() == [] == lake.artifacts("raw") and lake.find_all([REQUEST]) == [None]
    answer = lake.perform(Work(REQUEST, never))
    assert answer.digest == made.digest and lake.artifacts() == [answer]
    assert Warehouse(URL).find_all([REQUEST]) == [answer]


def never(folder: Path) -> None:
    raise AssertionError("made although it exists")


def test_a_store_that_goes_on_failing_is_one_sentence_and_leaves_nothing() -> None:
    lake = Warehouse(URL, create=True)
    FaultyStore.fails = 1.0
    with pytest.raises(StoreFails, match=rf"the store {URL} did not take? .* in 7 attempts \(last: \w+Error: "):
        lake.set_ref("weights/one", {"digest": "a"})
    with pytest.raises(StoreFails, match="nothing half-written counts"):
        lake.materialize(REQUEST, writing(one="1"))
    FaultyStore.fails = 0.0
    assert list((lake.root / ".scratch").iterdir()) == [] and lake.artifacts() == []


# -- real S3 -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_bucket() as url:
        yield f"{url}/lake"


def test_two_processes_and_a_kill_on_real_s3(s3: str, tmp_path: Path, copies_in: Callable[[str], None]) -> None:
    lake = Warehouse(s3, create=True)
    assert lake.store is not None and lake.store.objects.create("probe", b"1")
    assert not lake.store.objects.create("probe", b"2") and lake.store.objects.get("probe") == b"1"
    lake.store.objects.remove("probe")
    code = """
        import os, sys, time
        from pathlib import Path
        from warehouse import Request, Warehouse
        lake = Warehouse(sys.argv[1])
        def write(folder):
            (folder / "one.txt").write_text(sys.argv[2] * 1000)
        if sys.argv[3] == "killed":
            def wait(*_):
                print("writing", flush=True)
                time.sleep(60)
            lake.store.objects.create = lambda name, content: wait() if "manifest" in name else None
        print("open", flush=True)
        sys.stdin.readline()
        print(lake.materialize(Request("raw", "x", 1, {}), write).digest, flush=True)
    """

    def python(host: str, text: str, how: str) -> subprocess.Popen[str]:
        copies_in(host)
        return subprocess.Popen(
            [sys.executable, "-c", dedent(code), s3, text, how], cwd=HOUSE, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )  # fmt: skip

    def line(process: subprocess.Popen[str], sent: str = "") -> str:
        assert process.stdin is not None and process.stdout is not None
        if sent:
            process.stdin.write(sent)
            process.stdin.flush()
        return process.stdout.readline().strip()

    processes = [python("first", "a", ""), python("second", "b", ""), python("third", "c", "killed")]
    assert [line(process) for process in processes] == ["open"] * 3
    *racing, killed = processes
    assert line(killed, "\n") == "writing"
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    copies_in("one")
    request = Request("raw", "x", 1, {})
    assert lake.find(request) is None and verify(lake) == []
    for process in racing:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert len({line(process) for process in racing}) == 1, "both have the winner's"
    for process in processes:
        process.communicate()
    made = lake.find(request)
    assert made is not None and made.path("one.txt").read_text() in ("a" * 1000, "b" * 1000)
    assert verify(lake) == [] and lake.store.objects.sizes(".staged") == {}
    threads = [threading.Thread(target=made.path, args=("one.txt",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lake.sql("SELECT count(*) FROM artifacts").fetchall() == [(1,)]
    with pytest.raises(NotALake, match=r"^s3://nowhere/lake is no lake \(the store has no such .*\): make the bucket"):
        Warehouse("s3://nowhere/lake", create=True)
