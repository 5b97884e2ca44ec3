"""The files of a lake on a store as DuckDB reads them: those of its manifests, and nothing else that the store has.

A file's address is emolake://<kind>/<key>/<name> (`Artifact.address`). What DuckDB is given is looked up in the
manifests of the copy, so no address, however it is written, leads anywhere else; nothing is written.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

from fsspec import AbstractFileSystem

from warehouse.artifact import MANIFEST, Artifact, read_artifact
from warehouse.copies import SCHEME, Remote, remote_of
from warehouse.errors import EmolakeError
from warehouse.ranges import Shared


class LakeFiles(AbstractFileSystem):
    """An fsspec filesystem over the artifacts of a copy.

    Args:
        root: of the copy.
    """

    protocol = SCHEME
    cachable = False

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._artifacts = root / "artifacts"
        self._known: dict[Path, Artifact] = {}
        self._failure: EmolakeError | None = None

    def open(self, path: str, mode: str = "rb", **options: Any) -> BinaryIO:
        """The file at an address, from the copy or in ranges from the store; DuckDB's threads read it at once.

        Raises:
            FileNotFoundError: no manifest has it. PermissionError: it would be written.
        """
        if mode != "rb":
            raise PermissionError(f"'{path}' is read only")
        artifact, name = self._find(path)
        place, n_bytes = artifact.folder / name, artifact.files[name]["n_bytes"]
        remote = remote_of(place)
        if artifact.is_here(name) or remote is None:
            here = os.open(place, os.O_RDONLY)
            return cast(BinaryIO, Shared(partial(_part, here), n_bytes, str(place), partial(os.close, here)))
        return cast(BinaryIO, Shared(self._reading(remote, place), n_bytes, str(place)))

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        """The files of the artifact whose folder this is, or is in."""
        place = "/".join(self._strip_protocol(path).split("/")[:2])
        artifact = self._artifact(place)
        told = [
            {"name": f"{place}/{name}", "type": "file", "size": entry["n_bytes"]}
            for name, entry in artifact.files.items()
        ]
        return told if detail else [one["name"] for one in told]

    def exists(self, path: str, **options: Any) -> bool:
        try:
            self._find(path)
        except FileNotFoundError:
            return False
        return True

    def glob(self, path: str, **options: Any) -> list[str]:
        """No pattern: the address itself, with what `glob.escape` put before it taken away."""
        plain = path.replace("[*]", "*").replace("[?]", "?").replace("[[]", "[")
        return [plain] if self.exists(plain) else []

    def modified(self, path: str) -> datetime:
        """No artifact ever changes."""
        return datetime(1970, 1, 1, tzinfo=UTC)

    def _reading(self, remote: Remote, place: Path) -> Callable[[int, int], bytes]:
        """Reads a file on the store; each thread has what it reads ahead to itself."""
        own = threading.local()

        def read(start: int, end: int) -> bytes:
            with self._remembering():
                if not hasattr(own, "file"):
                    own.file = remote.open(place)
                own.file.seek(start)
                return cast(bytes, own.file.read(end - start))

        return read

    def failed(self) -> EmolakeError | None:
        """What last went wrong with the store and was not asked for yet; DuckDB would say it with the lines of the
        program that it came from."""
        failure, self._failure = self._failure, None
        return failure

    @contextmanager
    def _remembering(self) -> Iterator[None]:
        try:
            yield
        except EmolakeError as error:
            self._failure = copy(error)  # without the frames, which hold the connection, which holds this
            raise

    def _find(self, path: str) -> tuple[Artifact, str]:
        kind, key, name = [*path.removeprefix(f"{SCHEME}://").split("/", 2), "", ""][:3]
        artifact = self._artifact(f"{kind}/{key}")
        if name not in artifact.files:
            raise FileNotFoundError(path)
        return artifact, name

    def _artifact(self, place: str) -> Artifact:
        kind, _, key = place.partition("/")
        folder = self._artifacts / kind / key
        if not {kind, key}.isdisjoint({"", ".", ".."}) or not (folder / MANIFEST).is_file():
            raise FileNotFoundError(place)
        if folder not in self._known:
            try:
                self._known[folder] = read_artifact(folder)
            except EmolakeError as error:
                raise FileNotFoundError(place) from error
        return self._known[folder]


def _part(handle: int, start: int, end: int) -> bytes:
    parts = []
    while start < end and (part := os.pread(handle, end - start, start)):  # which gives at most 2 GiB
        parts.append(part)
        start += len(part)
    return b"".join(parts)
