from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.subtitles.cues import Cue
from features.subtitles.subrip import irregular, parse_srt


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_line_ends_give_the_same_cues(newline: str) -> None:
    text = "1\n00:00:01,000 --> 00:00:02,500\nIt’s “fine”…\nand café\n\n2\n00:01:00,000 --> 01:00:00,250\nB\n"
    assert parse_srt(text.replace("\n", newline)) == [
        Cue(0, (1.0, 2.5), "It’s “fine”…\nand café"),
        Cue(1, (60.0, 3600.25), "B"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "00:00:01,000 --> 00:00:02,000\nA\n\n00:00:03,000 --> 00:00:04,000\nB",  # no index
        "0\n00:00:01.000 --> 00:00:02.000\nA\n\n\n\n0\n00:00:03.000 --> 00:00:04.000\nB\n",  # index 0, points
        "7\n0:00:01,000-->0:00:02,000\nA\n9\n00:00:03,000 --> 00:00:04,000 X1:40 X2:600\nB\n",  # no blank, position
        "1\n00:00:01,0 --> 00:00:02\nA\n\n2\n00:00:03 --> 00:00:04,00\nB\n",  # short
    ],
)
def test_lenient_forms(text: str) -> None:
    assert parse_srt(text) == [Cue(0, (1.0, 2.0), "A"), Cue(1, (3.0, 4.0), "B")]


def test_blank_lines_and_numbers_inside_a_text() -> None:
    text = "1\n00:00:01,000 --> 00:00:02,000\nIn\n1962\n\nit was.\n\n2\n00:00:03,000 --> 00:00:04,000\nB\n"
    assert [cue.text for cue in parse_srt(text)] == ["In\n1962\n\nit was.", "B"]


def test_no_malformed_cue_is_dropped() -> None:
    text = "1\n00:00:01,000 -->\nA\n\n2\n00:00:aa --> 00:00:02,000\nB\n\n3\nC\n\n4\n00:00:03,000 --> 00:00:04,000\nD\n"
    assert [(cue.number, cue.text, cue.problem) for cue in parse_srt(text)] == [
        (0, "A", "has no end"),
        (1, "B", "has times that cannot be read ('00:00:aa --> 00:00:02,000')"),
        (2, "C", "has no line of times"),
        (3, "D", ""),
    ]


@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**7), st.sampled_from(["A", "B\nC", "12 men"]))))
def test_cues_survive(cues: list[tuple[int, int, str]]) -> None:
    def clock(ms: int) -> str:
        return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1_000 % 60:02d},{ms % 1_000:03d}"

    text = "\n".join(f"{n}\n{clock(a)} --> {clock(b)}\n{text}\n" for n, (a, b, text) in enumerate(cues))
    assert parse_srt(text) == [Cue(n, (a / 1_000, b / 1_000), text) for n, (a, b, text) in enumerate(cues)]


def test_what_is_irregular_is_counted() -> None:
    good = "1\n00:00:01,000 --> 00:00:02,000\nA\n\n3\n00:00:03,000 --> 00:00:04,000\nB\n"
    assert irregular(good) == {"short_times": 0, "odd_index": 0}, "a gap is where somebody cut a cue out"
    assert irregular(good.replace("3\n00", "1\n00")) == {"short_times": 0, "odd_index": 1}
    assert irregular(good.replace("1\n00", "00", 1)) == {"short_times": 0, "odd_index": 1}
    assert irregular(good.replace("02,000", "02,0")) == {"short_times": 1, "odd_index": 0}


def test_real_files(real: Path) -> None:
    found = {path.name: parse_srt(path.read_text()) for path in (real / "subtitles").glob("webvtt_py_*.srt")}
    assert {name: len(cues) for name, cues in found.items()} == {
        "webvtt_py_invalid_timeframe.srt": 5, "webvtt_py_missing_caption_text.srt": 5,
        "webvtt_py_missing_timeframe.srt": 5,
    }  # fmt: skip
    lost = found["webvtt_py_missing_timeframe.srt"][1]
    assert lost == Cue(1, None, "Caption text #2", problem="has no line of times")
    assert found["webvtt_py_missing_caption_text.srt"][1].text == ""
    assert found["webvtt_py_invalid_timeframe.srt"][1].times_s == (7.0, 11.89), "a point for a comma"
    assert parse_srt((real / "subtitles" / "gb2312.srt").read_text("gb2312"))[0].times_s == (27.0, 30.73)
    assert len(parse_srt((real / "movie_like" / "sonnet001.srt").read_text())) == 15
