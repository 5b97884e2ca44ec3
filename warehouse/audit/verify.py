"""Whether a lake is sound: every byte, every manifest, every name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from warehouse.artifact import MANIFEST, Artifact, content_digest, read_artifact
from warehouse.audit.lineage import down_among
from warehouse.errors import EmolakeError
from warehouse.hashing import file_digest
from warehouse.refs import ref_faults
from warehouse.store import Warehouse


@dataclass(frozen=True)
class Fault:
    """Something wrong in a lake: the artifact's key, what, and the keys of everything made from it. The key of a name
    is its own, such as 'refs/corpora/iemocap', and nothing is made from it."""

    key: str
    problem: str
    taints: Sequence[str]


def verify(warehouse: Warehouse, progress: Callable[[int, int], None] = lambda done, total: None) -> list[Fault]:
    """Hashes every file of every artifact again and compares: a flipped bit, a missing, extra or edited file, an edited
    manifest, an input that is nowhere. Then reads every name: one that cannot be read, or that points at what is not
    in the lake. An empty list means the lake is sound, wherever its corpora are."""
    faults: list[tuple[str, str]] = []
    readable: list[Artifact] = []
    manifests = sorted((warehouse.root / "artifacts").glob(f"*/*/{MANIFEST}"))
    for number, path in enumerate(manifests, start=1):
        try:
            artifact = read_artifact(path.parent)  # from the disk, whatever this process remembers
        except EmolakeError as error:
            faults.append((path.parent.name, str(error)))
        else:
            readable.append(artifact)
            faults += [(artifact.key, problem) for problem in _problems(artifact)]
        progress(number, len(manifests))
    known = {a.digest for a in readable}
    for a in readable:
        for role, digests in a.request.inputs.items():
            faults += [(a.key, f"its input '{role}' {d[:12]} is not in the lake") for d in digests if d not in known]
    by_key = {a.key: a for a in readable}

    def made_from(key: str) -> list[str]:
        nodes = down_among(readable, by_key[key]).walk() if key in by_key else ()
        return [node.artifact.key for node in nodes if not node.repeated][1:]

    faults += ref_faults(warehouse.root, known, by_key)
    return [Fault(key, problem, made_from(key)) for key, problem in faults]


def _problems(artifact: Artifact) -> Iterator[str]:
    on_disk = {p.relative_to(artifact.folder).as_posix() for p in artifact.folder.rglob("*") if p.is_file()}
    for name in sorted(on_disk - set(artifact.files) - {MANIFEST}):
        yield f"file '{name}' is in its folder but not in its manifest"
    for name, entry in artifact.files.items():
        if name not in on_disk:
            yield f"file '{name}' is missing"
        elif file_digest(artifact.path(name)) != entry["sha256"]:
            yield f"file '{name}' has other bytes than when it was made"
    if content_digest(artifact.files) != artifact.digest:
        yield "its manifest was edited: the digest is not that of its files"
