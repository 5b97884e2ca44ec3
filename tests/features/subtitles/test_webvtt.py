from __future__ import annotations

from pathlib import Path

import pytest

from features.subtitles.cues import Cue
from features.subtitles.spoken_text import spoken_text
from features.subtitles.webvtt import n_voices, parse_vtt, stated_language, voice_of


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_asides_names_and_settings_are_no_text(newline: str) -> None:
    text = (
        "WEBVTT - a title\nKind: captions\n\nSTYLE\n::cue { color: red;\n}\n\nREGION\nid:a\n\nNOTE\nnot\nthis\n\n"
        "first one\n00:01.000 --> 00:02.000 align:start position:0%\nA\nB\n\nNOTE nor this\n\n"
        "00:00:03.000 --> 00:00:04.000\nNOTE is a word here.\n"
    )
    assert parse_vtt(text.replace("\n", newline)) == [
        Cue(0, (1.0, 2.0), "A\nB"),
        Cue(1, (3.0, 4.0), "NOTE is a word here."),
    ]


def test_a_blank_line_too_few_or_too_many() -> None:
    text = "WEBVTT\n00:01.000 --> 00:02.000\nA\n00:02.000 --> 00:03.000\nB\n\n\n\n00:03.000 --> 00:04.000\n\n"
    assert [cue.text for cue in parse_vtt(text)] == ["A", "B", ""]


def test_no_malformed_cue_is_dropped() -> None:
    text = "WEBVTT\n\n1\nlost its times\n\n2\n00:01.000 --> 00:0x.000\nA\n\n00:03.000 --> 00:04.000\nB"
    assert [(cue.number, cue.text, cue.problem) for cue in parse_vtt(text)] == [
        (0, "lost its times", "has no line of times"),
        (1, "A", "has times that cannot be read ('00:01.000 --> 00:0x.000')"),
        (2, "B", ""),
    ]


def test_voices() -> None:
    assert voice_of("<v Ann>A</v> <i>B</i> <v.loud Ann>C</v>") == "Ann"
    assert (voice_of("<v Ann>A</v><v Bob>B</v>"), n_voices("<v Ann>A</v><v Bob>B</v>")) == ("", 2)
    assert (voice_of("no tag"), n_voices("no tag")) == ("", 0)


@pytest.mark.parametrize(
    ("header", "language"),
    [("Kind: captions\nLanguage: en", "en"), ("lang: pt-BR", "pt-BR"), ("Language: none of them", ""), ("", "")],
)
def test_the_language_of_the_header(header: str, language: str) -> None:
    assert stated_language(f"WEBVTT\n{header}\n\n00:01.000 --> 00:02.000\nLanguage: de\n") == language


def test_real_files(real: Path) -> None:
    found = {path.stem: parse_vtt(path.read_text()) for path in (real / "subtitles").glob("*.vtt")}
    assert {name: len(cues) for name, cues in found.items()} == {
        "ableplayer_wwa_captions_en": 15, "elephantsdream_captions.en": 78, "elephantsdream_captions.ru": 84,
        "webvtt_py_styles": 1, "webvtt_py_youtube_dl": 4,
    }  # fmt: skip
    assert not [cue for cues in found.values() for cue in cues if cue.problem]
    assert found["webvtt_py_styles"] == [Cue(0, (0.0, 10.0), "- Hello <b>world</b>.")]
    able = found["ableplayer_wwa_captions_en"]
    assert [(cue.number, cue.speaker) for cue in able if cue.speaker] == [(1, "Narrator"), (11, "Terrill")]
    assert able[11].times_s == (39.132, 41.0), "settings behind the times"
    assert spoken_text(able[1].text) == "You want these people."
    assert spoken_text(found["webvtt_py_youtube_dl"][2].text) == "this will happen is I'm telling"


def test_the_same_captions_in_both_formats(real: Path) -> None:
    from features.subtitles.subrip import parse_srt

    folder = real / "movie_like"
    assert parse_vtt((folder / "sonnet001.vtt").read_text()) == parse_srt((folder / "sonnet001.srt").read_text())
