"""The files of a lake on a store as DuckDB reads them: those of its manifests, and nothing else that the store has.

A file's address is emolake://<kind>/<key>/<name> (`Artifact.address`). What DuckDB is given is looked up in the
manifests of the copy, so no address, however it is written, leads anywhere else; nothing is written.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from fsspec import AbstractFileSystem

from warehouse.artifact import MANIFEST, Artifact, read_artifact
from warehouse.copies import SCHEME, remote_of
from warehouse.errors import EmolakeError


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

    def open(self, path: str, mode: str = "rb", **options: Any) -> BinaryIO:
        """The file at an address, from the copy or in ranges from the store.

        Raises:
            FileNotFoundError: no manifest has it. PermissionError: it would be written.
        """
        if mode != "rb":
            raise PermissionError(f"'{path}' is read only")
        artifact, name = self._find(path)
        remote = remote_of(artifact.folder / name)
        if artifact.is_here(name) or remote is None:
            return open(artifact.folder / name, "rb")
        return remote.open(artifact.folder / name)

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
