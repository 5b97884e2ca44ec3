"""Artifacts that hold the rows of many small ones (`warehouse.compaction`), and what they stand for.

What later requests cite must not depend on how rows lie on the disk. So a merged artifact says of each that it was
merged from, its piece, the request and the digest, and with each row whose it was. Whoever composes a request, or asks
what was made from what, meets the pieces as if they were still there: the same keys, digests and inputs, only in
another folder. Whoever reads rows or looks after the disk meets the merged one.

A small artifact whose rows lie in a merged one is read by nobody from then on, whether it is still there or not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.artifact import Artifact, Request

if TYPE_CHECKING:
    from warehouse.store import Warehouse

STEP, VERSION = "warehouse.compaction", 1

KINDS = ("features", "intervals")
"""What can be merged: rows that are found by who made them and what they are about."""

PIECES = "pieces.parquet"
"""The file that says whose each row was."""

COLUMNS = pa.schema([pa.field("input_id", pa.string(), False), pa.field("piece", pa.string(), False)])
"""Of it; `piece` is a key."""


def is_merged(artifact: Artifact) -> bool:
    """Whether it holds the rows of others."""
    return artifact.request.step == STEP


def is_piece(artifact: Artifact) -> bool:
    """Whether it is one of those whose rows a merged one holds."""
    return artifact.key != artifact.folder.name


def entries(artifact: Artifact) -> Sequence[Mapping[str, Any]]:
    """What a merged artifact says of its pieces, by key; of any other nothing."""
    told: Sequence[Mapping[str, Any]] = artifact.request.params["merged"] if is_merged(artifact) else ()
    return told


def pieces(artifact: Artifact) -> list[Artifact]:
    """What a merged artifact was merged from, by key, as it was but for the folder and the files, which are those of
    the merged one; of any other itself. How large each was is its own too."""
    return [_piece(artifact, one) for one in entries(artifact)] if is_merged(artifact) else [artifact]


def _piece(artifact: Artifact, one: Mapping[str, Any]) -> Artifact:
    plugin = artifact.request.params["plugin"]
    inputs = {role: tuple(digests) for role, digests in one["inputs"].items()}
    params = {"plugin": plugin, **one["params"]}
    request = Request(artifact.request.kind, plugin["step"], plugin["version"], params, inputs)
    vars(request)["key"] = one["key"]
    created_at, work_s, number = artifact.environment["merged"][one["key"]]
    recorded = {} if work_s is None else {"work_s": work_s}
    environment = {**artifact.environment["environments"][number], **recorded}
    files = {name: entry for name, entry in artifact.files.items() if name != PIECES}
    found = Artifact(request, files, one["digest"], environment, created_at, artifact.folder)
    vars(found)["n_bytes"] = one["n_bytes"]
    return found


def with_pieces(artifacts: Sequence[Artifact]) -> list[Artifact]:
    """Artifacts, and the pieces of those that are merged, oldest first. A small one that is still there is its own."""
    merged = [a for a in artifacts if is_merged(a)]
    if not merged:
        return list(artifacts)
    there = {a.key for a in artifacts}
    more = {p.key: p for a in merged for p in pieces(a) if p.key not in there}
    return sorted([*artifacts, *more.values()], key=lambda a: (a.created_at, a.key))


def holding(artifacts: Iterable[Artifact], keys: Collection[str]) -> Iterator[str]:
    """The keys of merged artifacts that have a piece with one of these keys."""
    for a in artifacts:
        if any(one["key"] in keys for one in entries(a)):
            yield a.key


def superseded(artifacts: Iterable[Artifact]) -> set[str]:
    """The keys of those whose rows all lie in a merged one, among these: small ones, and merged ones that were merged
    again. Some may have gone already."""
    held = {a.key: frozenset(one["key"] for one in entries(a)) for a in artifacts if is_merged(a)}
    having: dict[str, list[str]] = {}
    for own, keys in held.items():
        for key in keys:
            having.setdefault(key, []).append(own)
    again = {own for own, keys in held.items() if any(keys < held[other] for other in having[min(keys)])}
    return having.keys() | again


def superseding(artifacts: Sequence[Artifact]) -> dict[str, list[Artifact]]:
    """Key of each of those that are superseded among these -> the merged ones that are read in its place."""
    gone = superseded(artifacts)
    having: dict[str, list[Artifact]] = {}
    for a in artifacts if gone else ():
        for one in entries(a) if a.key not in gone else ():
            having.setdefault(one["key"], []).append(a)
    own = {a.key: {one["key"] for one in entries(a)} or {a.key} for a in artifacts if a.key in gone}
    held = {a.key: {one["key"] for one in entries(a)} for found in having.values() for a in found}
    return {key: [a for a in having[min(keys)] if keys <= held[a.key]] for key, keys in own.items()}


def held_before(artifacts: Iterable[Artifact]) -> Iterator[tuple[Artifact, list[str]]]:
    """Those merged ones of some artifacts of which one before holds some pieces too, as where two merges overlapped,
    and the keys of these."""
    seen: set[str] = set()
    for a in artifacts:
        own = [one["key"] for one in entries(a)]
        if again := [key for key in own if key in seen]:
            yield a, again
        seen.update(own)


def live(artifacts: Sequence[Artifact]) -> list[Artifact]:
    """Those of some artifacts, among which are all of their kinds, that are read."""
    gone = superseded(artifacts)
    return [a for a in artifacts if a.key not in gone] if gone else list(artifacts)


def copies_of(warehouse: Warehouse) -> list[Artifact]:
    """The artifacts of a lake that are read by nobody, because their rows lie in a merged one."""
    artifacts = [a for kind in KINDS for a in warehouse.artifacts(kind)]
    gone = superseded(artifacts)
    return [a for a in artifacts if a.key in gone]


def pieces_lost(warehouse: Warehouse, keys: Collection[str]) -> list[tuple[str, str]]:
    """Key and digest of each piece of the merged artifacts with these keys, which go."""
    gone = (a for kind in KINDS for a in warehouse.artifacts(kind) if a.key in keys)
    return [(one["key"], one["digest"]) for a in gone for one in entries(a)]


def pieces_called(warehouse: Warehouse, beginning: str) -> list[Artifact]:
    """The pieces in a lake whose key or digest begins so, by key."""
    found: dict[str, Artifact] = {}
    for a in (a for kind in KINDS for a in warehouse.artifacts(kind)):
        wanted = (one for one in entries(a) if any(one[name].startswith(beginning) for name in ("key", "digest")))
        found |= {one["key"]: _piece(a, one) for one in wanted}
    return [found[key] for key in sorted(found)]


class Pieces:
    """The pieces of artifacts of one kind by digest; each is made when it is asked for.

    Args:
        artifacts: oldest first; of a piece that lies in several the newest counts.
    """

    def __init__(self, artifacts: Sequence[Artifact]) -> None:
        self._places: dict[str, dict[str, tuple[Artifact, Mapping[str, Any]]]] = {}
        if artifacts and artifacts[0].request.kind in KINDS:
            for a in artifacts:
                for one in entries(a):
                    self._places.setdefault(one["digest"], {})[one["key"]] = a, one

    def with_digest(self, digest: str) -> list[Artifact]:
        """Those that had these bytes, by key."""
        return [_piece(*place) for _, place in sorted(self._places.get(digest, {}).items(), key=lambda one: one[0])]


def own_ids(artifact: Artifact, ids: Iterable[str]) -> set[str]:
    """Those of some input ids, from a file of an artifact, that are its own: all, but for a piece."""
    return held_ids(artifact).get(artifact.key, set()).intersection(ids) if is_piece(artifact) else set(ids)


def held_ids(artifact: Artifact) -> Mapping[str, set[str]]:
    """Key of a piece -> the input ids that it answered, of the merged artifact that this is, or is a piece of."""
    return _held_ids(artifact.path(PIECES))


@lru_cache(maxsize=8)
def _held_ids(path: Path) -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = {}
    table = pq.read_table(path)
    for one, key in zip(table["input_id"].to_pylist(), table["piece"].to_pylist(), strict=True):
        found.setdefault(key, set()).add(one)
    return found
