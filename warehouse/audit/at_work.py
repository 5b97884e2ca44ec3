"""Whether somebody works in a lake, whose things must not be taken away meanwhile."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from warehouse.audit.errors import LakeAtWork, LakeServed

_SERVING = ".prefect/serving.lock"
"""Held by `emolake serve` from its beginning to its end."""


def refuse_work(lake: Path) -> None:
    """Raises LakeAtWork where another process has something in the works: a run has that from its beginning to its
    end. A `serve` that waits for the next run has not, see `unserved`."""
    own = f"-{os.getpid()}-"
    working = sorted(path.name for path in (lake / ".scratch").glob("*") if path.is_dir() and own not in path.name)
    if working:
        raise LakeAtWork(working)


@contextmanager
def unserved(lake: Path) -> Iterator[None]:
    """Within it nobody begins to serve the lake: a server's database and its lock lie in `.prefect` for as long as it
    lives.

    Raises:
        LakeServed: somebody serves it.
    """
    with ExitStack() as held:
        with suppress(FileNotFoundError):  # nobody ever did
            lock = held.enter_context(open(lake / _SERVING, "r+b"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LakeServed(lake) from None
        yield
