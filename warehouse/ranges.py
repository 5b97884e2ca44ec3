"""Files of which only those bytes are fetched that are read, and files that several threads read at once."""

from __future__ import annotations

import io
import os
import threading
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


class Shared(io.RawIOBase):
    """A file that several threads of DuckDB read at once, which ask to seek and to read in two calls.

    A thread that sought reads where it sought, whatever others do in between; one that did not goes on where the last
    read of any ended, as those of a CSV do in turn.

    Args:
        read: gives the bytes from a place to before another; called by several threads at once.
        n_bytes: of the file.
        name: of it.
        end: called when it is closed.

    Example:
        >>> file = Shared(lambda start, end: b"0123456789"[start:end], 10, "digits")
        >>> file.seek(-3, 2), file.read(2), file.read()
        (7, b'78', b'9')
    """

    def __init__(
        self, read: Callable[[int, int], bytes], n_bytes: int, name: str, end: Callable[[], None] | None = None
    ) -> None:
        self._read, self.size, self.name, self._end = read, n_bytes, name, end
        self._place, self._sought = 0, dict[int, int]()
        self._lock = threading.Lock()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self.size}[whence]
        with self._lock:
            self._sought[threading.get_ident()] = self._place = place
        return place

    def tell(self) -> int:
        with self._lock:
            return self._sought.get(threading.get_ident(), self._place)

    def read(self, size: int = -1) -> bytes:
        with self._lock:
            start = self._sought.pop(threading.get_ident(), None)
            if start is None:
                start = self._place
                self._sought.clear()  # who sought before is in the same row as this one
            self._place = end = max(start, self.size if size is None or size < 0 else min(start + size, self.size))
        return self._read(start, end) if end > start else b""

    def close(self) -> None:
        if not self.closed and self._end is not None:
            self._end()
        super().close()
