"""What is not finished yet bears the name of whose it is, so that it can be swept when that process is gone."""

from __future__ import annotations

import errno
import os
import re
import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from warehouse.errors import DiskFull
from warehouse.hashing import canonical_json

UNFINISHED = re.compile(r"(?:\..+\.json\.)?(?P<host>.+)-(?P<pid>\d+)-[0-9a-z_]+")
"""Names of what is unfinished: a folder of scratch, or what is to replace a file beside it."""


def unfinished() -> str:
    """A name that says whose it is, for as long as it is not finished."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:12]}"


def is_left(path: Path) -> bool:
    """Whether a process of this host began it and is gone."""
    match = UNFINISHED.fullmatch(path.name)
    return bool(match and match["host"] == socket.gethostname() and not _is_running(int(match["pid"])))


def disk_ns(beside: Path) -> int:
    """The time by the clock of the disk that a path is on, which need not be this host's, in nanoseconds; 0 where
    nothing can be written. No file of that name stays."""
    try:
        beside.parent.mkdir(parents=True, exist_ok=True)
        beside.touch()
        return beside.stat().st_mtime_ns
    except OSError:
        return 0
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def write_atomically(path: Path, value: Mapping[str, Any]) -> None:
    """Writes a value as canonical JSON: whoever reads the file finds what it said before, or all of this."""
    replace_with(path, canonical_json(value))


def replace_with(path: Path, content: bytes) -> None:
    """The same with bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{unfinished()}")
    try:
        with open(beside, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def saying_disk_full(root: Path, what: str) -> Iterator[None]:
    """Raises DiskFull where the system says that the disk of a lake has no space left for something."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(root, what) from error
        raise


def _is_running(pid: int) -> bool:
    """One that ended and that nobody has asked for its end yet, as orphans of a killed run may stay for long in a
    container, still has its number and runs no more."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with suppress(OSError, IndexError):  # no Linux, or gone since
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    return True
