from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.releases.csd import Heading
from features.releases.mosei_release import (
    COLUMNS,
    Piece,
    column_order,
    find_release,
    matching,
    read_pieces,
    whole_videos,
)
from warehouse.errors import MalformedSource, MissingFolder

LABELS = "CMU_MOSEI_Labels.csd"
IDS = st.text("abcXYZ019-_", min_size=1, max_size=11)
TIMES = st.floats(-1, 1000, allow_nan=False)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\ufeff"), min_size=1)


@given(IDS, st.integers(0, 99), TIMES, TIMES, TEXTS)
def test_a_line_is_read_back_whatever_its_text_and_id_hold(
    video: str, number: int, start_s: float, end_s: float, text: str
) -> None:
    raw = f"{video}___{number}___{start_s}___{end_s}___{text}\n".encode()
    assert read_pieces(raw, video) == ([Piece(number, start_s, end_s, text)], [])


def test_ends_of_lines_marks_and_blank_lines() -> None:
    pieces, problems = read_pieces("\ufeffv___0___1___2___A _____ b_\r\n\r\n \nv___1___2___3___".encode(), "v")
    assert [(piece.number, piece.text) for piece in pieces] == [(0, "A _____ b_"), (1, "")]
    assert not problems


@pytest.mark.parametrize(
    "line", ["loose words", "v___1___2___3", "v___x___2___3___t", "v___1___a___3___t", "v___1___nan___3___t",
             "w___1___2___3___t", "v___1___2___inf___t"]
)  # fmt: skip
def test_other_lines_are_told_and_passed_over(line: str) -> None:
    pieces, problems = read_pieces(f"v___0___1___2___t\n{line}\nv___2___2___3___u\n".encode(), "v")
    assert [piece.number for piece in pieces] == [0, 2]
    assert problems == ["line 2 is not v___number___start___end___text"]


def test_other_encodings_are_told() -> None:
    assert read_pieces(b"v___0___1___2___\xff", "v") == ([], ["it is not UTF-8 (invalid start byte at byte 16)"])


@given(TIMES, TIMES, st.floats(-0.001, 0.001), st.floats(-0.001, 0.001))
def test_times_within_the_tolerance_match(start_s: float, end_s: float, by_s: float, and_by_s: float) -> None:
    piece = Piece(0, start_s + by_s, end_s + and_by_s, "t")
    assert matching([piece], start_s, end_s, 0.001) == [piece]
    assert matching([piece], start_s, end_s + and_by_s + math.copysign(0.0011, and_by_s or 1.0), 0.001) == []


def test_a_start_before_0_matches_one_that_was_clipped() -> None:
    pieces = [Piece(0, 0.0, 0.6, "short"), Piece(1, 0.0, 6.2, "long")]
    assert matching(pieces, -0.457, 6.2, 0.001) == [pieces[1]]


@pytest.mark.parametrize("above", ["", "Raw/", "CMU_MOSEI/Raw/", "a/b/c/"])
def test_parts_are_found_by_name(tmp_path: Path, above: str) -> None:
    for tail in ("Audio/Full/WAV_16000", "Transcript/Segmented/Combined", "Videos/Full/Combined"):
        (tmp_path / above / tail).mkdir(parents=True)
    (tmp_path / "labels").mkdir()
    for name in (f"labels/{LABELS}", f"labels/._{LABELS}", "labels/CMU_MOSEI_COVAREP.csd"):
        (tmp_path / name).touch()
    found = find_release(tmp_path, LABELS)
    assert found.audio == tmp_path / above / "Audio/Full/WAV_16000"
    assert found.transcripts == tmp_path / above / "Transcript/Segmented/Combined"
    assert found.labels == tmp_path / "labels" / LABELS
    assert [path.name for path in found.others] == ["CMU_MOSEI_COVAREP.csd"]


def test_folders_and_links_to_nowhere_are_no_files(tmp_path: Path) -> None:
    for name in ("old.csd", "old.csv", LABELS):
        (tmp_path / name).mkdir()
    (tmp_path / "more.csd").symlink_to(tmp_path / "nowhere")
    found = find_release(tmp_path, LABELS)
    assert (found.labels, found.rounded, found.others) == (None, (), ())


def test_ids_of_aligned_segments_are_refused() -> None:
    assert whole_videos(Heading(("All Labels",), ("-a_[", "b]", "[0]x"), {}, ()), "x.csd") == ("-a_[", "b]", "[0]x")
    problem = r"x.csd: its ids are of aligned segments, such as 'b\[12\]': give the labels as they are published"
    with pytest.raises(MalformedSource, match=problem):
        whole_videos(Heading(("All Labels",), ("a", "b[12]"), {}, ()), "x.csd")


def test_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("a,b\n")
    (tmp_path / "empty.csv").touch()
    found = find_release(tmp_path, LABELS)
    assert (found.labels, found.audio, found.transcripts, found.rounded, found.others) == (None, None, None, (), ())
    with pytest.raises(MissingFolder, match=f"CMU-MOSEI is not at .*: name the folder that holds {LABELS}"):
        find_release(tmp_path / "nowhere", LABELS)


def test_columns_are_in_the_order_that_is_stated() -> None:
    def order(**metadata: object) -> tuple[str, ...]:
        stated = {key.replace("_", " "): value for key, value in metadata.items()}
        return column_order(Heading(("All Labels",), (), stated, ()), "x.csd")

    assert order() == COLUMNS
    assert order(dimension_names=list(COLUMNS[::-1])) == COLUMNS[::-1]
    for other in ([*COLUMNS, "calm"], "sentiment", [1, 2]):
        with pytest.raises(MalformedSource, match=r"x.csd: its columns are .*, not \['sentiment', 'happy'"):
            order(dimension_names=other)
