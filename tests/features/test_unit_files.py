"""A look at many files is one digest, and the files are listed only for who asks."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from features import unit_files
from features.plugin import RawFile
from features.raw import write_files
from features.unit_files import Files, look, recorded_files
from warehouse.errors import MalformedSource, SourceChanged

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


def test_a_file_that_is_gone_or_has_no_name_is_said(tree: Path) -> None:
    with pytest.raises(SourceChanged, match="b/d is not what was ingested"):
        look(tree, [*NAMES, "b/d"])
    odd = os.fsdecode(b"caf\xe9")
    (tree / odd).touch()
    with pytest.raises(MalformedSource, match=r"caf.: its name is not UTF-8: rename it"):
        look(tree, [*NAMES, odd])


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
