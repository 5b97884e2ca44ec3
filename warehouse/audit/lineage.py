"""What an artifact was made from, up to raw files, and what was made from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from warehouse.artifact import Artifact
from warehouse.store import Warehouse


@dataclass(frozen=True)
class Node:
    """An artifact in a lineage tree. `role` is what it was to the node above (or, downwards, what that was to it);
    `repeated` marks one whose own branches stand elsewhere in the tree already."""

    artifact: Artifact
    role: str = ""
    branches: list[Node] = field(default_factory=list)
    repeated: bool = False

    def walk(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        for branch in self.branches:
            yield from branch.walk()

    def as_json(self) -> dict[str, Any]:
        a = self.artifact
        return {
            "role": self.role, "kind": a.request.kind, "step": a.request.step, "key": a.key, "digest": a.digest,
            "repeated": self.repeated, "branches": [branch.as_json() for branch in self.branches],
        }  # fmt: skip


def up(warehouse: Warehouse, artifact: Artifact) -> Node:
    """Everything an artifact was made from, down to the records of raw files.

    Two requests may have given the same bytes; an input is a digest, so each of them is shown, unless one is of the
    very unit that asks: of its corpus or, where that is told again, of any.
    """
    by_digest = _by_digest(warehouse.artifacts())
    return _tree(artifact, lambda a: _sources(a, by_digest))


def down(warehouse: Warehouse, artifact: Artifact) -> Node:
    """Everything that was ever made from an artifact."""
    return down_among(warehouse.artifacts(), artifact)


def down_among(artifacts: Sequence[Artifact], artifact: Artifact) -> Node:
    """`down` among these artifacts only."""
    by_digest = _by_digest(artifacts)
    users: dict[str, list[tuple[str, Artifact]]] = {}
    for known in artifacts:
        for role, source in _sources(known, by_digest):
            users.setdefault(source.key, []).append((role, known))
    return _tree(artifact, lambda a: users.get(a.key, []))


def _by_digest(artifacts: Sequence[Artifact]) -> dict[str, list[Artifact]]:
    found: dict[str, list[Artifact]] = {}
    for artifact in artifacts:
        found.setdefault(artifact.digest, []).append(artifact)
    return found


def _sources(artifact: Artifact, by_digest: Mapping[str, Sequence[Artifact]]) -> Iterator[tuple[str, Artifact]]:
    """The inputs of an artifact with their roles. Pieces of one file are recorded once per unit, in the same bytes: a
    piece then stands on the record of its own unit, also where its corpus, which is told again, has another name."""
    for role, digests in sorted(artifact.request.inputs.items()):
        for digest in dict.fromkeys(digests):
            found = by_digest.get(digest, [])
            yield from ((role, source) for source in _of_unit(found, artifact.request.params))


def _of_unit(found: Sequence[Artifact], asking: Mapping[str, Any]) -> Sequence[Artifact]:
    """Those of the same corpus and unit, or of the same unit, or all."""
    if "unit" not in asking:
        return found
    same = [source for source in found if source.request.params.get("unit") == asking["unit"]]
    return [one for one in same if one.request.params.get("corpus") == asking.get("corpus")] or same or found


def _tree(root: Artifact, edges: Any) -> Node:
    seen: set[str] = set()

    def grow(a: Artifact, role: str) -> Node:
        if a.key in seen:
            return Node(a, role, repeated=True)
        seen.add(a.key)
        return Node(a, role, [grow(other, other_role) for other_role, other in edges(a)])

    return grow(root, "")
