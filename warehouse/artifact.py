"""Request and Artifact, and the commit that makes one of the other: manifest last, then an atomic rename."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeVar

from warehouse.copies import REMOTES, SCHEME, fetched, remote_of
from warehouse.errors import EmptyArtifact, NotCanonical, UnreadableManifest
from warehouse.hashing import canonical_json, digest, file_digest, plain, recoded, short_digest
from warehouse.secrets import refuse_secrets

MANIFEST = "manifest.json"
SEAL = "seal"
"""The field of a manifest with the digest of the rest of it; manifests of earlier versions lack it."""
_MOST_BYTES = 1 << 60
_LONGEST = 255  # bytes of a name, on common disks
_LITTLE = 1 << 20  # bytes that come sooner by one request than a part of them by several

_PLUGIN_KEYS: dict[str, str] = {}
"""Plug-ins as text -> their keys, for many requests have the same."""

_Remembered = TypeVar("_Remembered", "Request", "Artifact")


class Recall(Protocol):
    """What remembers the fields of many artifacts, by row."""

    def field(self, row: int, name: str) -> Any:
        """A field of an artifact or of its request."""

    def told(self, row: int) -> str:
        """A request in canonical JSON."""


def recalled(kind: type[_Remembered], known: dict[str, Any], recall: Recall, row: int) -> _Remembered:
    """A request or an artifact of which an index remembers the rest, which is asked for when somebody asks for it.

    Args:
        known: fields that are there already, and the `key`.
    """
    one = object.__new__(kind)
    object.__setattr__(one, "__dict__", known | {"_recall": recall, "_row": row})
    return one


def _recall(one: Any, name: str) -> Any:
    if name not in type(one).__dataclass_fields__ or "_recall" not in one.__dict__:
        raise AttributeError(f"'{type(one).__name__}' has no '{name}'")
    value = one.__dict__[name] = one.__dict__["_recall"].field(one.__dict__["_row"], name)
    return value


def _whole(one: Any) -> dict[str, Any]:
    """What travels to another process, which has another index."""
    return {each.name: getattr(one, each.name) for each in fields(one)}


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

    __getstate__ = _whole
    if not TYPE_CHECKING:
        __getattr__ = _recall

    @cached_property
    def key(self) -> str:
        return short_digest(self.as_json())

    @cached_property
    def plugin_key(self) -> str:
        """The namespace of the rows that it asks for; '' of what asks for no plug-in's."""
        if "plugin" not in self.params:
            return ""
        plugin = self.params["plugin"]
        told = repr(plugin)
        if told not in _PLUGIN_KEYS:
            _PLUGIN_KEYS[told] = short_digest(plugin)
        return _PLUGIN_KEYS[told]

    def as_json(self) -> dict[str, Any]:
        """As JSON gives it back, so that a request is the same before and after it went through a file."""
        fields = {"kind": self.kind, "step": self.step, "version": self.version}
        return fields | {"params": plain(self.params), "inputs": plain(self.inputs)}

    def told(self) -> str:
        """`as_json` in canonical JSON, of what was read from a manifest; of what is remembered nothing is parsed."""
        if "_recall" in self.__dict__:
            told: str = self.__dict__["_recall"].told(self.__dict__["_row"])
            return told
        return recoded({each.name: getattr(self, each.name) for each in fields(self)})

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

    __getstate__ = _whole
    if not TYPE_CHECKING:
        __getattr__ = _recall

    @cached_property
    def key(self) -> str:
        return self.request.key

    def path(self, name: str) -> Path:
        """One of its files; in a copy of a lake on a store it is fetched, if it is not here yet."""
        path = self.folder / name
        return fetched(path) if REMOTES else path

    def place(self, name: str) -> Path:
        """Where one of its files is, or will be when a work that is given this path is done."""
        return self.folder / name

    def whole(self) -> Path:
        """Its folder, with all its files."""
        return fetched(self.folder)

    def damaged(self) -> list[str]:
        """The names of its files that are not there or have other bytes than when it was made; each is hashed."""
        paths = {name: self.path(name) for name in self.files}
        return [n for n, p in paths.items() if not p.is_file() or file_digest(p) != self.files[n]["sha256"]]

    def part(self, name: str) -> Path | BinaryIO:
        """One of its files, of which little is read: a large one that is only on a store is not fetched for that."""
        is_little = self.files[name]["n_bytes"] < _LITTLE
        return self.path(name) if is_little or self.is_here(name) else self.stream(name)

    def stream(self, name: str) -> BinaryIO:
        """One of its files, opened. One that is only on a store is read there, and hashed by nobody."""
        path = self.folder / name
        remote = None if self.is_here(name) else remote_of(path)
        return remote.open(path) if remote else open(path, "rb")

    def is_here(self, name: str) -> bool:
        """Whether one of its files is on this host's disk; in a lake in a folder all are."""
        return not REMOTES or (self.folder / name).exists() or remote_of(self.folder / name) is None

    def address(self, name: str) -> str:
        """One of its files as `Warehouse.connect` has DuckDB name it."""
        here = str(self.folder / name)
        return here if self.is_here(name) else f"{SCHEME}://{self.folder.parent.name}/{self.folder.name}/{name}"

    @cached_property
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


