"""The file of rows in which a kind's manifests are remembered, and its seal.

A file that is cut, damaged or of another version remembers nothing; see `warehouse.manifest_index`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.arrays import counts_of, texts_of
from warehouse.artifact import Artifact, Request, recalled
from warehouse.hashing import recoded

_MARK = b"emolake manifests 2 "
"""Its number is raised when `STAMPED` or what its columns mean is changed."""

_parsed = json.JSONDecoder().raw_decode  # `json.loads` without its look for blanks around it, which takes as long

_TEXT, _COUNT = pa.string(), pa.int64()
_JSON = ("params", "inputs", "files", "environment")
COLUMNS = pa.schema(
    [
        *((name, _TEXT) for name in ("kind", "key", "digest", "step")), ("version", _COUNT), ("created_at", _TEXT),
        ("n_bytes", _COUNT), *((name, _TEXT) for name in _JSON), ("plugin_key", _TEXT), ("attempt", _COUNT),
    ]
)  # fmt: skip
"""Of a table of manifests. `plugin_key` is null where no plug-in made it."""

STAMPED = pa.schema([*COLUMNS, ("mtime_ns", _COUNT), ("size", _COUNT)])

Stamp = tuple[int, int]
"""Time of change and size of a manifest."""


def write_sealed(path: Path, content: bytes, beside: Path) -> None:
    """Writes a line with the digest of the content, and the content, to `beside`, which becomes `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside.parent.mkdir(exist_ok=True)
    try:
        beside.write_bytes(_MARK + hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def unsealed(path: Path) -> bytes | None:
    """The content of a file that is as it was written."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    start = len(_MARK) + 65
    is_whole = content[:start] == _MARK + hashlib.sha256(memoryview(content)[start:]).hexdigest().encode() + b"\n"
    return content[start:] if is_whole else None


def unsealed_json(path: Path) -> dict[str, Any]:
    """What a sealed file of JSON has; nothing where it is absent, damaged or of another form."""
    content = unsealed(path)
    try:
        value = json.loads(content) if content else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


class Rows:
    """A file of rows, in memory; its columns are read when they are asked for."""

    def __init__(self, content: bytes, folder: Path) -> None:
        self.file = pq.ParquetFile(pa.BufferReader(content), read_dictionary=["environment"])
        self._folder = folder
        self.seal = hashlib.sha256(content).hexdigest()
        self._columns: dict[str, Any] = {}
        self._environments: dict[int, Any] = {}  # by their place among all
        self.row_of = {key: row for row, key in enumerate(self._column("key"))}
        self.artifacts = Remembered(self)

    @property
    def stamps(self) -> dict[str, Stamp]:
        """Of the manifests, when they were read."""
        columns = zip(self._column("mtime_ns"), self._column("size"), strict=True)
        return dict(zip(self.row_of, columns, strict=True))

    @property
    def digests(self) -> list[str]:
        """Of the artifacts, in the order of the rows."""
        found: list[str] = self._column("digest")
        return found

    def artifact(self, key: str) -> Artifact:
        """The artifact of a row."""
        row = self.row_of[key]
        known = {"key": key, "digest": self._column("digest")[row], "created_at": self._column("created_at")[row]}
        return recalled(Artifact, known, self, row)

    def field(self, row: int, name: str) -> Any:
        """Of an artifact or of its request."""
        if name == "folder":
            return self._folder / self._column("key")[row]
        if name == "request":
            known = {name: column[row] for name, column in self._of_requests.items()}
            return recalled(Request, known | {"plugin_key": known["plugin_key"] or ""}, self, row)
        if name == "environment":  # of which many small works have the same
            place = self._environment_of[row]
            if place not in self._environments:
                self._environments[place] = json.loads(self._column(name).dictionary[place].as_py())
            return self._environments[place]
        value, _ = _parsed(self._column(name)[row].as_py())
        return {role: tuple(digests) for role, digests in value.items()} if name == "inputs" else value

    def told(self, row: int) -> str:
        """A request in canonical JSON, as `row_of` has its long parts."""
        inputs, params = (self._column(name)[row].as_py() for name in ("inputs", "params"))
        kind, step, version = (self._of_requests[name][row] for name in ("kind", "step", "version"))
        return (
            f'{{"inputs":{inputs},"kind":{recoded(kind)},"params":{params},"step":{recoded(step)},"version":{version}}}'
        )

    @cached_property
    def _of_requests(self) -> dict[str, Any]:
        return {name: self._column(name) for name in ("kind", "step", "version", "key", "plugin_key")}

    @cached_property
    def _environment_of(self) -> list[int]:
        """Row -> place of its environment among all."""
        places: list[int] = self._column("environment").indices.to_pylist()
        return places

    def _column(self, name: str) -> Any:
        """As a list; long texts, of which few are asked for, as Arrow has them."""
        if name not in self._columns:
            column = self.file.read([name]).column(0)
            self._columns[name] = column.combine_chunks() if name in _JSON else column.to_pylist()
        return self._columns[name]


def row_of(artifact: Artifact, stamp: Stamp) -> dict[str, Any]:
    """A row of the file."""
    request, params = artifact.request, artifact.request.params
    attempt = params.get("attempt", 0)
    return {
        "kind": request.kind, "key": artifact.key, "digest": artifact.digest, "step": request.step,
        "version": request.version, "created_at": artifact.created_at, "n_bytes": artifact.n_bytes,
        "params": recoded(dict(params)), "inputs": recoded(dict(request.inputs)),
        "files": json.dumps(dict(artifact.files)), "environment": json.dumps(dict(artifact.environment)),
        "plugin_key": request.plugin_key or None,
        "attempt": attempt if isinstance(attempt, int) and 0 <= attempt < 1 << 60 else 0,
        "mtime_ns": stamp[0], "size": stamp[1],
    }  # fmt: skip


def table_of(rows: Sequence[Mapping[str, Any]], columns: pa.Schema) -> pa.Table:
    """Some columns of such rows."""
    own = {column.name: [row[column.name] for row in rows] for column in columns}
    arrays = [(texts_of if column.type == _TEXT else counts_of)(own[column.name]) for column in columns]
    return pa.Table.from_arrays(arrays, schema=columns)


class Remembered(Mapping[str, Artifact]):
    """The artifacts of a file of rows by key, oldest first; each is made when it is asked for."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self._made: dict[str, Artifact] = {}

    def __getitem__(self, key: str) -> Artifact:
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = self.rows.artifact(key)
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows.row_of)

    def __len__(self) -> int:
        return len(self.rows.row_of)

    def __contains__(self, key: object) -> bool:
        return key in self.rows.row_of
