"""The states of fits of a lake on a store, so that a fit which ends on one host goes on on another.

What a fit keeps in the copy of its host (`models.resume`) it puts here too, under the same names:

    .resume/<key of the request>/<number>-<digest of the file>.safetensors

The two newest stay until the artifact is committed. A state is put whole, and its name says what its bytes must be: one
that has others is not there. It is a help and no part of the lake: where the store fails, a fit goes on without.
"""

from __future__ import annotations

import os
import re
from collections.abc import Container, Mapping
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path

from warehouse.objects import Objects, at_once
from warehouse.operating_errors import StoreFails

FOLDER = ".resume"
NAME = re.compile(r"(?P<number>\d{8})-(?P<digest>[0-9a-f]{64})\.safetensors")
KEPT = 2


class StoredStates:
    """The states of one fit on the store.

    Args:
        url: of the lake; '' of one in a folder, which has none but those in it.
        key: of the request.
    """

    def __init__(self, url: str, key: str) -> None:
        self._url, self._place = url, f"{FOLDER}/{key}"

    @cached_property
    def _objects(self) -> Objects:
        return Objects(self._url)

    def _names(self) -> Mapping[str, int]:
        """Name -> bytes."""
        found = self._objects.sizes(self._place).items()
        return {name: size for name, size in found if NAME.fullmatch(name)}

    def keep(self, path: Path) -> None:
        """Puts a state there, and takes away those before it but one."""
        if self._url:
            with suppress(StoreFails, FileNotFoundError):  # another process that makes the same has gone further
                self._objects.replace(path, f"{self._place}/{path.name}")
                before = sorted(name for name in self._names() if name < path.name)
                at_once(self._objects.remove, [f"{self._place}/{name}" for name in before[: 1 - KEPT]])

    def bring(self, folder: Path, beside: Path, after: int) -> None:
        """Has the newest whole state in a folder, if its number is above one.

        Args:
            beside: where it is until it is known to be whole; nothing stays there.
        """
        if not self._url:
            return
        with suppress(StoreFails):
            for name, n_bytes in sorted(self._names().items(), reverse=True):
                if int(name[:8]) <= after:
                    return
                try:
                    if self._objects.download(f"{self._place}/{name}", beside, n_bytes, name[9:73]):
                        folder.mkdir(parents=True, exist_ok=True)
                        os.replace(beside, folder / name)
                        return
                finally:
                    beside.unlink(missing_ok=True)

    def clear(self) -> None:
        """Takes all of them away."""
        if self._url:
            with suppress(StoreFails):
                at_once(self._objects.remove, [f"{self._place}/{name}" for name in self._names()])


def touched(objects: Objects) -> dict[str, datetime]:
    """The keys of fits that have states there -> when the newest of each was put there."""
    times: dict[str, datetime] = {}
    for path, time in objects.times(FOLDER).items():
        key = path.partition("/")[0]
        times[key] = max(time, times.get(key, time))
    return times


def forget_done(objects: Objects, done: Container[str]) -> None:
    """Takes the states away of fits whose artifacts are there, as a job that is killed right after its commit leaves
    them, or that nobody wants.

    Args:
        done: keys.
    """
    paths = [path for path in objects.sizes(FOLDER) if path.partition("/")[0] in done]
    at_once(objects.remove, [f"{FOLDER}/{path}" for path in paths])
