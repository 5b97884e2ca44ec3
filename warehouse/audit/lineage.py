"""What an artifact was made from, up to raw files, and what was made from it.

What was made from rows that lie in a merged artifact now was made from a piece of it (`warehouse.merged`), and from no
other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

from warehouse.artifact import Artifact
from warehouse.audit.tombstones import successors
from warehouse.manifest_index import uncollected
from warehouse.merged import entries, holding, pieces, with_pieces
from warehouse.store import Warehouse


@dataclass(frozen=True)
class Node:
    """An artifact in a lineage tree. `role` is what it was to the node above (or, downwards, what that was to it);
    `repeated` marks one whose own branches stand elsewhere in the tree already, and may be the same node wherever it
    is met again; `n_more` is how many of the same role and step would follow it here, and are left out."""

    artifact: Artifact
    role: str = ""
    branches: list[Node] = field(default_factory=list)
    repeated: bool = False
    n_more: int = 0

    def walk(self) -> Iterator[Node]:
        """This node and all below it, each before its branches."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += reversed(node.branches)


@dataclass(frozen=True)
class Graph:
    """Some artifacts, oldest first, and what each of them was made from: (key, role, key of that)."""

    artifacts: Sequence[Artifact]
    edges: Sequence[tuple[str, str, str]]

    def as_json(self) -> dict[str, Any]:
        """Flat, because lines may be longer than JSON may be deep."""
        nodes = [
            {"key": a.key, "kind": a.request.kind, "step": a.request.step, "version": a.request.version,
             "digest": a.digest, "created_at": a.created_at}
            for a in self.artifacts
        ]  # fmt: skip
        return {"nodes": nodes, "edges": [dict(zip(("key", "role", "from"), one, strict=True)) for one in self.edges]}


@uncollected()
def graph_among(artifacts: Sequence[Artifact], keys: Collection[str]) -> Graph:
    """The artifacts with these keys and how they were made from each other; where pieces are among them, not the merged
    one in which these lie, for nothing was made from it."""
    known = (a for a in with_pieces(artifacts) if a.key in keys)
    own = [a for a in known if not any(one["key"] in keys for one in entries(a))]
    return Graph(own, [(user.key, role, source.key) for user, role, source in _edges(own)])


@uncollected()
def up(warehouse: Warehouse, artifact: Artifact) -> Node:
    """Everything an artifact was made from, down to the records of raw files.

    Two requests may have given the same bytes; an input is a digest, so each of them is shown, unless one is of the
    very unit that asks: of its corpus or, where that is told again, of any.
    """

    with_digest = warehouse.manifests.as_of_now()

    def oldest_first(digest: str) -> list[Artifact]:
        return sorted(with_digest(digest), key=attrgetter("created_at", "key"))

    return _trees([artifact], _Digests(oldest_first).sources, None)[0]


def up_among(artifacts: Sequence[Artifact], artifact: Artifact) -> Node:
    """`up` among these artifacts only."""
    return forest(artifacts, [artifact])[0]


def down(warehouse: Warehouse, artifact: Artifact) -> Node:
    """Everything that was ever made from an artifact."""
    return down_among(warehouse.artifacts(), artifact)


def down_among(artifacts: Sequence[Artifact], artifact: Artifact) -> Node:
    """`down` among these artifacts only."""
    return forest(artifacts, [artifact], downwards=True)[0]


@uncollected()
def forest(
    artifacts: Sequence[Artifact], roots: Sequence[Artifact], downwards: bool = False, most: int | None = None
) -> list[Node]:
    """A tree per root, in which each artifact has its branches once.

    Args:
        most: of brothers with the same role and step, only so many are there, and the last says how many more.
    """
    known = with_pieces(artifacts)
    users = _users(known) if downwards else {}
    for root in roots if downwards else ():
        of_root = {(role, a.key): (role, a) for p in pieces(root) for role, a in users.get(p.key, [])}
        users |= {root.key: list(of_root.values())} if of_root else {}
    found = _Digests.among(() if downwards else known)
    return _trees(roots, (lambda a: users.get(a.key, [])) if downwards else found.sources, most)


@uncollected()
def closure_up(artifacts: Sequence[Artifact], keys: Collection[str], whole: bool = False) -> set[str]:
    """The keys of these artifacts and of all that they were made from, among `artifacts`, and of the merged ones in
    which any of that lies.

    Args:
        whole: also of all that these were made from, for what lies together stays together.
    """
    known = {a.key: a for a in with_pieces(artifacts)}
    digests = _Digests.among(known.values())
    found = set(keys)
    while True:
        found = _closure(found, lambda key: (one.key for _, one in digests.sources(known[key])) if key in known else ())
        more = set(holding(artifacts, found)) - found
        found |= more
        if not (more and whole):
            return found


@uncollected()
def closure_down(artifacts: Sequence[Artifact], keys: Collection[str]) -> set[str]:
    """The keys of these artifacts and of all that was ever made from them, among `artifacts`."""
    known = with_pieces(artifacts)
    users = _users(known)
    own = {p.key for a in known if a.key in keys for p in pieces(a)}
    return _closure({*keys, *own}, lambda key: (user.key for _, user in users.get(key, [])))


def edges(artifacts: Sequence[Artifact]) -> Iterator[tuple[Artifact, str, Artifact]]:
    """(artifact, role, what it was made from in that role) of these artifacts and their pieces, among themselves."""
    yield from _edges(with_pieces(artifacts))


