from __future__ import annotations

from pathlib import Path

import pytest

from features.listing import files_below


def test_files_of_one_depth_in_order_without_twins_and_folders(tmp_path: Path) -> None:
    for path in (
        "a/y/1.wav",
        "a/x/2.wav",
        "a/x/1.wav",
        "a/x-/3.wav",
        "a/x/._1.wav",
        "a/._z/1.wav",
        "a/4.wav",
        "a/x/1.txt",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "a" / "x" / "folder.wav").mkdir()
    (tmp_path / "a" / "x" / "gone.wav").symlink_to("nowhere")
    (tmp_path / "a" / "linked").symlink_to("x")
    found = files_below(tmp_path, "a", ".wav", 1)
    assert found == ["a/linked/1.wav", "a/linked/2.wav", "a/x-/3.wav", "a/x/1.wav", "a/x/2.wav", "a/y/1.wav"]
    assert files_below(tmp_path, "a", ".wav") == ["a/4.wav"]
    assert files_below(tmp_path, "a/x", (".txt", ".wav")) == ["a/x/1.txt", "a/x/1.wav", "a/x/2.wav"]
    with pytest.raises(FileNotFoundError):
        files_below(tmp_path, "b", ".wav")


def test_a_file_that_cannot_be_asked_about_is_named_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.wav").symlink_to("1.wav")
    with pytest.raises(OSError, match="symbolic links: ") as raised:
        files_below(tmp_path, "a", ".wav")
    assert raised.value.filename == str(tmp_path / "a" / "1.wav")
