"""A look at many files is one digest, and the files are listed only for who asks."""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import unit_files
from features.listing import files_below
from features.plugin import RawFile
from features.raw import RawDigests, files_digest, write_files
from features.unit_files import Files, look, recorded_files
from warehouse.errors import MalformedSource, SchemaMismatch, SourceChanged

NAMES = ["a", "b/c"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "b").mkdir()
    for name in NAMES:
        (tmp_path / name).write_text(f"text of {name}")
    os.utime(tmp_path / "a", ns=(0, -5_000_000_000))  # before 1970
    return tmp_path


def test_a_look_counts_and_says_the_same_of_the_same(tree: Path) -> None:
    first = look(tree, NAMES)
    assert (first.n_files, first.n_bytes) == (2, 20)
    assert look(tree, NAMES) == first
    assert look(tree, NAMES[:1]).state != first.state
    assert look(tree, []).n_bytes == 0


def test_what_is_asked_of_a_folder_is_what_is_asked_of_each(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"b/{n}" for n in range(9)] + ["b/c", "b/d/e", "b/d/f", "b-/a", "b0/a"]
    for name in names:
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_text(name)
    paths = sorted([*names, "a", "z"])
    (tree / "z").touch()
    by_folder = look(tree, paths)
    monkeypatch.setattr(unit_files, "_MANY", 100)
    assert look(tree, paths) == by_folder
    monkeypatch.setattr(unit_files, "_MANY", 1)
    assert look(tree, paths) == by_folder
    for most in (1, 4, 9):
        monkeypatch.setattr(unit_files, "_MOST", most)
        assert look(tree, paths) == by_folder, "of a large folder in parts"
    monkeypatch.setattr(unit_files, "_opened", lambda folder: None)
    assert look(tree, paths) == by_folder, "of a folder that may not be listed"
    assert by_folder.n_bytes == sum((tree / path).stat().st_size for path in paths)


def test_one_file_by_two_names_is_told_apart(tree: Path) -> None:
    (tree / "ab").hardlink_to(tree / "a")
    assert look(tree, ["a"]).state != look(tree, ["ab"]).state
    (tree / "b" / "a").hardlink_to(tree / "a")
    assert look(tree, ["b/a"]).state != look(tree / "b", ["a"]).state, "and by what it lies in"
    (tree / "d").mkdir()
    (tree / "d" / "e").touch()
    before = look(tree, ["b/a", "b/c", "d/e"])
    (tree / "b").rename(tree / "c")
    assert look(tree, ["c/a", "c/c", "d/e"]).state != before.state, "a folder has no part in what its files say"


def test_a_file_that_is_gone_or_has_no_name_is_said(tree: Path) -> None:
    with pytest.raises(SourceChanged, match="b/d is not what was ingested"):
        look(tree, [*NAMES, "b/d"])
    odd = os.fsdecode(b"caf\xe9")
    (tree / odd).touch()
    with pytest.raises(MalformedSource, match=r"caf.: its name is not UTF-8: rename it"):
        look(tree, [*NAMES, odd])


def new(path: Path) -> Path:
    """A name beside it that nobody has."""
    return path.with_name(f"{time.time_ns()}{path.suffix}")


def rewritten(file: Path) -> None:
    """Other bytes, as many, and the same time of modification."""
    stat = file.stat()
    file.write_bytes(bytes(byte ^ 1 for byte in file.read_bytes()))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def replaced(file: Path) -> None:
    """By another of the same size and time of modification."""
    other, stat = file.with_name("new"), file.stat()
    other.write_bytes(bytes(byte ^ 2 for byte in file.read_bytes()))
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(file)


def linked(file: Path) -> None:
    """To other bytes."""
    file.unlink()
    elsewhere = file.parents[2] / "elsewhere"
    elsewhere.write_bytes(elsewhere.read_bytes() + b"." if elsewhere.exists() else b"elsewhere")
    file.symlink_to(elsewhere)


def into_a_new_folder(file: Path) -> None:
    folder = file.parents[1] / f"{file.parent.name}-"
    folder.mkdir(exist_ok=True)
    file.rename(folder / file.name)


def to_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


