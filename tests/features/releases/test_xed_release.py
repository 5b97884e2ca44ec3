from __future__ import annotations

from pathlib import Path

import pytest

from features.releases.xed_release import Line, find_files, plain_text, read_table, single_label
from warehouse.errors import MissingFolder


def test_lines_of_both_layouts() -> None:
    table = read_table("annotated", b"\xef\xbb\xbfSo . \t1, 5\r\nNo .\t8\r\n")
    assert table.lines == (Line(1, "So . ", ("anger", "joy")), Line(2, "No .", ("trust",)))
    assert (table.faults, table.n_other_ends, table.n_trailing) == ((), 0, 0)
    table = read_table("neutral", b"9\tSo.\n9\tNo.\t\t\n9\tEnd, not ended")
    assert [line.text for line in table.lines] == ["So.", "No.", "End, not ended"]
    assert {line.labels for line in table.lines} == {("neutral",)}
    assert (table.faults, table.n_other_ends, table.n_trailing) == ((), 0, 1)


@pytest.mark.parametrize(
    ("unit", "row", "name", "problem"),
    [
        ("annotated", "", "blank_line", "line 1 is blank"),
        ("annotated", "no label", "malformed_line", "line 1 is not the text, a tab and labels such as '1, 5'"),
        ("annotated", "a\tb\t1", "malformed_line", "line 1 is not the text, a tab"),
        ("annotated", "a\t1,5", "malformed_line", "line 1 is not the text, a tab"),
        ("annotated", "\t1", "malformed_line", "line 1 is not the text, a tab"),
        ("annotated", "a\t1, 9", "unknown_label", "line 1 has the unknown label '9'"),
        ("annotated", "a\t1, 5, 1", "repeated_label", "line 1 has a label twice: 1, 5, 1"),
        ("neutral", "\t\t\t", "blank_line", "line 1 is blank"),
        ("neutral", "a\t9", "malformed_line", "line 1 is not 9, a tab and the text"),
        ("neutral", "9\ta\tb", "malformed_line", "line 1 is not 9, a tab and the text"),
        ("neutral", "0\ta", "unknown_label", "line 1 has the unknown label '0'"),
    ],
)
def test_a_line_that_cannot_be_read_says_why(unit: str, row: str, name: str, problem: str) -> None:
    table = read_table(unit, f"{row}\r\n".encode())
    (fault,) = table.faults
    assert (fault.number, fault.name) == (1, name) and fault.problem.startswith(problem)
    assert not table.lines


def test_text_is_made_readable_and_placeholders_stay() -> None:
    assert plain_text(" ♪ [PERSON] , wo n't you   come home ? ♪ ") == "[PERSON], won't you come home?"


@pytest.mark.parametrize(
    ("labels", "label"),
    [
        (("surprise", "joy", "anger"), "anger"),
        (("surprise", "joy"), "joy"),
        (("fear", "anger"), "fear"),
        (("surprise",), "surprise"),
    ],
)
def test_the_later_rule_takes_one_label(labels: tuple[str, ...], label: str) -> None:
    assert single_label(labels) == label


def test_files_are_found_by_name_and_a_root_must_be_there(tmp_path: Path) -> None:
    deep = tmp_path / "XED-master" / "AnnotatedData"
    deep.mkdir(parents=True)
    (deep / "en-annotated.tsv").touch()
    (tmp_path / "en-annotated.tsv").mkdir()  # a folder is none, although it is nearer
    (deep / "._neu_en.txt").touch()
    assert find_files(tmp_path) == {"annotated": deep / "en-annotated.tsv"}
    with pytest.raises(MissingFolder, match="XED is not at"):
        find_files(tmp_path / "nowhere")
