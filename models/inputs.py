"""The folders behind the digests that a request cites."""

from __future__ import annotations

from pathlib import Path

from models.orders import SHARDS
from warehouse import Request, Warehouse
from warehouse.copies import fetched
from warehouse.errors import ArtifactNotFound


def input_folders(warehouse: Warehouse, request: Request) -> dict[str, tuple[Path, ...]]:
    """role -> folders, in the order of their digests. The manifests are listed once. In a copy of a lake on a store all
    files are there but those of shards.

    Raises:
        ArtifactNotFound: the lake holds no artifact with such a digest.
    """
    folders: dict[str, Path] = {}
    for artifact in warehouse.artifacts():
        folders.setdefault(artifact.digest, artifact.folder)
    for role, digests in request.inputs.items():
        for digest in digests:
            if digest not in folders:
                raise ArtifactNotFound(digest)
            if not role.startswith(SHARDS):  # shards are fetched while others are read (`models.stream`)
                fetched(folders[digest])
    return {role: tuple(folders[digest] for digest in sorted(digests)) for role, digests in request.inputs.items()}
