from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.releases.meld_release import (
    COLUMNS,
    canonical,
    clip_key,
    clip_name,
    clips_in,
    find_parts,
    read_table,
    repaired,
    seconds,
)


@given(st.text(st.characters(codec="cp1252", exclude_categories=["Cc"])))
def test_repair_undoes_the_fault_and_harms_nothing_else(text: str) -> None:
    spoiled = "".join(char if ord(char) < 256 else char.encode("cp1252").decode("latin-1") for char in text)
    assert repaired(spoiled) == text == repaired(text)


def test_what_no_repair_explains_stays_to_be_found() -> None:
    assert repaired("a\x81b\x8d\x8f\x90\x9d") == "a\x81b\x8d\x8f\x90\x9d"


def test_canonical_text_of_both_generations() -> None:
    assert canonical("a\xa0 b\x97c") == canonical("a b—c") == "a b—c"


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_times_of_both_widths(hours: int, minutes: int, whole: int, thousandths: int) -> None:
    rest = f"{minutes:02d}:{whole:02d},{thousandths:03d}"
    expected = (3_600_000 * hours + 60_000 * minutes + 1_000 * whole + thousandths) / 1_000
    assert seconds(f"{hours:02d}:{rest}") == seconds(f"{hours}:{rest}") == expected


@pytest.mark.parametrize("time", ["00:60:00,000", "00:75:16,059", "0:12:60,000", "00:00:16.059", "123:00:00,000"])
def test_what_is_no_time(time: str) -> None:
    row = f'1,Well,Someone,neutral,neutral,3,6,2,11,"{time}","0:16:18,230"'
    (fault,) = read_table("t.csv", f"{','.join(COLUMNS)}\r\n{row}\r\n".encode()).faults
    assert (fault.name, fault.problem) == ("malformed_row", f"line 2: '{time}' is no H:MM:SS,mmm time")


@given(st.integers(0, 2000), st.integers(0, 40))
def test_clips_are_known_by_either_name(dialogue: int, utterance: int) -> None:
    name = clip_name((dialogue, utterance))
    for path in (f"{name}.mp4", f"a/b/final_videos_test{name}.mp4"):
        assert clip_key(path) == (dialogue, utterance)
    assert clip_key(f"._{name}.mp4") is None


def test_the_clip_that_was_cut_again_wins_whatever_is_listed_first(tmp_path: Path) -> None:
    for name in ("final_videos_testdia1_utt0.mp4", "dia1_utt0.mp4", "dia2_utt0.mp4", "._dia3_utt0.mp4", "notes.txt"):
        (tmp_path / name).touch()
    assert {key: path.name for key, path in clips_in(tmp_path).items()} == {
        (1, 0): "final_videos_testdia1_utt0.mp4", (2, 0): "dia2_utt0.mp4"
    }  # fmt: skip


@pytest.mark.parametrize("above", [(), ("MELD.Raw",), ("MELD.Raw", "train")])
def test_parts_are_found_three_folders_deep(tmp_path: Path, above: tuple[str, ...]) -> None:
    folder = tmp_path.joinpath(*above, "train_splits")
    folder.mkdir(parents=True)
    (tmp_path / "__MACOSX" / "train_splits").mkdir(parents=True)
    assert find_parts(tmp_path) == {"train_splits": folder}


def test_parts_deeper_than_that_or_inside_clip_folders_are_not(tmp_path: Path) -> None:
    (tmp_path / "a" / "b" / "c" / "train_splits").mkdir(parents=True)
    (tmp_path / "dev_splits_complete" / "train_splits").mkdir(parents=True)
    assert set(find_parts(tmp_path)) == {"dev_splits_complete"}


def test_the_nearest_of_two_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a" / "train_splits").mkdir(parents=True)
    (tmp_path / "train_splits").mkdir()
    assert find_parts(tmp_path) == {"train_splits": tmp_path / "train_splits"}


def test_a_table_is_read_to_its_end_whatever_is_wrong() -> None:
    good = 'x,"Well, I said",Someone,neutral,neutral,3,{},2,11,"00:16:16,059","0:16:18,230"'
    rows = [",".join(COLUMNS), good.format(0), good.format(0), "broken,off", good.format(1).replace("00:16:16", "16"),
            good.format(2), good.format("three")]  # fmt: skip
    table = read_table("t.csv", "\r\n".join(rows).encode())
    assert [line.key for line in table.lines] == [(3, 0), (3, 2)]
    assert table.faulty == {(3, 0), (3, 1)}
    assert [(fault.name, fault.problem) for fault in table.faults] == [
        ("duplicate_row", "line 3 is a second line for dia3_utt0"),
        ("malformed_row", "line 4 has not 11 cells"),
        ("malformed_row", "line 5: '16,059' is no H:MM:SS,mmm time"),
        ("malformed_row", "line 7: invalid literal for int() with base 10: 'three'"),
    ]
    assert (table.lines[0].text, table.lines[0].duration_s, table.is_one) == ("Well, I said", 2.171, True)


def test_no_cell_of_the_published_files_is_empty() -> None:
    row = '1,{},Someone,neutral,neutral,3,6,{},11,"00:16:16,059","0:16:18,230"'
    rows = [",".join(COLUMNS), row.format(" ", "2"), row.format("Well", "")]
    faults = read_table("t.csv", "\r\n".join(rows).encode()).faults
    assert [(fault.name, fault.problem) for fault in faults] == [
        ("malformed_row", "line 2 has an empty 'Utterance'"), ("malformed_row", "line 3 has an empty 'Season'")
    ]  # fmt: skip


def test_an_ellipsis_of_the_older_generation_is_no_empty_cell() -> None:
    """Python takes its control character for white space."""
    row = '1,\x85,Someone,neutral,neutral,3,6,2,11,"00:16:16,059","0:16:18,230"'
    table = read_table("t.csv", f"{','.join(COLUMNS)}\n{row}\n".encode())
    assert [canonical(line.text) for line in table.lines] == ["…"]


def test_a_quote_that_is_never_closed_stops_nothing() -> None:
    raw = f'{",".join(COLUMNS)}\r\n1,"{"never closed, " * 20_000}'.encode()
    table = read_table("t.csv", raw)
    assert not table.is_one
    problem = "it cannot be read past line 1 (field larger than field limit (131072)): a quote may be open"
    assert [(fault.name, fault.problem) for fault in table.faults] == [("malformed_table", problem)]


def test_lines_of_the_older_generation_are_counted() -> None:
    row = '{0},It{1}s,Bob{2}s,neutral,neutral,3,{0},2,11,"00:16:16,059","0:16:18,230"'
    rows = [row.format(0, "’", "’"), row.format(1, "\x92", "’"), row.format(2, "’", "\x92")]
    table = read_table("t.csv", "\n".join([",".join(COLUMNS), *rows]).encode())
    assert [line.is_older for line in table.lines] == [False, True, True]


def test_a_file_that_is_no_table() -> None:
    for raw, problem in ((b"\xff", "it is not UTF-8 (invalid start byte at byte 0)"), (b"", "its columns are [], not")):
        table = read_table("t.csv", raw)
        assert (table.lines, table.is_one) == ((), False)
        assert problem in table.faults[0].problem