def seal_of(manifest: Mapping[str, Any]) -> str:
    """What the seal of a manifest must be. Its request and files have digests of their own; the seal also covers when
    and in what environment it was made, so that no bit of it can be lost unnoticed."""
    return digest({name: value for name, value in manifest.items() if name != SEAL})


def read_artifact(folder: Path) -> Artifact:
    """Reads a folder's manifest.

    Raises:
        UnreadableManifest: not JSON, fields missing or of another type, or a folder not named by the request's key.
    """
    path = folder / MANIFEST
    try:
        value = json.loads(path.read_bytes())
        artifact = artifact_of(value, Request.from_json(value["request"]), folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, NotCanonical) as error:
        raise UnreadableManifest(path, f"{type(error).__name__}: {error}") from error
    if artifact.key != folder.name:
        raise UnreadableManifest(path, f"its request has key {artifact.key}, but the folder is {folder.name}")
    if folder.is_symlink() or path.is_symlink():
        raise UnreadableManifest(path, "it is reached through a link, which could lead out of the lake")
    return artifact


def artifact_of(manifest: Mapping[str, Any], request: Request, folder: Path) -> Artifact:
    """What a manifest says, its request being read already; a request that has no key yet gets it.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, NotCanonical: it says what no manifest can say.
    """
    for name, kind in (("kind", str), ("step", str), ("version", int)):
        _typed(manifest["request"], name, kind)
    if not 0 <= request.version < _MOST_BYTES:
        raise ValueError(f"'version' is {request.version}")
    artifact_key = request.key
    files, environment = _typed(manifest, "files", dict), _typed(manifest, "environment", dict)
    made = _typed(manifest, "digest", str), environment, _typed(manifest, "created_at", str)
    datetime.fromisoformat(made[2])
    artifact = Artifact(request, files, *made, folder)
    vars(artifact)["key"] = artifact_key
    for name, entry in files.items():
        _refuse_way_out(name)
        _typed(entry, "sha256", str)
        if not 0 <= _typed(entry, "n_bytes", int) < _MOST_BYTES:
            raise ValueError(f"'n_bytes' is {entry['n_bytes']}")
    return artifact


@lru_cache(maxsize=1024)
def _refuse_way_out(name: str) -> None:
    """The name of a file is a path below its folder, in any script; else whoever wrote the manifest
    could have files read, or written again, that are not the lake's."""
    parts = name.split("/")
    is_way_out = "\\" in name or name == MANIFEST or any(part in ("", ".", "..") for part in parts)
    if is_way_out or not name.isprintable() or max(len(part.encode()) for part in parts) > _LONGEST or len(parts) > 16:
        raise ValueError(f"{name[:60]!r} cannot be the name of a file below it")


def _typed(value: Mapping[str, Any], name: str, kind: type) -> Any:
    if type(value[name]) is not kind:
        raise TypeError(f"'{name}' is {value[name]!r}, no {kind.__name__}")
    if kind is str:
        value[name].encode()  # half a surrogate pair has no bytes
    return value[name]


def commit(
    request: Request, scratch: Path, folder: Path, environment: Mapping[str, Any], created_at: str,
    publish: Callable[[Path, Path], None] | None = None,
) -> Artifact:  # fmt: skip
    """Turns a scratch folder into the artifact of a request.

    The manifest is written last and flushed, then the folder is renamed into place. When another process was
    faster, its artifact is returned and the scratch folder goes.

    Args:
        publish: puts the sealed scratch folder on a store, and leaves in it what stands there.

    Raises:
        EmptyArtifact: the scratch folder holds no file.
        SecretToldOn: the manifest would hold a password or a key.
    """
    if (scratch / MANIFEST).exists():
        raise ValueError(f"'{request.step}' wrote '{MANIFEST}', which is the manifest's own name")
    files = {}
    for path in sorted(p for p in scratch.rglob("*") if p.is_symlink() or p.is_file()):
        if path.is_symlink():
            raise ValueError(f"'{request.step}' wrote the link '{path.name}': what it leads to is not the lake's")
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
    manifest[SEAL] = seal_of(manifest)
    path = scratch / MANIFEST
    content = canonical_json(manifest)
    refuse_secrets(content.decode(), f"the manifest of '{request.step}'")
    path.write_bytes(content)
    _flush(path)
    if publish is not None:
        publish(scratch, folder)
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
