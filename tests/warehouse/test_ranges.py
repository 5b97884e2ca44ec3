"""A file of which only what is read is fetched."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.ranges import AHEAD, Ranges, Shared


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


def test_a_thread_reads_where_it_sought_and_threads_that_did_not_read_in_turn() -> None:
    ended: list[bool] = []
    file = Shared(lambda start, end: b"0123456789"[start:end], 10, "digits", lambda: ended.append(True))

    def elsewhere(do: Callable[[], object]) -> object:
        with ThreadPoolExecutor(1) as threads:
            return threads.submit(do).result()

    file.seek(2)
    assert elsewhere(lambda: (file.seek(7), file.tell(), file.read(2))) == (7, 7, b"78")
    assert file.tell() == 2 and file.read(3) == b"234" and file.read(1) == b"5", "where this one sought"
    assert elsewhere(lambda: file.read(2)) == b"67" and file.read() == b"89" and file.read() == b""
    file.seek(0)
    assert elsewhere(lambda: file.read(4)) == b"0123" and file.read(2) == b"45", "rewound by one, read on by another"
    assert file.seek(-3, io.SEEK_END) == 7 and file.seek(1, io.SEEK_CUR) == 8 and file.seek(99) == 99
    assert file.read() == b"" and file.readable() and file.seekable() and file.name == "digits"
    file.close()
    file.close()
    assert ended == [True] and file.closed
