"""Request and Artifact, and the commit that makes one of the other: manifest last, then an atomic rename."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from warehouse.errors import EmptyArtifact, NotCanonical, UnreadableManifest
from warehouse.hashing import canonical_json, digest, file_digest, plain, short_digest

MANIFEST = "manifest.json"


@dataclass(frozen=True, eq=False)
class Request:
    """One order. Its key is the digest of exactly these fields, so it is known before the work; requests are equal
    when their keys are.

    Where and how fast (device, workers, batch size, paths) is never on the list: it cannot leak into a key.

    Args:
        kind: what the answer is: 'utterances', 'features', 'checkpoint', …
        step: the file that makes it: 'corpora.iemocap', 'extractors.opensmile', 'students.mced', …
        version: of that step; raised by hand when the same params give other numbers.
        params: every choice that decides the numbers; JSON values only.
        inputs: role -> digests of the artifacts that are read.
    """

    kind: str
    step: str
    version: int
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return short_digest(self.as_json())

    def as_json(self) -> dict[str, Any]:
        """As JSON gives it back, so that a request is the same before and after it went through a file."""
        fields = {"kind": self.kind, "step": self.step, "version": self.version}
        return fields | {"params": plain(self.params), "inputs": plain(self.inputs)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Request:
        inputs = {role: tuple(digests) for role, digests in value["inputs"].items()}
        return cls(value["kind"], value["step"], value["version"], value["params"], inputs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Request) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@dataclass(frozen=True)
class Artifact:
    """The immutable answer to a Request: a folder of files and a manifest.

    `digest` is that of the files' names and bytes, known only after the work; it is what later requests cite,
    so an order that is repeated with other inputs but gives the same bytes changes nothing downstream.
    """

    request: Request
    files: Mapping[str, Mapping[str, Any]]  # name -> {"sha256": …, "n_bytes": …}
    digest: str
    environment: Mapping[str, Any]
    created_at: str  # ISO 8601, UTC
    folder: Path

    @property
    def key(self) -> str:
        return self.request.key

    def path(self, name: str) -> Path:
        return self.folder / name

    @property
    def n_bytes(self) -> int:
        return sum(entry["n_bytes"] for entry in self.files.values())


@dataclass(frozen=True)
class Work:
    """A request together with the call that answers it: `function(folder, **arguments)`.

    The arguments say where things are now and how fast to go; they are not part of identity. A work without a
    function is a job: `models.job` answers its request, on this host or another. Functions are module-level, so
    that a work can travel to another process.
    """

    request: Request
    function: Callable[..., None] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    n_rows: int = 1  # for progress and plans


def content_digest(files: Mapping[str, Mapping[str, Any]]) -> str:
    """The digest of an artifact: of its file names with their digests and sizes."""
    return digest({name: [entry["sha256"], entry["n_bytes"]] for name, entry in files.items()})


def read_artifact(folder: Path) -> Artifact:
    """Reads a folder's manifest.

    Raises:
        UnreadableManifest: not JSON, fields missing or of another type, or a folder not named by the request's key.
    """
    path = folder / MANIFEST
    try:
        value = json.loads(path.read_bytes())
        request = Request.from_json(value["request"])
        key = request.key
        files, environment = _typed(value, "files", dict), _typed(value, "environment", dict)
        made = _typed(value, "digest", str), environment, _typed(value, "created_at", str)
        artifact = Artifact(request, files, *made, folder)
        for entry in files.values():
            _typed(entry, "sha256", str)
            _typed(entry, "n_bytes", int)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, NotCanonical) as error:
        raise UnreadableManifest(path, f"{type(error).__name__}: {error}") from error
    if key != folder.name:
        raise UnreadableManifest(path, f"its request has key {key}, but the folder is {folder.name}")
    return artifact


def _typed(value: Mapping[str, Any], name: str, kind: type) -> Any:
    if type(value[name]) is not kind:
        raise TypeError(f"'{name}' is {value[name]!r}, no {kind.__name__}")
    return value[name]


def commit(request: Request, scratch: Path, folder: Path, environment: Mapping[str, Any], created_at: str) -> Artifact:
    """Turns a scratch folder into the artifact of a request.

    The manifest is written last and flushed, then the folder is renamed into place. When another process was
    faster, its artifact is returned and the scratch folder goes.

    Raises:
        EmptyArtifact: the scratch folder holds no file.
    """
    if (scratch / MANIFEST).exists():
        raise ValueError(f"'{request.step}' wrote '{MANIFEST}', which is the manifest's own name")
    files = {}
    for path in sorted(p for p in scratch.rglob("*") if p.is_file()):
        _flush(path)
        name = path.relative_to(scratch).as_posix()
        files[name] = {"sha256": file_digest(path), "n_bytes": path.stat().st_size}
    if not files:
        raise EmptyArtifact(request.step, request.key)
    manifest = {
        "request": request.as_json(),
        "files": files,
        "digest": content_digest(files),
        "environment": dict(environment),
        "created_at": created_at,
    }
    path = scratch / MANIFEST
    path.write_bytes(canonical_json(manifest))
    _flush(path)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists() and not (folder / MANIFEST).exists():
        shutil.rmtree(folder)  # remains without a manifest do not exist
    try:
        os.rename(scratch, folder)
    except OSError:
        if not (folder / MANIFEST).exists():
            raise
        shutil.rmtree(scratch)  # a lost race: the winner stands
    _flush(folder.parent)
    return read_artifact(folder)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
