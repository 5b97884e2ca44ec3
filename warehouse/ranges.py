"""A file of which only those bytes are fetched that are read."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any, BinaryIO, cast

AHEAD = 1 << 16
"""Bytes that are fetched at least: what follows a few is wanted next."""


class Ranges(io.RawIOBase):
    """A file that is given in ranges.

    Args:
        read: gives the bytes from a place to before another.
        n_bytes: of the file.

    Example:
        >>> file = Ranges(lambda start, end: b"0123456789"[start:end], 10).buffered()
        >>> file.seek(-3, 2), file.read()
        (7, b'789')
    """

    def __init__(self, read: Callable[[int, int], bytes], n_bytes: int) -> None:
        self._read, self.size, self._place = read, n_bytes, 0

    def buffered(self) -> BinaryIO:
        """With a buffer, as files are read."""
        return cast(BinaryIO, io.BufferedReader(self, AHEAD))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self.size}[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        end = min(self._place + len(buffer), self.size)
        if end <= self._place:
            return 0
        content = self._read(self._place, end)
        buffer[: len(content)] = content
        self._place += len(content)
        return len(content)
