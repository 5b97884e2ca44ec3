from __future__ import annotations

from pathlib import Path

from features.releases.walk import walk


def test_nearest_first_by_name_and_not_into_closed_folders(tmp_path: Path) -> None:
    for name in ("b/deep/deeper/deepest", "a/closed/inside", "__MACOSX/b"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("z.txt", "._z.txt", "a/x.txt"):
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in walk(tmp_path, 3, closed=("closed",))]
    assert found == ["a", "b", "z.txt", "a/closed", "a/x.txt", "b/deep", "b/deep/deeper"]
