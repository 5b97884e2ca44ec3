from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.subtitles.cues import NO_END, Cue, numbered, span_of


@pytest.mark.parametrize(
    ("line", "span"),
    [
        ("00:00:01,000 --> 00:00:02,500", (1.0, 2.5)),
        ("0:00:01.000-->0:00:02.000", (1.0, 2.0)),
        ("00:00:00,1 --> 00:00:04", (0.1, 4.0)),
        ("00:00:00,1234567 --> 00:00:04,25", (0.123, 4.25)),
        ("00:00:01:500 --> 00:00:02:000", (1.5, 2.0)),
        ("01:02.500 --> 100:00:00.000 line:0 position:20%", (62.5, 360_000.0)),
        ("  00:00:01,000  -->  00:00:02,000  X1:40 X2:600", (1.0, 2.0)),
        ("00:00:01,000 -->", NO_END),
        ("00:00:01,000 --> 00:60:02,000", "has times that cannot be read ('00:00:01,000 --> 00:60:02,000')"),
        ("-00:00:01,000 --> 00:00:02,000", "has times that cannot be read ('-00:00:01,000 --> 00:00:02,000')"),
        ("one --> two", "has times that cannot be read ('one --> two')"),
        ("x" * 70 + "-->", f"has times that cannot be read ('{'x' * 60}…')"),
        ("It is 12:30.", None),
        ("", None),
    ],
)
def test_lines_of_times(line: str, span: object) -> None:
    assert span_of(line) == span


@given(st.integers(0, 10**8), st.integers(0, 10**8), st.sampled_from(",."))
def test_times_survive(start_ms: int, end_ms: int, point: str) -> None:
    def clock(ms: int) -> str:
        return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1_000 % 60:02d}{point}{ms % 1_000:03d}"

    assert span_of(f"{clock(start_ms)} --> {clock(end_ms)}") == (start_ms / 1_000, end_ms / 1_000)


def test_cues_are_counted_with_those_that_are_malformed() -> None:
    assert numbered([((0.0, 1.0), ["", "A", "", "B", ""]), (NO_END, ["C"])]) == [
        Cue(0, (0.0, 1.0), "A\n\nB"),
        Cue(1, None, "C", problem=NO_END),
    ]
