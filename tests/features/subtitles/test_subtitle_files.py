from __future__ import annotations

import pytest

from features.subtitles.subtitle_files import belongs, chosen_subtitles, is_media, is_subtitles, stated_language


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
