"""A file of which only what is read is fetched."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.ranges import AHEAD, Ranges


def test_a_file_read_in_ranges_is_the_file() -> None:
    content = bytes(range(256)) * 1024
    asked: list[tuple[int, int]] = []

    def read(start: int, end: int) -> bytes:
        asked.append((start, end))
        return content[start:end]

    file = Ranges(read, len(content)).buffered()
    assert file.seek(-8, io.SEEK_END) == len(content) - 8 and file.read() == content[-8:]
    assert file.seek(100) == file.tell() == 100 and file.read(10) == content[100:110] and file.seek(5, 1) == 115
    assert asked == [(len(content) - 8, len(content)), (100, 100 + AHEAD)], "a little more than was asked, once"
    assert file.seek(0) == 0 and file.read() == content and file.read(1) == b""
    assert file.seek(1 << 30) == 1 << 30 and file.read() == b""


def test_a_column_of_a_table_takes_no_other_column() -> None:
    sink = io.BytesIO()
    pq.write_table(
        pa.table({"id": [1, 2], "frames": [b"x" * (1 << 20)] * 2}), sink, compression=None, use_dictionary=False
    )
    n_read = 0

    def read(start: int, end: int) -> bytes:
        nonlocal n_read
        n_read += end - start
        return sink.getvalue()[start:end]

    with pq.ParquetFile(Ranges(read, len(sink.getvalue())).buffered()) as file:
        assert file.read(columns=["id"]).to_pydict() == {"id": [1, 2]}
    assert n_read < 4 * AHEAD < len(sink.getvalue())
