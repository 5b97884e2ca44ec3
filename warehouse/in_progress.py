"""What is not finished yet bears the name of whose it is, so that it can be swept when that process is gone.

A process is known by its number and by the place where that number means something: the host, its start (the kernel's
boot id), the namespace of process numbers, of which each container has one, and the machine. So containers that share a
name, a lake and their numbers leave each other alone, and so do machines of one name. `infra.launch` names what it
makes in the same way, and knows nothing of us.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import re
import socket
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from warehouse.errors import DiskFull
from warehouse.hashing import canonical_json

UNFINISHED = re.compile(r"(?:\..+\.json\.)?(?P<place>.+)-(?P<pid>\d+)-[0-9a-z_]+")
"""Names of what is unfinished: a folder of scratch, or what is to replace a file beside it."""

_PROC = Path("/proc")
_MACHINE = Path("/etc/machine-id")
_HOSTS_OWN = "effffffc"
"""The namespace of a host itself, by a constant of Linux; any other one is a container's."""


def here() -> str:
    """Where the number of this process means something: host~boot.namespace.machine, without the machine where it has
    no id, or the host alone where no /proc says."""
    host = socket.gethostname()
    with suppress(OSError):
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().replace("-", "")
        place = f"{host}~{boot[:12]}.{(_PROC / 'self/ns/pid').stat().st_ino:x}"
        return f"{place}.{machine}" if (machine := _machine()) else place
    return host


def _machine() -> str:
    """Which installation of a system this is, which keeps its id when it is started anew; '' where it has none. The id
    itself is not for others to know."""
    with suppress(OSError):
        if told := _MACHINE.read_bytes().strip():
            return hashlib.sha256(b"emolake" + told).hexdigest()[:12]
    return ""


def owner() -> str:
    """The beginning of every name that this process gives to what it has not finished."""
    return f"{here()}-{os.getpid()}-"


def unfinished() -> str:
    """A name that says whose it is, for as long as it is not finished."""
    return f"{owner()}{uuid.uuid4().hex[:12]}"


def is_left(path: Path) -> bool:
    """Whether a process began it that is known to be gone. Of other hosts and of other containers nobody knows."""
    match = UNFINISHED.fullmatch(path.name)
    return bool(match and (_is_over(match["place"]) or (is_here(path) and not is_running(int(match["pid"])))))


def is_here(path: Path) -> bool:
    """Whether what is unfinished is of a process whose number means something here; a name without more than the host,
    or without the machine, as older versions gave, is taken at its word."""
    match = UNFINISHED.fullmatch(path.name)
    own = here()
    return bool(match and match["place"] in (own, own.removesuffix(f".{_machine()}"), socket.gethostname()))


def is_surely_left(path: Path) -> bool:
    """As `is_left`, of a name that hosts all over the world may have given, where the name of a host says nothing."""
    return "~" in path.name and is_left(path)


def _is_over(place: str) -> bool:
    """Whether this machine was there, itself and not as a container, and has been started anew since. Machines of one
    name, and containers of one name, may run side by side: where a machine has no id, its start decides nothing."""
    (host, _, own), (their_host, _, theirs) = here().partition("~"), place.partition("~")
    (boot, _, rest), (their_boot, _, their_rest) = own.partition("."), theirs.partition(".")
    is_same = host == their_host and rest == their_rest == f"{_HOSTS_OWN}.{_machine()}"
    return is_same and _machine() != "" and boot != their_boot


def disk_ns(folder: Path, unknown: int) -> int:
    """The time by the clock of the disk that a folder is on, which need not be this host's, in nanoseconds; `unknown`
    where nothing can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as nameless:
            return os.fstat(nameless.fileno()).st_ctime_ns
    except OSError:
        return unknown


def write_atomically(path: Path, value: Mapping[str, Any]) -> None:
    """Writes a value as canonical JSON: whoever reads the file finds what it said before, or all of this."""
    replace_with(path, canonical_json(value))


def replace_with(path: Path, content: bytes | memoryview) -> None:
    """The same with bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{_beginning(path)}{unfinished()}")
    try:
        with open(beside, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def forget_replacements(path: Path) -> None:
    """Takes away what was to replace a file that is no more wanted: of processes that are gone, and of other hosts and
    containers, of which nobody knows."""
    for begun in path.parent.glob(f"{glob.escape(_beginning(path))}*"):
        if is_left(begun) or not is_here(begun):
            begun.unlink(missing_ok=True)


def _beginning(path: Path) -> str:
    """Of the names of what is to replace a file."""
    return f".{path.stem[:30]}{path.suffix}."  # at most 120 bytes: of the 255 of a name `unfinished` may take 127


@contextmanager
def saying_disk_full(root: Path, what: str) -> Iterator[None]:
    """Raises DiskFull where the system says that the disk of a lake has no space left for something."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(root, what) from error
        raise


def is_running(pid: int) -> bool:
    """Whether a process of this place runs. One that ended and that nobody has asked for its end yet, as orphans of a
    killed run may stay for long in a container, still has its number and runs no more."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with suppress(OSError, IndexError):  # no Linux, or gone since
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    return True
