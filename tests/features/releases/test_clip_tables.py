"""Every form of a table gives the same cells."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.releases.clip_tables import FORMS, cell_text, read_cells
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
