from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from features import raw
from features.raw import RawDigests
from warehouse.errors import DiskFull, MalformedSource, SourceChanged, UnreadableDigests


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "b").mkdir(parents=True)
    (root / "a.txt").write_bytes(b"first")
    (root / "b" / "c.txt").write_bytes(b"second")
    return root


def test_digest_is_what_sha256sum_prints(tree: Path, tmp_path: Path) -> None:
    found = RawDigests(tmp_path).raw_files(tree, ["b/c.txt", "a.txt"])
    assert list(found) == ["a.txt", "b/c.txt"]
    assert found["a.txt"].sha256 == hashlib.sha256(b"first").hexdigest()
    assert found["b/c.txt"].n_bytes == 6


def test_an_unchanged_file_is_hashed_once(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    real = raw.file_digest

    def counted(path: str) -> str:
        hashed.append(path)
        return real(path)

    monkeypatch.setattr(raw, "file_digest", counted)
    first = RawDigests(tmp_path)
    before = first.raw_file(tree, "a.txt")
    first.close()
    assert RawDigests(tmp_path).raw_file(tree, "a.txt") == before
    assert hashed == [str(tree / "a.txt")]


def test_what_was_hashed_before_an_interruption_is_kept(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(n_bytes: int) -> None:
        if n_bytes == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        RawDigests(tmp_path).raw_files(tree, ["a.txt", "b/c.txt"], interrupt)
    monkeypatch.setattr(raw, "file_digest", lambda path: pytest.fail("hashed again"))
    assert len(RawDigests(tmp_path).raw_files(tree, ["a.txt", "b/c.txt"])) == 2


def test_many_files_are_looked_up_a_part_at_a_time(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{number}{letter}.txt" for number in range(4) for letter in "zäß"]
    for name in names:
        (tree / name).write_text(name)
    together = RawDigests(tmp_path / "one").raw_files(tree, names)
    monkeypatch.setattr(raw, "_LOOK_UP", 5)
    assert RawDigests(tmp_path / "two").raw_files(tree, names) == together
    assert {path: file.sha256 for path, file in together.items()} == {
        name: hashlib.sha256(name.encode()).hexdigest() for name in names
    }
    monkeypatch.setattr(raw, "file_digest", lambda path: pytest.fail("hashed again"))
    assert RawDigests(tmp_path / "two").raw_files(tree, names) == together
    assert RawDigests(tmp_path).raw_files(tree, []) == {}


def test_nobody_waits_while_another_hashes(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = RawDigests(tmp_path)
    other._database.execute("PRAGMA busy_timeout = 0")  # a lock would be an error at once
    (tree / "d.txt").touch()
    told = []
    for keep_every_s in (0, 60):
        monkeypatch.setattr(raw, "_KEEP_EVERY_S", keep_every_s)
        (tree / "a.txt").touch()

        def meanwhile(n_bytes: int) -> None:
            (tree / "d.txt").touch()
            told.append(other.raw_file(tree, "d.txt"))

        RawDigests(tmp_path).raw_files(tree, ["a.txt", "b/c.txt"], meanwhile)
    assert len(told) == 4


def test_a_changed_file_is_seen_even_with_the_same_size_and_time(tree: Path, tmp_path: Path) -> None:
    digests = RawDigests(tmp_path)
    before = digests.raw_file(tree, "a.txt")
    stat = (tree / "a.txt").stat()
    replaced = tree / "new"
    replaced.write_bytes(b"other")
    os.utime(replaced, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    replaced.replace(tree / "a.txt")
    assert digests.raw_file(tree, "a.txt").sha256 != before.sha256


def test_a_missing_file_is_named(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceChanged, match=r"gone\.wav is not what was ingested .* run `emolake ingest` again"):
        RawDigests(tmp_path).raw_file(tree, "gone.wav")


def test_files_digest_follows_path_size_and_bytes(tree: Path, tmp_path: Path) -> None:
    digests = RawDigests(tmp_path)
    one, two = digests.raw_files(tree, ["a.txt", "b/c.txt"]).values()
    assert raw.files_digest([one, two]) != raw.files_digest([one])
    assert raw.files_digest([one]) != raw.files_digest([raw.RawFile("z.txt", one.n_bytes, one.sha256)])


def test_progress_is_told_every_byte(tree: Path, tmp_path: Path) -> None:
    told: list[int] = []
    RawDigests(tmp_path).raw_files(tree, ["a.txt", "b/c.txt"], told.append)
    assert sum(told) == 11


def test_a_full_disk_is_named(tree: Path, tmp_path: Path) -> None:
    digests = RawDigests(tmp_path)
    digests._database.execute("PRAGMA max_page_count = 3")  # what SQLite says then is what it says on a full disk
    for number in range(300):
        (tree / f"{number}.txt").touch()
    with pytest.raises(DiskFull, match="while 'the digests of raw files' was written"):
        digests.raw_files(tree, [f"{number}.txt" for number in range(300)])


def test_a_name_that_is_not_utf8(tree: Path, tmp_path: Path) -> None:
    path = os.fsdecode(b"caf\xe9.wav")
    (tree / path).write_bytes(b"third")
    with pytest.raises(MalformedSource, match=r"tree/caf.\.wav: its name is not UTF-8: rename it"):
        RawDigests(tmp_path).raw_files(tree, ["a.txt", path])


@pytest.mark.parametrize("start", [0, 200])
def test_damaged_digests_are_told(tree: Path, tmp_path: Path, start: int) -> None:
    digests = RawDigests(tmp_path)
    digests.raw_files(tree, ["a.txt"])
    digests.close()
    path = tmp_path / ".cache" / "raw.sqlite"
    path.write_bytes(path.read_bytes()[:start] + b"\xff" * (path.stat().st_size - start))
    with pytest.raises(UnreadableDigests, match=r"raw\.sqlite cannot be read \(.+\): delete that file, and they are"):
        RawDigests(tmp_path).raw_files(tree, ["a.txt"])


def test_many_files_are_read_at_once_and_found_in_order(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{number:03}.bin" for number in range(40)]
    for number, name in enumerate(names):
        (tree / name).write_bytes(name.encode() * (number + 1))
    monkeypatch.setattr(raw, "_GROUP_FILES", 3)
    monkeypatch.setattr(raw, "_GROUP_BYTES", 500)
    threads: set[int] = set()
    real = raw.file_digest

    def noted(path: str) -> str:
        threads.add(threading.get_ident())
        return real(path)

    monkeypatch.setattr(raw, "file_digest", noted)
    told: list[int] = []
    found = RawDigests(tmp_path).raw_files(tree, reversed(names), told.append)
    assert list(found) == names
    assert sorted(told) == sorted((tree / name).stat().st_size for name in names)
    assert all(file.sha256 == hashlib.sha256((tree / name).read_bytes()).hexdigest() for name, file in found.items())
    assert threads and threading.get_ident() not in threads


def test_an_interruption_stops_the_readers(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{number:03}.bin" for number in range(200)]
    for name in names:
        (tree / name).write_text(name)
    monkeypatch.setattr(raw, "_GROUP_FILES", 1)
    hashed: list[str] = []

    def slow(path: str) -> str:
        hashed.append(path)
        time.sleep(0.01)
        return "0" * 64

    def interrupt(n_bytes: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(raw, "file_digest", slow)
    with pytest.raises(KeyboardInterrupt):
        RawDigests(tmp_path).raw_files(tree, names, interrupt)
    n_at_once = len(hashed)
    assert n_at_once < len(names)
    time.sleep(0.05)
    assert len(hashed) == n_at_once


def test_a_kill_beside_a_large_file_loses_no_small_ones(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{number:03}.bin" for number in range(30)]
    for name in names:
        (tree / name).write_text(name)
    monkeypatch.setattr(raw, "_GROUP_FILES", 1)
    monkeypatch.setattr(raw, "_KEEP_EVERY_S", 0)
    others_told, told = threading.Event(), []

    def large_first(path: str) -> str:
        if path.endswith(names[0]):
            assert others_told.wait(timeout=30)
        return "0" * 64

    def tell(n_bytes: int) -> None:
        told.append(n_bytes)
        if len(told) == len(names) - 1:
            other = RawDigests(tmp_path)
            others_told.set()
            kept = other._database.execute("SELECT count(*) FROM raw").fetchone()
            assert kept[0] >= len(names) - 2  # what was told last is kept next

    monkeypatch.setattr(raw, "file_digest", large_first)
    RawDigests(tmp_path).raw_files(tree, names, tell)
    assert len(told) == len(names)


def unit_of(lake: Path, root: Path) -> tuple[str, list[raw.RawFile]]:
    paths = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*"), reverse=True) if path.is_file()]
    with closing(RawDigests(lake)) as digests:
        whole, files = digests.unit(root, "all", [*paths, *paths[:1]])
    return whole, list(files)


def rewritten_unseen(root: Path) -> None:
    """Other bytes, as many, and the same time of modification."""
    stat = (root / "a.txt").stat()
    (root / "a.txt").write_bytes(b"other")
    os.utime(root / "a.txt", ns=(stat.st_atime_ns, stat.st_mtime_ns))


def replaced(root: Path) -> None:
    (root / "new").write_bytes(b"other")
    os.utime(root / "new", ns=(1, (root / "a.txt").stat().st_mtime_ns))
    (root / "new").replace(root / "a.txt")


def swapped(root: Path) -> None:
    (root / "a.txt").rename(root / "x")
    (root / "b" / "c.txt").rename(root / "a.txt")
    (root / "x").rename(root / "b" / "c.txt")


CHANGES: list[Callable[[Path], object]] = [
    rewritten_unseen, replaced, swapped,
    lambda root: (root / "a.txt").rename(root / "z.txt"),
    lambda root: (root / "a.txt").unlink(),
    lambda root: (root / "d.txt").write_bytes(b"third"),
    lambda root: (root / "d.txt").symlink_to("a.txt"),
    lambda root: (root / "a.txt").write_bytes(b"longer than before"),
    lambda root: (root / "a.txt").write_bytes(b""),
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_a_unit_is_what_who_never_saw_it_finds(
    tree: Path, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    before = unit_of(tmp_path / "one", tree)
    assert unit_of(tmp_path / "one", tree) == before == (raw.files_digest(before[1]), before[1])
    time.sleep(0.02)  # a clock of coarse ticks
    change(tree)
    assert unit_of(tmp_path / "one", tree) == unit_of(tmp_path / "two", tree) != before


def test_an_unchanged_unit_is_looked_at_once_and_listed_for_nobody(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, files = unit_of(tmp_path, tree)
    monkeypatch.setattr(RawDigests, "raw_files", lambda *asked: pytest.fail("listed"))
    told: list[int] = []
    digests = RawDigests(tmp_path)
    found = digests.unit(tree, "all", ["b/c.txt", "a.txt"], told.append)
    assert (found[0], len(found[1]), told) == (whole, 2, [11])
    monkeypatch.undo()
    assert list(found[1]) == files
    assert digests.unit(tree, "other", ["a.txt"])[0] != whole


def test_a_unit_that_changes_before_it_is_listed_is_told(tree: Path, tmp_path: Path) -> None:
    unit_of(tmp_path, tree)
    _, files = RawDigests(tmp_path).unit(tree, "all", ["a.txt", "b/c.txt"])
    (tree / "a.txt").write_bytes(b"longer than before")
    with pytest.raises(SourceChanged, match="tree is not what was ingested"):
        list(files)


def test_a_unit_that_changes_while_it_is_hashed_is_not_taken_for_known(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = raw.file_digest

    def meanwhile(path: str) -> str:
        found = real(path)
        (tree / "a.txt").write_bytes(b"longer than before")
        return found

    monkeypatch.setattr(raw, "file_digest", meanwhile)
    unit_of(tmp_path / "one", tree)
    monkeypatch.undo()
    assert unit_of(tmp_path / "one", tree) == unit_of(tmp_path / "two", tree)
