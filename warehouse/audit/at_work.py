"""Whether somebody works in a lake, whose things must not be taken away meanwhile."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

from warehouse.audit.errors import LakeAtWork, LakeServed
from warehouse.in_progress import is_here, owner

_SERVING = ".prefect/serving.lock"
"""Held by `emolake serve` from its beginning to its end."""

IDLE = timedelta(hours=24)
"""After so long without a touch, nobody works in scratch any more."""


def refuse_work(lake: Path) -> None:
    """Raises LakeAtWork where another process has something in the works: a run has that from its beginning to its
    end. A `serve` that waits for the next run has not, see `unserved`."""
    own = owner()
    scratch = [path for path in (lake / ".scratch").glob("*") if path.is_dir()]
    working = sorted(path.name for path in scratch if not path.name.startswith(own))
    if working:
        raise LakeAtWork(working)


def abandoned(lake: Path, since: datetime) -> list[Path]:
    """Scratch of other hosts and containers that nobody has touched since. That of this one lives: what its processes
    left goes when the lake is opened."""
    return [path for path in sorted((lake / ".scratch").glob("*")) if not is_here(path) and touched(path) < since]


def put_away(folder: Path, leftovers: Sequence[Path]) -> None:
    """Moves what nobody works in below another folder, which goes."""
    for number, path in enumerate(leftovers):
        with suppress(FileNotFoundError):
            os.rename(path, folder / f"{number}-{path.name}")


def touched(path: Path) -> datetime:
    """When a path or anything below it was changed the last time; of what is gone, never so long ago."""
    times = [one.st_mtime for one in stats(path)]
    return datetime.fromtimestamp(max(times), UTC) if times else datetime.max.replace(tzinfo=UTC)


def stats(path: Path) -> Iterator[os.stat_result]:
    """Of a path and all below it, without what vanishes meanwhile."""
    below = (Path(folder, name) for folder, folders, files in os.walk(path) for name in (*folders, *files))
    for one in chain([path], below):
        with suppress(FileNotFoundError):
            yield one.lstat()


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
