from __future__ import annotations

from features.subtitles.cues import Cue
from features.subtitles.substation import event_of, parse_ass, shown

HEAD = "[Script Info]\nTitle: x\n\n[V4+ Styles]\nFormat: Name, Fontname\nStyle: Default,Arial\n\n[Events]\n"
FORMAT = "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"


def test_events_are_cues() -> None:
    text = HEAD + FORMAT + (
        "Comment: 0,0:00:00.00,0:00:09.00,Default,,0,0,0,,not this\n"
        "Dialogue: 0,0:00:01.00,0:00:02.50,Default,Ann,0,0,0,,{\\i1}Well,{\\i0}\\Nno, not\\hnow.\n"
        "Dialogue: 0,1:00:00.05,1:00:01.5,Default,,0,0,0,,Later\n"
    )  # fmt: skip
    expected = [Cue(0, (1.0, 2.5), "{\\i1}Well,{\\i0}\nno, not now.", "Ann"), Cue(1, (3600.05, 3601.5), "Later")]
    assert parse_ass(text) == expected
    assert parse_ass(text.replace("\n", "\r\n")) == expected


def test_another_order_of_fields_and_none_stated() -> None:
    assert parse_ass("[Events]\nFormat: Start, End, Text\nDialogue: 0:00:01.00,0:00:02.00,A, B") == [
        Cue(0, (1.0, 2.0), "A, B")
    ]
    assert parse_ass("[Events]\nDialogue: 0,0:00:01.00,0:00:02.00,S,,0,0,0,,A") == [Cue(0, (1.0, 2.0), "A")]


def test_no_malformed_event_is_dropped() -> None:
    text = HEAD + FORMAT + (
        "Dialogue: 0,0:00:01.00,0:00:02.50\n"
        "Dialogue: 0,0:00:01.00,0:61:02.50,Default,,0,0,0,,A\n"
        "Dialogue: 0,0:00:03.00,0:00:04.00,Default,,0,0,0,,B\n"
    )  # fmt: skip
    assert [(cue.number, cue.problem) for cue in parse_ass(text)] == [
        (0, "has fewer than the 10 fields of its format"),
        (1, "has times that cannot be read ('0:00:01.00 --> 0:61:02.50')"),
        (2, ""),
    ]


def test_lines_outside_the_events_are_no_cues() -> None:
    assert parse_ass("[Other]\nDialogue: 0,0:00:01.00,0:00:02.00,S,,0,0,0,,A") == []


def test_an_event_keeps_the_commas_of_its_last_field() -> None:
    assert event_of("1,2,a, b", ("x", "y", "text")) == {"x": "1", "y": "2", "text": "a, b"}
    assert event_of("1,2", ("x", "y", "text")) is None
    assert shown("a\\Nb\\nc\\hd") == "a\nb\nc d"
