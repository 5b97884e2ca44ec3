"""Files of a lake on a store that are not on this host yet: asked for by their paths, they are fetched.

A lake on a store is worked on through a copy (`warehouse.remote`), which has every manifest that anybody asked for and
those files that anybody opened. Whoever opens a file by a path goes through `fetched`; for a lake in a folder, of which
there is no copy, it does nothing.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import BinaryIO, Protocol

from warehouse.errors import EmolakeError
from warehouse.in_progress import unfinished

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

    def purging(self) -> str:
        """The purge of the lake that is not done, or ''."""


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


def drop(root: Path, folder: Path) -> None:
    """Takes the folder of an artifact out of a copy at once, as whoever lists it expects."""
    beside = root / ".scratch" / unfinished()
    beside.parent.mkdir(exist_ok=True)
    with suppress(FileNotFoundError):
        os.rename(folder, beside)
        shutil.rmtree(beside, ignore_errors=True)


def take_in(root: Path, coming: Path, folder: Path) -> None:
    """Gives a folder with a manifest its place in a copy, unless another process was faster; what is there without a
    manifest, of one that was killed while it took the folder out, makes way."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(2):
        with suppress(OSError):
            os.rename(coming, folder)
            return
        if (folder / "manifest.json").exists():
            return
        drop(root, folder)


def name_file(coming: Path, folder: Path, name: str) -> None:
    """Gives a file its place in the folder of an artifact, which is not made for it: it went if it is not there.

    Raises:
        FileNotFoundError: it went.
    """
    for parent in reversed((folder / name).parents):
        if parent.is_relative_to(folder) and parent != folder:
            parent.mkdir(exist_ok=True)
    os.replace(coming, folder / name)


def remote_of(path: Path) -> Remote | None:
    """The store of the copy that a path of an artifact lies in."""
    if REMOTES:
        for folder in path.parents:
            if folder.name == "artifacts" and (remote := REMOTES.get(folder.parent)) is not None:
                return remote
    return None
