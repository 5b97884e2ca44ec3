"""Training shards: one deterministic tar per field per shard, in WebDataset's layout, read by byte offset.

Members are `<utterance_id>.<field>.npy` (arrays, numpy's own header, never pickled) or `<utterance_id>.<field>.txt`
(UTF-8 text). Beside each tar stands `index.parquet` with the offset and size of every member, so that a local
reader maps the file and touches only what it needs, while `webdataset` streams the same tar from a store.
"""

from __future__ import annotations

import io
import mmap
import re
import tarfile
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from tokenize import TokenError

import numpy as np
from numpy.lib import format as npy

from warehouse.copies import fetched, remote_of
from warehouse.errors import DuplicateId, SchemaMismatch
from warehouse.schema import SHARD_INDEX, check_id
from warehouse.tables import little_endian, read_table, write_rows

TAR = "shard.tar"
INDEX = "index.parquet"

_NPY = b"\x93NUMPY"  # begins every array member and no UTF-8 text
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(..)\{'descr': '([<|][a-z]\d+)', 'fortran_order': False, 'shape': \(([\d, ]*)\), \} *\n",
    re.DOTALL,
)


def write_shard(folder: Path, field: str, members: Iterable[tuple[str, str, np.ndarray | str]]) -> None:
    """Writes the tar and index of one field.

    Same members, same bytes: time, owner and mode are constants, order is the order given. A member's name of more
    than 100 characters takes a header of its own before it (POSIX pax), which every tar reader knows.

    Args:
        members: (utterance_id, input_id, array or text); ids must match [A-Za-z0-9_-]+ and be unique.

    Raises:
        InvalidId: an id that cannot name a member.
        DuplicateId: an utterance occurs twice.
        SchemaMismatch: an array that does not hold numbers.
    """
    check_id("field", field)
    index = []
    seen = set()
    with tarfile.open(folder / TAR, "w", format=tarfile.PAX_FORMAT) as tar:
        for utterance_id, input_id, value in members:
            check_id("utterance id", utterance_id)
            if utterance_id in seen:
                raise DuplicateId("utterance id", utterance_id, field)
            seen.add(utterance_id)
            if isinstance(value, str):
                suffix, content = "txt", value.encode()
            else:
                suffix, content = "npy", _npy_bytes(little_endian(value, f"{utterance_id}.{field}"))
            member = tarfile.TarInfo(f"{utterance_id}.{field}.{suffix}")
            member.size, member.mode = len(content), 0o644
            tar.addfile(member, io.BytesIO(content))
            offset = tar.offset - -(-len(content) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE  # content fills blocks
            index.append({
                "utterance_id": utterance_id, "input_id": input_id, "offset": offset, "n_bytes": len(content),
            })  # fmt: skip
    write_rows(folder / INDEX, index, SHARD_INDEX)


class ShardReader:
    """Random access to one field's tar through a memory map. Arrays are read-only views of the map: copy to keep.

    Args:
        folder: of a 'shards' artifact.

    Raises:
        SchemaMismatch: the index is none, or names bytes that the tar does not have; later, a member is no array, or no
            text.
    """

    def __init__(self, folder: Path) -> None:
        index = read_table(fetched(folder / INDEX), SHARD_INDEX).to_pydict()
        self._span = dict(zip(index["utterance_id"], zip(index["offset"], index["n_bytes"], strict=True), strict=True))
        self._path = folder / TAR
        self._mapped: memoryview | None = None
        if self._path.is_file() or remote_of(self._path) is None:  # else when it is
            self._check()

    def __contains__(self, utterance_id: str) -> bool:
        return utterance_id in self._span

    def __iter__(self) -> Iterator[str]:
        return iter(self._span)

    def content(self, utterance_id: str) -> memoryview:
        """The raw bytes of one member."""
        offset, n_bytes = self._span[utterance_id]
        return self._bytes()[offset : offset + n_bytes]

    def read(self, utterance_id: str) -> np.ndarray | str:
        """The array or text of an utterance, whichever it is."""
        is_array = self.content(utterance_id)[: len(_NPY)] == _NPY
        return self.array(utterance_id) if is_array else self.text(utterance_id)

    def array(self, utterance_id: str) -> np.ndarray:
        try:
            return _npy_view(self.content(utterance_id))
        except (ValueError, TypeError, OverflowError, SyntaxError, TokenError) as error:
            raise SchemaMismatch(str(self._path), f"the member of {utterance_id} is no array ({error})") from error

    def shape(self, utterance_id: str) -> tuple[int, ...]:
        """The array's shape, read from its header alone."""
        return self.array(utterance_id).shape

    def text(self, utterance_id: str) -> str:
        try:
            return str(self.content(utterance_id), "utf-8")
        except UnicodeDecodeError as error:
            raise SchemaMismatch(str(self._path), f"the member of {utterance_id} is no text ({error})") from error

    def _check(self) -> None:
        size = self._path.stat().st_size if self._path.is_file() else 0
        if any(not 0 <= offset <= offset + n_bytes <= size for offset, n_bytes in self._span.values()):
            path = self._path.with_name(INDEX)
            raise SchemaMismatch(str(path), f"it names bytes that {TAR} does not have, which are {size}")

    def _bytes(self) -> memoryview:
        if self._mapped is None:
            if not self._path.is_file():
                fetched(self._path)
                self._check()
            with open(self._path, "rb") as stream:
                self._mapped = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
        return self._mapped


def _npy_bytes(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    npy.write_array(stream, array, version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def _npy_view(content: memoryview) -> np.ndarray:
    dtype, shape, offset = _read_header(content)
    return np.frombuffer(content, dtype=dtype, offset=offset).reshape(shape)


def _read_header(content: memoryview) -> tuple[np.dtype, tuple[int, ...], int]:
    """What numpy's own reader finds, which takes longer than touching all frames of an utterance, so it is asked only
    where a header is not of the one form that numpy writes."""
    match = _HEADER.match(content)
    if match and match.end() == 10 + int.from_bytes(match[1], "little"):
        return *_form(match[2], match[3]), match.end()
    header = io.BytesIO(content[:256])
    npy.read_magic(header)
    shape, _, dtype = npy.read_array_header_1_0(header)
    return dtype, shape, header.tell()


@lru_cache(65_536)
def _form(dtype: bytes, shape: bytes) -> tuple[np.dtype, tuple[int, ...]]:
    return np.dtype(dtype.decode()), tuple(int(n) for n in shape.split(b",") if n.strip())
