from __future__ import annotations

import os
from pathlib import Path

import pytest

from features.subtitles.subtitle_files import (
    belongs,
    chosen_subtitles,
    is_media,
    is_subtitles,
    is_utf8,
    shown_name,
    stated_language,
    title_folders,
    title_paths,
)


@pytest.mark.parametrize(
    ("names", "language", "chosen"),
    [
        (["Film.srt"], "", "Film.srt"),
        (["Film.eng.sdh.srt", "Film.en.srt", "Film.en.forced.srt"], "", "Film.en.srt"),
        (["Film.en.forced.srt", "Film.en.sdh.srt"], "en", "Film.en.sdh.srt"),
        (["Film.en.forced.srt"], "en", "Film.en.forced.srt"),
        (["Film.de.srt", "Film.en.srt"], "de", "Film.de.srt"),
        (["Film.en.srt", "Film.srt"], "de", "Film.srt"),
        (["Film.en.srt"], "de", None),
        (["Film.pt-BR.srt", "Film.es.srt"], "pt", "Film.pt-BR.srt"),
        (["Film.por.srt", "Film.pt-br.srt"], "pt-BR", "Film.pt-br.srt"),
        (["Film.en.ass", "Film.en.SRT", "Film.en.vtt"], "en", "Film.en.SRT"),
        (["Film.en.ssa", "Film.en.vtt"], "en", "Film.en.vtt"),
        (["Film.1080p.English.srt"], "en", "Film.1080p.English.srt"),
        (["Other.srt", "Film 2.srt", "Film.en.sub", "Film.txt"], "", None),
    ],
)
def test_which_subtitles_are_read(names: list[str], language: str, chosen: str | None) -> None:
    assert chosen_subtitles("Film", names, language) == chosen
    assert chosen_subtitles("Film", names[::-1], language) == chosen


def test_names() -> None:
    assert stated_language("Film.eng.sdh.srt", "Film") == "en"
    assert stated_language("Film.hi.srt", "Film") == "", "for the hearing-impaired, not Hindi"
    assert stated_language("Film.en.de.srt", "Film.en") == "de"
    assert belongs("A.B.srt", "A.B") and belongs("A.B.en.srt", "A.B") and not belongs("A.Bc.srt", "A.B")
    media = ["avi", "flac", "m4a", "MKV", "mov", "mp3", "mp4", "ogg", "wav", "webm"]
    assert all(is_media(f"a.{suffix}") for suffix in media) and not is_media("a.srt") and is_subtitles("a.SSA")


def test_what_is_read_of_a_folder() -> None:
    names = ["Film.en.srt", "Film.mkv", "poster.jpg"]
    assert title_paths("A", names, "") == ["A/Film.mkv", "A/Film.en.srt"]
    assert title_paths("A", names, "de") == ["A/Film.mkv"]
    assert title_paths("A", ["Film.srt", "poster.jpg"], "") == []
    assert title_paths("A", [*names, "Other.mp4"], "") == ["A/Film.mkv", "A/Other.mp4"]


def test_folders_of_titles(tmp_path: Path) -> None:
    for name in ("B/2.srt", "B/1.mkv", "B/.hidden", "B/below/3.mkv", "A/1.mkv", ".trash/1.mkv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "loose.mkv").touch()
    assert list(title_folders(tmp_path)) == [("A", "A", ["1.mkv"]), ("B", "B", ["1.mkv", "2.srt"])]


def test_titles_that_would_be_written_alike_are_told_apart(tmp_path: Path) -> None:
    for name in (b"Caf\\udce9", b"Caf\xe9", b"\xe9\\udce8", b"\\udce9\xe8", b"\\udce9\\udce8 (2)"):
        os.mkdir(os.path.join(os.fsencode(tmp_path), name))
    titles = {os.fsencode(folder): title for folder, title, _ in title_folders(tmp_path)}
    assert titles == {
        b"Caf\\udce9": "Caf\\udce9", b"Caf\xe9": "Caf\\udce9 (2)",
        b"\\udce9\\udce8 (2)": "\\udce9\\udce8 (2)", b"\\udce9\xe8": "\\udce9\\udce8",
        b"\xe9\\udce8": "\\udce9\\udce8 (3)",
    }  # fmt: skip


def test_names_that_are_not_utf8_can_be_written_down() -> None:
    odd = [os.fsdecode(name) for name in (b"Caf\xe9.srt", b"Caf\xe8.srt")]
    assert list(map(shown_name, odd)) == ["Caf\\udce9.srt", "Caf\\udce8.srt"]
    assert not any(map(is_utf8, odd))
    assert is_utf8("Café 我.srt") and shown_name("Café 我.srt") == "Café 我.srt"
