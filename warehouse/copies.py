"""Files of a lake on a store that are not on this host yet: asked for by their paths, they are fetched.

A lake on a store is worked on through a copy (`warehouse.remote`), which has every manifest that anybody asked for and
those files that anybody opened. Whoever opens a file by a path goes through `fetched`; for a lake in a folder, of which
there is no copy, it does nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import BinaryIO, Protocol

from warehouse.errors import EmolakeError

SCHEME = "emolake"
"""Of the addresses by which DuckDB reads files that are on the store alone (`warehouse.remote_files`)."""

N_AHEAD = 4
"""Files that are fetched at once before they are asked for."""


class Remote(Protocol):
    """The store that a copy is of."""

    def fetch(self, path: Path) -> None:
        """Brings a file of an artifact, or all files of its folder, into the copy."""

    def open(self, path: Path) -> BinaryIO:
        """A file of an artifact, read in ranges from the store."""

    def bring_refs(self) -> None:
        """Has all names in the copy as they are now."""


REMOTES: dict[Path, Remote] = {}
"""Folder of a copy that this process has opened -> its store."""


def fetched(path: Path) -> Path:
    """The same path, after the file there, or all files of the artifact's folder there, were brought into the copy.

    A path that is in no copy is given back as it is, whether anything is there or not.

    Raises:
        OtherBytes: the store has others than the manifest says. StoreFails.
    """
    if REMOTES and (remote := remote_of(path)) is not None and (path.is_dir() or not path.exists()):
        remote.fetch(path)
    return path


def fetch_ahead(paths: Iterable[Path]) -> None:
    """Fetches files in this order while others are read, a few at a time. What goes wrong is said to who opens one."""
    if not REMOTES:
        return
    waiting = SimpleQueue[Path]()
    for path in paths:
        if not path.exists():
            waiting.put(path)

    def fetch() -> None:
        with suppress(Empty, EmolakeError, OSError):
            while True:
                fetched(waiting.get_nowait())

    for _ in range(min(N_AHEAD, waiting.qsize())):
        threading.Thread(target=fetch, daemon=True).start()


def remote_of(path: Path) -> Remote | None:
    """The store of the copy that a path of an artifact lies in."""
    if REMOTES:
        for folder in path.parents:
            if folder.name == "artifacts" and (remote := REMOTES.get(folder.parent)) is not None:
                return remote
    return None
