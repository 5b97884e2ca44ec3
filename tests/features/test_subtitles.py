from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.subtitles import Cue, decoded, parse_srt, spoken_text
from warehouse.errors import Untreatable


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends_give_the_same_cues(encoding: str, newline: str) -> None:
    text = "1\n00:00:01,000 --> 00:00:02,500\nIt’s “fine”…\nand café\n\n2\n00:01:00,000 --> 01:00:00,250\nB\n"
    assert parse_srt(text.replace("\n", newline).encode(encoding)) == [
        Cue(0, (1.0, 2.5), "It’s “fine”…\nand café"),
        Cue(1, (60.0, 3600.25), "B"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "00:00:01,000 --> 00:00:02,000\nA\n\n00:00:03,000 --> 00:00:04,000\nB",  # no index
        "0\n00:00:01.000 --> 00:00:02.000\nA\n\n\n\n0\n00:00:03.000 --> 00:00:04.000\nB\n",  # index 0, points
        "7\n0:00:01,000-->0:00:02,000\nA\n9\n00:00:03,000 --> 00:00:04,000 X1:40 X2:600\nB\n",  # no blank, position
    ],
)
def test_lenient_forms(text: str) -> None:
    assert parse_srt(text.encode()) == [Cue(0, (1.0, 2.0), "A"), Cue(1, (3.0, 4.0), "B")]


def test_blank_lines_and_numbers_inside_a_text() -> None:
    text = "1\n00:00:01,000 --> 00:00:02,000\nIn\n1962\n\nit was.\n\n2\n00:00:03,000 --> 00:00:04,000\nB\n"
    assert [cue.text for cue in parse_srt(text.encode())] == ["In\n1962\n\nit was.", "B"]


@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**7), st.sampled_from(["A", "B\nC", "12 men"]))))
def test_times_survive(cues: list[tuple[int, int, str]]) -> None:
    def clock(ms: int) -> str:
        return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1_000 % 60:02d},{ms % 1_000:03d}"

    text = "\n".join(f"{n}\n{clock(a)} --> {clock(b)}\n{text}\n" for n, (a, b, text) in enumerate(cues))
    expected = [Cue(n, (a / 1_000, b / 1_000), text) for n, (a, b, text) in enumerate(cues)]
    assert parse_srt(text.encode()) == expected


def test_real_files(real: Path) -> None:
    found = {path.name: parse_srt(path.read_bytes()) for path in (real / "subtitles").glob("webvtt_py_*.srt")}
    assert {name: len(cues) for name, cues in found.items()} == {
        "webvtt_py_invalid_timeframe.srt": 5, "webvtt_py_missing_caption_text.srt": 5,
        "webvtt_py_missing_timeframe.srt": 5,
    }  # fmt: skip
    assert found["webvtt_py_missing_timeframe.srt"][1] == Cue(1, None, "Caption text #2")
    assert found["webvtt_py_missing_caption_text.srt"][1].text == ""
    assert len(parse_srt((real / "subtitles" / "pbs_nova_sdh_example.srt").read_bytes())) == 1_847
    with pytest.raises(Untreatable, match=r"in a code page that cannot be told from the bytes: save them as UTF-8"):
        parse_srt((real / "subtitles" / "gb2312.srt").read_bytes())


def test_bytes_of_no_encoding() -> None:
    with pytest.raises(Untreatable, match=r"neither UTF-8, UTF-16 nor Windows-1252: save them as UTF-8"):
        decoded(b"caf\xe9 \x81")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{\\an8}<font color="#fff">Look <b>up</b>.</font>', "Look up."),
        ("( clock\nticking )", ""),
        ("[sighs] Oh (to Ann) dear.", "Oh dear."),
        ("♪ la la ♪\nCome on.", "Come on."),
        ("ACTOR AS EINSTEIN:\nWhat would I see?", "What would I see?"),
        ("DR. O'NEIL: No.", "No."),
        ("- Just me.", "Just me."),
        ("– Just\nme.", "Just me."),
        ("[door opens]\n- Who is it?", "Who is it?"),
        ("--and then\n--I left.", "--and then --I left."),
        ("At 10:30, as I said:\nnothing.", "At 10:30, as I said: nothing."),
        ("- Hello.\n- Hello.", None),
        ("Hello.\n-Hello.", None),
        ("ANN: Hello.\nBOB: Hello.", None),
        ("- Yes. - No.", None),
    ],
)
def test_what_one_speaker_says(text: str, said: str | None) -> None:
    assert spoken_text(text) == said