CHANGES: list[Callable[[Path], object]] = [
    rewritten, replaced, linked, into_a_new_folder, to_a_folder,
    lambda file: file.write_bytes(file.read_bytes() + b"."),
    lambda file: file.unlink(),
    lambda file: file.rename(new(file)),
    lambda file: file.rename(file.with_name(f"._{file.name}")),
    lambda file: new(file).write_bytes(b"new"),
    lambda file: new(file).hardlink_to(file),
    lambda file: file.parent.rename(f"{file.parent}."),  # and each file's place among all is as it was
]  # fmt: skip
UNTOUCHED: list[Callable[[Path], object]] = [
    lambda file: os.utime(file, ns=(7, 7)),
    lambda file: file.chmod(0o600),
    lambda file: file.with_name("readme.txt").write_bytes(b"of another kind"),
    lambda file: file.with_name(f"._{file.name}").write_bytes(b"a twin"),
]


def wavs(root: Path) -> list[str]:
    return files_below(root, "wav", ".wav", 1)


def as_they_are(root: Path) -> str:
    """What a unit's digest must be, by nothing that is remembered."""
    files = [file for file in root.glob("wav/*/*.wav") if file.is_file() and not file.name.startswith("._")]
    told = {file.relative_to(root).as_posix(): file.read_bytes() for file in files}
    return files_digest(RawFile(one, len(told[one]), hashlib.sha256(told[one]).hexdigest()) for one in sorted(told))


@settings(max_examples=6, deadline=None)
@given(
    st.lists(st.sampled_from([1, 2, 7, 8, 9, 12]), min_size=1, max_size=4),
    st.lists(st.tuples(st.sampled_from([*CHANGES, *UNTOUCHED]), st.integers(0, 99)), min_size=1, max_size=4),
)
def test_whatever_happens_to_any_file_of_any_folder_is_found_and_nothing_else(
    sizes: list[int], happening: list[tuple[Callable[[Path], object], int]]
) -> None:
    with tempfile.TemporaryDirectory() as folder, closing(RawDigests(Path(folder) / "lake")) as digests:
        root = Path(folder) / "tree"
        for name, size in zip(("b", "b-", "b0", "a"), sizes, strict=False):
            (root / "wav" / name).mkdir(parents=True)
            for number in range(size):
                (root / "wav" / name / f"{number}.wav").write_bytes(f"{name} {number}".encode())
        told = digests.unit(root, "all", wavs(root))[0]
        assert told == as_they_are(root)
        for change, place in happening:
            there = wavs(root)
            if not there:
                return
            before = look(root, there)
            assert look(root, wavs(root)) == before, "nothing happened"
            time.sleep(0.005)  # a clock of coarse ticks
            change(root / there[place % len(there)])
            now = digests.unit(root, "all", wavs(root))[0]
            assert now == as_they_are(root)
            assert (now == told) == (change in UNTOUCHED)
            assert look(root, wavs(root)) != before or now == told
            told = now


def test_files_are_listed_once_somebody_asks() -> None:
    listed: list[int] = []
    own = tuple(RawFile(name, 1, name * 64) for name in "ab")

    def load() -> tuple[RawFile, ...]:
        listed.append(1)
        return own

    files = Files(2, load)
    assert len(files) == 2 and not listed
    assert list(files) == [*own] and files[1] == own[1] and files[:1] == own[:1]
    assert files == own and files == Files(2, lambda: own) and hash(files) == hash(own) and files != own[:1]
    assert pickle.loads(pickle.dumps(files)) == own and listed == [1]


def test_what_a_record_lists_is_what_was_recorded(tmp_path: Path) -> None:
    own = [RawFile(name, number, name * 64) for number, name in enumerate("abc")]
    write_files(tmp_path, own)
    files = recorded_files(tmp_path / "files.parquet")
    assert len(files) == 3 and list(files) == own


def test_a_record_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    write_files(tmp_path, [RawFile(name, number, name * 64) for number, name in enumerate("abc")])
    record = tmp_path / "files.parquet"
    whole = record.read_bytes()
    record.write_bytes(whole[:4] + bytes(40) + whole[44:])
    files = recorded_files(record)
    assert len(files) == 3
    with pytest.raises(SchemaMismatch, match=r"files\.parquet"):
        list(files)
    record.write_bytes(whole[:-1])
    with pytest.raises(SchemaMismatch, match=r"files\.parquet"):
        recorded_files(record)
