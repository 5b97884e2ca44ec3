"""Rows and arrays come back as they went in, the same rows are the same bytes, and nothing wrong gets in or out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from warehouse.errors import SchemaMismatch
from warehouse.schema import LABELS, UTTERANCES
from warehouse.tables import (
    array_cells,
    array_columns,
    array_of,
    check_table,
    columns_of,
    read_table,
    rows_about,
    rows_of,
    table_of,
    vector_columns,
    write_rows,
    write_table,
)

SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("turn", pa.int64(), nullable=False),
        pa.field("start_s", pa.float64(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("attributes", pa.map_(pa.string(), pa.string()), nullable=False),
    ]
)
ROW = {"name": "a", "turn": 0, "start_s": 0.5, "score": None, "attributes": {}}

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
ROWS = st.lists(
    st.fixed_dictionaries({
        "name": TEXT, "turn": st.integers(-(2**63), 2**63 - 1), "start_s": st.floats(allow_nan=False),
        "score": st.none() | st.floats(allow_nan=False), "attributes": st.dictionaries(TEXT, TEXT, max_size=2),
    }),
    max_size=6,
)  # fmt: skip
DTYPES = st.one_of(hnp.floating_dtypes(endianness="?"), hnp.integer_dtypes(endianness="?"),
                   hnp.unsigned_integer_dtypes(endianness="?"), hnp.boolean_dtypes())  # fmt: skip
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, min_side=0, max_dims=3, max_side=4))


def back(path: Path, schema: pa.Schema = SCHEMA) -> list[dict[str, Any]]:
    rows = read_table(path, schema).to_pylist()
    return [row | {"attributes": dict(row["attributes"])} for row in rows]


# -- rows ------------------------------------------------------------------------------------------------------


@given(ROWS)
def test_rows_come_back(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    write_rows(path, rows, SCHEMA)
    assert back(path) == rows
    assert pq.read_schema(path).names == SCHEMA.names


def many(n: int) -> list[dict[str, Any]]:
    return [ROW | {"name": f"utterance {i * 7919 % n} of many", "turn": i, "score": i / 3} for i in range(n)]


def test_the_same_rows_are_the_same_bytes_however_they_were_put_together(tmp_path: Path) -> None:
    table = table_of(many(30_000), SCHEMA)
    pieces = pa.concat_tables([table.slice(0, 11_001), table.slice(11_001, 3), table.slice(11_004)])
    turned = pieces.select(list(reversed(SCHEMA.names))).replace_schema_metadata({"pandas": "{}"})
    found = set()
    for number, one in enumerate((table, pieces, turned)):
        write_table(tmp_path / f"{number}.parquet", one, SCHEMA)
        found.add((tmp_path / f"{number}.parquet").read_bytes())
    write_table(tmp_path / "again.parquet", read_table(tmp_path / "0.parquet", SCHEMA), SCHEMA)
    assert found == {(tmp_path / "again.parquet").read_bytes()}


def test_columns_are_those_that_are_asked_for(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.parquet", many(3), SCHEMA)
    for names in (None, ["turn"], ["turn", "name"]):
        found = pq.read_table(tmp_path / "rows.parquet", columns=names)
        assert columns_of(tmp_path / "rows.parquet", names).equals(found)


@pytest.mark.parametrize("n", [0, 1, 70_000])
def test_every_number_of_rows_comes_back(tmp_path: Path, n: int) -> None:
    write_rows(tmp_path / "rows.parquet", many(n), SCHEMA)
    assert read_table(tmp_path / "rows.parquet", SCHEMA).num_rows == n


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"name": "a"}, r"row 1 lacks \['attributes', 'score', 'start_s', 'turn'\] and has unknown \[\]"),
        (ROW | {"nmae": "a"}, r"row 1 lacks \[\] and has unknown \['nmae'\]"),
        (ROW | {"name": None}, "column 'name' holds 1 nulls"),
        (ROW | {"name": 3}, "Expected bytes, got a 'int' object"),
        (ROW | {"name": "\ud800"}, "surrogates not allowed"),
        (ROW | {"turn": "3"}, "Could not convert '3' with type str"),
        (ROW | {"turn": True}, "Expected integer, got bool"),
        (ROW | {"turn": 1.5}, r"row 1 has 1\.5 in column 'turn', which holds integers"),
        (ROW | {"turn": 2**63}, "too large"),
        (ROW | {"start_s": "soon"}, "Could not convert 'soon' with type str"),
        (ROW | {"attributes": {"a": 3}}, "Expected bytes, got a 'int' object"),
        (ROW | {"attributes": 3}, "Could not convert|not iterable|[Ee]xpected"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaMismatch, match=rf"the labels does not have the schema it must have: .*{message}"):
        table_of([ROW, row], SCHEMA, "the labels")
    with pytest.raises(SchemaMismatch, match=rf"rows\.parquet does not have .*{message}"):
        write_rows(tmp_path / "rows.parquet", [ROW, row], SCHEMA)
    assert list(tmp_path.iterdir()) == []


TWO = pa.schema([pa.field("a", pa.string(), nullable=False), pa.field("b", pa.int64())])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": ["x"]}, r"column 'b' is missing \(columns: a\)"),
        ({"a": ["x"], "b": [1.0]}, "column 'b' is double, not int64"),
        ({"a": ["x"], "b": ["1"]}, "column 'b' is string, not int64"),
        ({"a": pa.array(["x", None]), "b": [1, 2]}, "column 'a' holds 1 nulls"),
        ({"a": ["x"], "b": [1], "d": [0], "c": [0]}, r"unknown columns \['c', 'd'\]"),
    ],
)
def test_tables_are_checked_on_the_way_in_and_out(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    table = pa.table(columns)
    path = tmp_path / "t.parquet"
    with pytest.raises(SchemaMismatch, match=f"here does not have the schema it must have: {message}"):
        check_table(table, TWO, "here")
    with pytest.raises(SchemaMismatch, match=rf"t\.parquet does not have .*: {message}"):
        write_table(path, table, TWO)
    pq.write_table(table, path)
    with pytest.raises(SchemaMismatch, match=rf"t\.parquet does not have .*: {message}"):
        read_table(path, TWO)


def test_a_column_given_twice_is_refused() -> None:
    twice = pa.Table.from_arrays([pa.array(["x"]), pa.array([1]), pa.array([2])], names=["a", "b", "b"])
    with pytest.raises(SchemaMismatch, match=r"here does not have .*: column 'b' is given twice"):
        check_table(twice, TWO, "here")


@pytest.mark.parametrize("content", [b"", b"no parquet", b"PAR1" + bytes(50) + b"PAR1"])
def test_a_file_that_is_no_parquet_is_said_to_be(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(SchemaMismatch, match=r"t\.parquet does not have the schema it must have: "):
        read_table(tmp_path / "t.parquet", LABELS)
    with pytest.raises(SchemaMismatch, match="there is no such file"):
        read_table(tmp_path / "none.parquet", LABELS)


def test_a_column_whose_name_is_no_text_is_said_to_be_so(tmp_path: Path) -> None:
    pq.write_table(pa.table({"column": ["x"]}), tmp_path / "t.parquet", store_schema=False)
    content = (tmp_path / "t.parquet").read_bytes()
    assert b"column" in content
    (tmp_path / "t.parquet").write_bytes(content.replace(b"column", b"col\xffmn"))
    with pytest.raises(SchemaMismatch, match=r"t\.parquet does not have the schema it must have: 'utf-8' codec can't"):
        read_table(tmp_path / "t.parquet", LABELS)


def test_a_lake_may_lie_under_a_folder_that_looks_like_a_partition(tmp_path: Path) -> None:
    folder = tmp_path / "seed=3"
    folder.mkdir()
    write_rows(folder / "t.parquet", [], UTTERANCES)
    assert read_table(folder / "t.parquet", UTTERANCES).schema.names == UTTERANCES.names


# -- arrays ----------------------------------------------------------------------------------------------------


@given(ARRAYS)
def test_arrays_come_back_from_their_cells(array: np.ndarray) -> None:
    again = array_of(array_cells("x", array), "x")
    assert again.shape == array.shape
    assert again.dtype == array.dtype.newbyteorder("<")
    np.testing.assert_array_equal(again, array)


@given(ARRAYS)
def test_cells_do_not_know_byte_order_or_layout(array: np.ndarray) -> None:
    cells = array_cells("x", array)
    assert array_cells("x", array.astype(array.dtype.newbyteorder(">"))) == cells
    assert array_cells("x", np.asarray(array, order="F")) == cells
    assert cells["x"] == array.astype(array.dtype.newbyteorder("<")).tobytes("C")


def test_arrays_come_back_through_a_file(tmp_path: Path) -> None:
    schema = pa.schema([pa.field("input_id", pa.string(), nullable=False), *array_columns("x")])
    arrays = [np.arange(6, dtype=">f4").reshape(2, 3), np.zeros((0, 130), np.float32), np.array(7, np.int16)]
    rows = [{"input_id": str(i)} | array_cells("x", array) for i, array in enumerate(arrays)]
    write_rows(tmp_path / "x.parquet", rows, schema)
    for row, array in zip(read_table(tmp_path / "x.parquet", schema).to_pylist(), arrays, strict=True):
        np.testing.assert_array_equal(array_of(row, "x"), array, strict=array.dtype.isnative)


@pytest.mark.parametrize(
    "array", [np.array([{}, None]), np.array(["text"]), np.array([b"x"]), np.zeros(2, [("a", "i4")]),
              np.array(["2020"], "M8[D]")]
)  # fmt: skip
def test_only_numbers_are_arrays(array: np.ndarray) -> None:
    with pytest.raises(SchemaMismatch, match=r"array 'x' does not have .*: its dtype is .*, not one of numbers"):
        array_cells("x", array)


def test_vectors_are_plain_columns(tmp_path: Path) -> None:
    names = ("F0semitone_mean", "loudness_mean")
    write_rows(tmp_path / "v.parquet", [dict(zip(names, (1.5, 2.5), strict=True))], vector_columns(names))
    assert read_table(tmp_path / "v.parquet", vector_columns(names)).to_pydict() == {names[0]: [1.5], names[1]: [2.5]}
    assert {column.type for column in vector_columns(names)} == {pa.float32()}


def test_the_rows_of_many_tables_are_those_of_each_and_checked_before_any_is_read(tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.parquet" for n in range(3)]
    for n, path in enumerate(paths):
        write_rows(path, [ROW | {"name": f"{n}{turn}", "turn": turn} for turn in range(n)], SCHEMA)
    rows = rows_of(paths, SCHEMA)
    assert rows.to_table().equals(pa.concat_tables(read_table(path, SCHEMA) for path in paths))
    assert rows.to_table(columns=["name"]).column("name").to_pylist() == ["10", "20", "21"]
    pq.write_table(pa.table({"name": ["a"]}), paths[1])
    with pytest.raises(SchemaMismatch, match="column 'turn' is missing"):
        rows_of(paths, SCHEMA)
    paths[1].write_text("x")
    with pytest.raises(SchemaMismatch, match=r"1\.parquet"):
        rows_of(paths, SCHEMA)
    paths[1].unlink()
    with pytest.raises(SchemaMismatch, match="there is no such file"):
        rows_of(paths, SCHEMA)


def test_rows_about_some_ids_are_all_of_theirs_whatever_group_they_lie_in(tmp_path: Path) -> None:
    ids = [f"i{n % 50}" for n in range(200)]
    table = pa.table({"input_id": ids, "n": list(range(200)), "left": ids})
    for size in (200, 7):
        pq.write_table(table, tmp_path / "rows.parquet", row_group_size=size)
        found = list(rows_about(tmp_path / "rows.parquet", {"i3", "i49", "absent"}, ["input_id", "n"]))
        assert found == [{"input_id": one, "n": n} for n, one in enumerate(ids) if one in ("i3", "i49")]
        assert list(rows_about(tmp_path / "rows.parquet", [], ["input_id"])) == []