def _edges(artifacts: Sequence[Artifact]) -> Iterator[tuple[Artifact, str, Artifact]]:
    found = _Digests.among(artifacts)
    for artifact in artifacts:
        for role, source in found.sources(artifact):
            yield artifact, role, source


class _Digests:
    """Which artifacts an input may mean. Pieces of one file are recorded once per unit, in the same bytes: a piece then
    stands on the record of its own unit, also where its corpus, which is told again, has another name. What was made
    later in the same bytes is not meant, unless nothing else is left: a repair made it again.

    Args:
        with_digest: asked once for each digest that is not in
        known: artifacts by digest.
    """

    def __init__(
        self, with_digest: Callable[[str], Sequence[Artifact]], known: dict[str, Sequence[Artifact]] | None = None
    ) -> None:
        self._with_digest = with_digest
        self._known = known or {}
        self._of_unit: dict[str, dict[tuple[str, ...], list[Artifact]]] = {}
        self._now: dict[Path, Mapping[str, str]] = {}  # by lake: what stands for what purges took

    @classmethod
    def among(cls, artifacts: Iterable[Artifact]) -> _Digests:
        """Those that an input may mean among these."""
        found: dict[str, list[Artifact]] = {}
        for a in artifacts:
            found.setdefault(a.digest, []).append(a)
        return cls(lambda digest: (), {**found})

    def _alike(self, digest: str) -> Sequence[Artifact]:
        found = self._known.get(digest)
        if found is None:
            found = self._known[digest] = self._with_digest(digest)
        return found

    def _of(self, digest: str, own: tuple[str, ...]) -> Sequence[Artifact]:
        if not own:
            return self._alike(digest)
        if digest not in self._of_unit:
            found = self._of_unit[digest] = {}
            for a in self._alike(digest):
                unit = _unit_of(a.request.params)
                for n in range(len(unit) + 1):
                    found.setdefault(unit[:n], []).append(a)
        return next(filter(None, (self._of_unit[digest].get(own[:n]) for n in range(len(own), -1, -1))), ())

    def _meant(self, digest: str, artifact: Artifact) -> Sequence[Artifact]:
        own, meant = _unit_of(artifact.request.params), self._alike(digest)
        if meant:
            meant = self._of(digest, own)
        else:
            lake = artifact.folder.parents[2]
            if lake not in self._now:
                self._now[lake] = successors(lake)
            meant = self._of(self._now[lake].get(digest, ""), own)
        return [source for source in meant if source.created_at <= artifact.created_at] or meant

    def sources(self, artifact: Artifact) -> list[tuple[str, Artifact]]:
        """The inputs of an artifact with their roles. An only one with a digest is meant whatever its unit and age are,
        so params, which take a second to read in a large lake, are looked at for others only."""
        found: list[tuple[str, Artifact]] = []
        for role, digests in sorted(artifact.request.inputs.items()):
            for digest in dict.fromkeys(digests):
                alike = self._alike(digest)
                if len(alike) == 1:
                    found.append((role, alike[0]))
                else:
                    found += [(role, source) for source in self._meant(digest, artifact)]
        return found


def _unit_of(params: Mapping[str, Any]) -> tuple[str, ...]:
    return (repr(params["unit"]), repr(params.get("corpus"))) if "unit" in params else ()


def _users(artifacts: Sequence[Artifact]) -> dict[str, list[tuple[str, Artifact]]]:
    found = _Digests.among(artifacts)
    users: defaultdict[str, list[tuple[str, Artifact]]] = defaultdict(list)
    for artifact in artifacts:
        for role, source in found.sources(artifact):
            users[source.key].append((role, artifact))
    return dict(users)


def _closure(keys: Collection[str], following: Callable[[str], Iterable[str]]) -> set[str]:
    seen = set(keys)
    waiting = list(seen)
    while waiting:
        new = set(following(waiting.pop())) - seen
        seen |= new
        waiting += new
    return seen


def _trees(
    roots: Sequence[Artifact], following: Callable[[Artifact], Iterable[tuple[str, Artifact]]], most: int | None
) -> list[Node]:
    """Depth first, so that a branch stands where it comes first; without recursion, because lines may be long."""
    seen: set[str] = set()
    again: dict[tuple[str, str, int], Node] = {}  # nine of ten nodes of a large tree
    trees = []
    for root in roots:
        trees.append(Node(root, repeated=root.key in seen))
        growing = [] if root.key in seen else [(trees[-1], _fewer(following(root), most))]
        seen.add(root.key)
        while growing:
            node, rest = growing[-1]
            for role, other, n_more in rest:
                key = other.key
                if key in seen:
                    place = key, role, n_more
                    repeated = again.get(place)
                    if repeated is None:
                        repeated = again[place] = Node(other, role, repeated=True, n_more=n_more)
                    node.branches.append(repeated)
                    continue
                seen.add(key)
                branch = Node(other, role, n_more=n_more)
                node.branches.append(branch)
                growing.append((branch, _fewer(following(other), most)))
                break
            else:
                growing.pop()
    return trees


def _fewer(edges: Iterable[tuple[str, Artifact]], most: int | None) -> Iterator[tuple[str, Artifact, int]]:
    if most is None:
        for role, other in edges:
            yield role, other, 0
        return
    groups: dict[tuple[str, str], list[Artifact]] = {}
    for role, other in edges:
        groups.setdefault((role, other.request.step), []).append(other)
    for (role, _), own in groups.items():
        for n, other in enumerate(own[:most], 1):
            yield role, other, len(own) - most if n == most else 0
