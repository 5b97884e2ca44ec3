from __future__ import annotations

import os
from pathlib import Path

from features.releases.walk import dangling, misnamed, walk


def test_nearest_first_by_name_and_not_into_closed_folders(tmp_path: Path) -> None:
    for name in ("b/deep/deeper/deepest", "a/closed/inside", "__MACOSX/b"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("z.txt", "._z.txt", "a/x.txt"):
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in walk(tmp_path, 3, closed=("closed",))]
    assert found == ["a", "b", "z.txt", "a/closed", "a/x.txt", "b/deep", "b/deep/deeper"]


def test_names_that_are_not_utf8_are_shown_so_that_they_can_be_printed(tmp_path: Path) -> None:
    (tmp_path / "böse").mkdir()
    assert list(misnamed(tmp_path)) == []
    for name in (b"b\xf6se.wav", b"b\xc3\xb6se/x\xff", b"d\xe9p/deep/a.wav"):
        path = os.path.join(os.fsencode(tmp_path), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        open(path, "wb").close()
    assert sorted(misnamed(tmp_path)) == ["böse/x\ufffd", "b\ufffdse.wav", "d\ufffdp"]


def test_links_to_nowhere_are_found_and_others_are_not(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x.txt").touch()
    for name, target in (("a/good", "x.txt"), ("a/gone", "y.txt"), ("folder", "a"), ("no folder", "/nowhere/at/all")):
        (tmp_path / name).symlink_to(target)
    assert list(dangling(tmp_path, "")) == [("a/gone", "y.txt"), ("no folder", "/nowhere/at/all")]
    assert list(dangling(tmp_path, "folder")) == [("folder/gone", "y.txt")], "entered, where it is named"
    assert list(dangling(tmp_path, "a/gone")) == [("a/gone", "y.txt")], "the folder itself"
    assert list(dangling(tmp_path, "not there")) == []
