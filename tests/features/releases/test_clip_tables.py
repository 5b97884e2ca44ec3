"""Every form of a table gives the same cells."""

from __future__ import annotations

import csv
import datetime
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.releases.clip_tables import FORMS, cell_text, named_text, read_cells, timedelta_s
from warehouse.errors import MalformedSource, MissingFolder

ROWS = [{"path": "ä.wav", "text": 'he said "no",\tthen'}, {"path": "b.wav", "text": "two\nlines"}]


def write(path: Path) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif path.suffix == ".jsonl":
        path.write_text("\n\n".join(map(json.dumps, ROWS)))
    else:
        with path.open("w", newline="", encoding="utf-8-sig") as stream:
            writer = csv.DictWriter(stream, ["path", "text"], delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(ROWS)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_cells(form: str, tmp_path: Path) -> None:
    write(tmp_path / f"t{form}")
    assert list(read_cells(tmp_path / f"t{form}", "t")) == ROWS


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_durations_are_seconds_to_the_nanosecond(unit: str, tmp_path: Path) -> None:
    n_per_s = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    cells = pa.array([2 * n_per_s, 2 * n_per_s + 1, None], pa.duration(unit))
    pq.write_table(pa.table({"start": cells}), tmp_path / "t.parquet")
    found = [row["start"] for row in read_cells(tmp_path / "t.parquet", "t")]
    assert found == [2.0, 2 + 1 / n_per_s, None]


def test_numbers_and_truths_are_texts() -> None:
    assert [cell_text(cell) for cell in (True, 1, 1.0, 0.1, None, " a ")] == ["True", "1", "1.0", "0.1", "", "a"]
    assert cell_text(float("nan")) == ""


@pytest.mark.parametrize(
    ("name", "raw", "problem"),
    [
        ("t.xlsx", b"", r"must be one of \.csv, \.tsv, \.jsonl, \.parquet, or the \.yaml of an audformat folder"),
        ("t.csv", b"a,b\n1\n", "line 2 has not 2 cells"),
        ("t.csv", b"a\n1,2\n", "line 2 has not 1 cells"),
        ("t.csv", b"a\n\xff\n", r"it is not UTF-8 \(invalid start byte at byte 2\)"),
        ("t.jsonl", b"{}\n{\n", "line 2 is no JSON"),
        ("t.jsonl", b"3\n", "line 1 is no JSON object"),
        ("t.jsonl", b"[" * 100_000, "line 1 is no JSON"),
        ("t.parquet", b"PAR1", "it is no Parquet file"),
        ("t.parquet", b"PAR1" + b"\x11" * 500 + b"\x10\0\0\0PAR1", "it is no Parquet file"),
        ("t.tsv", b'a\tb\n1\t"Oh no\n2\tyes\n3\tok\n', "line 2 cannot be split into cells .*marks inside doubled"),
        ("t.tsv", b'a\tb\n1\t"Well," she said\n', "line 2 cannot be split into cells"),
        ("t.csv", b'a,b\n1,"' + b"x" * 200_000 + b'"\n', "line 2 cannot be split into cells"),
        ("t.csv", b"a,b,a\n1,2,3\n", "it has two columns 'a'"),
        ("t.csv", b"\n\na,b\n1,2\n", "line 1 is blank, but must name the columns"),
        ("t.jsonl", b'{"a": 1, "b": 2, "a": 3}\n', "line 1 has 'a' twice"),
        ("t.jsonl", b'{"a": {"c": 1, "c": 3}}\n', "line 1 has 'c' twice"),
    ],
)
def test_what_is_no_table_is_refused(name: str, raw: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(MalformedSource, match=f"^x/{name}: .*{problem}"):
        list(read_cells(tmp_path / name, f"x/{name}"))


def test_two_parquet_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["a", "a"]), tmp_path / "t.parquet")
    with pytest.raises(MalformedSource, match=r"^t\.parquet: it has two columns 'a'"):
        list(read_cells(tmp_path / "t.parquet", "t.parquet"))


def test_columns_without_a_name_may_be_many(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,,\n1,,\n")
    assert list(read_cells(tmp_path / "t.csv", "t.csv")) == [{"a": "1", "": ""}]


def test_a_table_that_is_not_there_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(MissingFolder, match=r"the table 't\.csv' is not at .*t\.csv: name it relative to the root"):
        list(read_cells(tmp_path / "t.csv", "t.csv"))


@pytest.mark.parametrize(
    "cells",
    [
        pa.array([1], pa.timestamp("us", tz="Mars/Olympus")),
        pa.array([2**50], pa.timestamp("ms")),
        pa.array([2**30], pa.date32()),
        pa.array([10**15], pa.duration("s")),
        pa.array([b"\xff\xfe"]).view(pa.string()),
    ],
    ids=lambda cells: str(cells.type),
)
def test_a_parquet_column_of_what_is_no_value_is_named(cells: pa.Array, tmp_path: Path) -> None:
    pq.write_table(pa.table({"path": ["a.wav"], "when": cells}), tmp_path / "t.parquet")
    with pytest.raises(MalformedSource, match=r"^t\.parquet: column 'when' cannot be read \("):
        list(read_cells(tmp_path / "t.parquet", "t.parquet"))
    assert list(read_cells(tmp_path / "t.parquet", "t.parquet", ["path"])) == [{"path": "a.wav", "when": None}]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.parametrize(("cell", "kind"), [(["a", "b"], "a list"), ({"a": 0.2}, "a mapping"), ([], "a list")])
def test_a_cell_of_several_values_is_refused_where_it_is_asked_for(
    form: str, cell: object, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / f"t.{form}"
    rows = [{"path": "a.wav", "label": cell}]
    pq.write_table(pa.Table.from_pylist(rows), path) if form == "parquet" else path.write_text(json.dumps(rows[0]))
    (found,) = read_cells(path, "t")
    assert named_text(found, "path", "t", 1) == "a.wav"
    with pytest.raises(MalformedSource, match=f"^t: row 1 has {kind} in column 'label', which must hold one value"):
        named_text(found, "label", "t", 1)


def test_cells_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MalformedSource, match=r"^t: row 7 has half of a character in column 'a'"):
        named_text({"a": "so \ud83d"}, "a", "t", 7)
    with pytest.raises(MalformedSource, match=r"^t: row 7 has bytes in column 'a', which must hold one value"):
        named_text({"a": b"a.wav"}, "a", "t", 7)


@given(st.timedeltas(datetime.timedelta(0), datetime.timedelta(days=9_000)))
def test_spans_are_read_as_python_and_pandas_write_them(span: datetime.timedelta) -> None:
    clock = str(span - datetime.timedelta(days=span.days))
    for text in (str(span), f"{span.days} days {clock}"):
        assert timedelta_s(text) == span.total_seconds()


@pytest.mark.parametrize("text", ["", "1.5", "00:01", "soon", "1 day 1", " 0 days", "days", "0:00:01,5"])
def test_what_is_no_span_is_none(text: str) -> None:
    assert timedelta_s(text) is None
