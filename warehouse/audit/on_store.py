"""What is on a store, laid out on the disk so far as a look at it needs: manifests and names, without the files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from warehouse.artifact import MANIFEST, Artifact
from warehouse.in_progress import unfinished
from warehouse.objects import at_once
from warehouse.remote import Store


class Shadow:
    """A folder with the manifests, the names and the marker of a lake as they are on its store, whatever its copies
    hold. What a killed commit left without a manifest does not exist and is passed over: the next writer of the same
    artifact takes it up.

    Args:
        root: an empty folder.
    """

    def __init__(self, store: Store, root: Path) -> None:
        self._store, self.root = store, root
        self._sizes: dict[str, dict[str, int]] = {}
        store.settle()
        marker = store.objects.get("lake.json")
        self._write("lake.json", marker or b"")
        self._bring([f"refs/{name}" for name in store.objects.sizes("refs")])  # before what they point at
        self.look()

    def look(self) -> None:
        """Lists the artifacts, and brings the manifests that it has not."""
        for path, n_bytes in self._store.objects.sizes("artifacts").items():
            folder, name = "/".join(path.split("/")[:2]), "/".join(path.split("/")[2:])
            if name:
                self._sizes.setdefault(folder, {})[name] = n_bytes
            else:
                self._write(f"artifacts/{path}", b"")
        there = [f"artifacts/{folder}/{MANIFEST}" for folder, names in self._sizes.items() if MANIFEST in names]
        self._bring([name for name in there if not (self.root / name).exists()])

    def listing(self, artifact: Artifact) -> tuple[Mapping[str, int], Mapping[str, str]]:
        """The files of an artifact with their sizes; what is none, of which a store has nothing."""
        return self._sizes.get(f"{artifact.folder.parent.name}/{artifact.folder.name}", {}), {}

    def is_same(self, artifact: Artifact, name: str) -> bool:
        """Whether a file has the bytes that its manifest says."""
        entry, beside = artifact.files[name], self.root / unfinished()
        place = (artifact.folder / name).relative_to(self.root).as_posix()
        try:
            return self._store.objects.download(place, beside, entry["n_bytes"], entry["sha256"])
        finally:
            beside.unlink(missing_ok=True)

    def _bring(self, names: list[str]) -> None:
        for name, content in zip(names, at_once(self._store.objects.get, names), strict=True):
            if content is not None:  # else it went meanwhile
                self._write(name, content)

    def _write(self, name: str, content: bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
