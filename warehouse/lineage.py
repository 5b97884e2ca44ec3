"""Where a number comes from, what used a byte, why an order does not match, and whether the lake is sound.

Everything is read from the manifests; there is no log beside the data.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, starmap
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from warehouse.artifact import MANIFEST, Artifact, Request, content_digest, read_artifact
from warehouse.errors import ArtifactNotFound, EmolakeError
from warehouse.hashing import canonical_json, file_digest
from warehouse.refs import corpus_root, ref_faults
from warehouse.schema import pair_id
from warehouse.store import Warehouse
from warehouse.truths import label_of, truth_of


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
    return _down(warehouse.artifacts(), artifact)


def _down(artifacts: Sequence[Artifact], artifact: Artifact) -> Node:
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


@dataclass(frozen=True)
class Hop:
    """One step of a trace: what it is, which artifact holds it ('' for a raw file), and what can be said of it."""

    what: str
    key: str
    note: str


def trace(
    warehouse: Warehouse, predictions: Artifact, utterance_id: str | None = None,
    roots: Mapping[str, str] | None = None, truth: Artifact | None = None,
) -> list[Hop]:  # fmt: skip
    """The way from one prediction to the bytes and seconds it rests on: predictions, what judges it, checkpoint,
    shards, feature rows, utterance, raw file.

    Args:
        predictions: an artifact of kind 'predictions'.
        utterance_id: one of its rows; without one, the first.
        roots: corpus -> where its raw files are; without it, paths are relative to the corpus.
        truth: without one, that of `warehouse.truths`.

    Raises:
        ArtifactNotFound: it has no such utterance, or something between is missing from the lake.
    """
    row = _row_where(predictions.path("predictions.parquet"), "utterance_id", utterance_id)
    if row is None:
        raise ArtifactNotFound(str(utterance_id))
    utterance = row["utterance_id"]
    label, judging = label_of(warehouse, truth or truth_of(warehouse, predictions), utterance)
    note = f"{utterance}: labelled {label}, predicted {row['predicted']}"
    hops = [Hop("prediction", predictions.key, note), *starmap(Hop, judging)]
    inputs = sorted(one for one in predictions.request.inputs.items() if one[0] != "split")
    for role, source in ((role, _one(warehouse, digest)) for role, digests in inputs for digest in digests):
        if role == "predictions":  # whose mean they are
            hops += trace(warehouse, source, utterance, roots, truth)
        elif role == "checkpoint":
            seed = source.request.params["seed"]
            hops.append(Hop("checkpoint", source.key, f"{source.request.step}, seed {seed}"))
        elif role.startswith("shards:"):
            member = _row_where(source.path("index.parquet"), "utterance_id", utterance)
            if member is None:
                continue
            place = f"{role.partition(':')[2]}, bytes {member['offset']}–{member['offset'] + member['n_bytes']}"
            hops.append(Hop("shard", source.key, place))
            hops += _trace_row(warehouse, source, member["input_id"], utterance, roots or {})
    return hops


def _trace_row(
    warehouse: Warehouse, shard: Artifact, input_id: str, utterance_id: str, roots: Mapping[str, str]
) -> list[Hop]:
    """The way from an utterance's row in a shard: to the utterance, or the one told from it, that has this row's input;
    else to another with the same sound or text, which the row was made for. The readings that the shard itself cites
    come first, for the rows of a voice were made for an utterance of the same id with another sound."""
    hops: list[Hop] = []
    sources = [_one(warehouse, d) for d in shard.request.inputs.get("features", ())]
    aligned = [_one(warehouse, d) for d in shard.request.inputs.get("intervals", ())]
    digests = list(shard.request.inputs.get("utterances", ()))
    for features in sources:
        table = pq.read_table(features.path("features.parquet"), columns=["input_id"])
        if input_id in table.column(0).to_pylist():
            hops.append(Hop("feature row", features.key, f"{features.request.step}, input {input_id}"))
            digests += features.request.inputs["utterances"]
    digests += [digest for intervals in aligned for digest in intervals.request.inputs["utterances"]]
    readings = [_one(warehouse, digest) for digest in dict.fromkeys(digests)]
    own = ((reading, _row_for(warehouse, reading, utterance_id)) for reading in readings)
    fitting = ((reading, row) for reading, row in own if row and input_id in _ids_of(row))
    others = ((reading, _row_of_input(reading, input_id)) for reading in readings)
    for reading, row in chain(fitting, others):
        if row is None:
            continue
        pair = pair_id(row["audio_id"], row["text_id"])
        for intervals in aligned:
            if _row_where(intervals.path("intervals.parquet"), "input_id", pair):
                hops.append(Hop("intervals", intervals.key, f"{intervals.request.step}, input {pair}"))
        hops += _trace_utterance(warehouse, reading, row, roots)
        break
    return hops


def _trace_utterance(
    warehouse: Warehouse, reading: Artifact, row: Mapping[str, Any], roots: Mapping[str, str]
) -> list[Hop]:
    """The way from an utterance to its raw file; from one that is told again (`features.retell`) also to the feature
    row that it was told with, and on from the utterance that it was told from."""
    inputs = reading.request.inputs
    hops = [Hop("utterance", reading.key, f"{row['utterance_id']}: “{row['text']}”")]
    records = [_one(warehouse, digest) for digest in inputs["raw"]]
    raw = next((one for one in records if _row_where(one.path("files.parquet"), "path", row["path"])), records[0])
    path = f"{roots.get(row['corpus'], row['corpus'])}/{row['path']}"
    file = Hop("raw file", raw.key, f"{path}, {_place(row)}")
    if "source" not in inputs:
        return [*hops, file]
    source = _one(warehouse, inputs["source"][0])
    told = _row_where(source.path("utterances.parquet"), "utterance_id", dict(row["attributes"])["source"])
    if told is None:
        raise ArtifactNotFound(dict(row["attributes"])["source"])
    if told["audio_id"] != row["audio_id"]:  # else its sound is the source's, whose file comes below
        hops.append(file)
    ids = _ids_of(told)
    for digest in inputs.get("features", ()):
        features = _one(warehouse, digest)
        for one in pq.read_table(features.path("features.parquet"), columns=["input_id"]).column(0).to_pylist():
            if one in ids:
                hops.append(Hop("feature row", features.key, f"{features.request.step}, input {one}"))
    return hops + _trace_utterance(warehouse, source, told, roots)


def _ids_of(row: Mapping[str, Any]) -> set[str]:
    """What rows about an utterance may be keyed by."""
    heard = {row["audio_id"], pair_id(row["audio_id"], row["text_id"])} if row["audio_id"] else set()
    return heard | {row["text_id"]}


def _place(row: Mapping[str, Any]) -> str:
    """Where in its file an utterance stands: its seconds or, without sound, its line."""
    attributes = dict(row["attributes"])
    places = [f"{name} {attributes[name]}" for name in ("line", "sentence") if name in attributes]
    span = f"seconds {row['start_s']:.3f}–{row['end_s']:.3f}"
    return f"{span if row['audio_id'] else ' '.join(places) or 'text only'}, sha256 {row['recording_id']}"


def _row_for(warehouse: Warehouse, reading: Artifact, utterance_id: str) -> dict[str, Any] | None:
    """The utterance of this id in a reading or, where that is told again, the one told from it, near or far."""
    path = reading.path("utterances.parquet")
    row = _row_where(path, "utterance_id", utterance_id)
    if row or "source" not in reading.request.inputs:
        return row
    source = _row_for(warehouse, _one(warehouse, reading.request.inputs["source"][0]), utterance_id)
    if source is None:
        return None
    told = pq.read_table(path, columns=["utterance_id", "attributes"]).to_pylist()
    names = [one["utterance_id"] for one in told if dict(one["attributes"])["source"] == source["utterance_id"]]
    return _row_where(path, "utterance_id", names[0]) if names else None


def _row_of_input(reading: Artifact, input_id: str) -> dict[str, Any] | None:
    """The utterance that a row was made from: another one, where two share a sound or a text."""
    columns = ["audio_id", "text_id", "utterance_id"]
    for row in pq.read_table(reading.path("utterances.parquet"), columns=columns).to_pylist():
        if input_id in _ids_of(row):
            return _row_where(reading.path("utterances.parquet"), "utterance_id", row["utterance_id"])
    return None


def is_utterance(warehouse: Warehouse, reference: str) -> bool:
    """Whether the corpora as last ingested have an utterance of this id."""
    return bool(_utterance(warehouse, reference))


def uses(warehouse: Warehouse, utterance_id: str) -> list[Hop]:
    """Where an utterance's bytes lie and every artifact that holds a row about it, oldest first."""
    row = _utterance(warehouse, utterance_id)
    if row is None:
        raise ArtifactNotFound(utterance_id)
    ids = {utterance_id} | _ids_of(row)
    ref = warehouse.ref(f"corpora/{row['corpus']}")
    root = corpus_root(warehouse.root, ref) if ref else ""
    hops = [Hop("raw file", "", f"{root}/{row['path']}, {_place(row)}")]
    for artifact in warehouse.artifacts():
        for name in sorted(n for n in artifact.files if n.endswith(".parquet")):
            path = artifact.path(name)
            columns = {"utterance_id", "input_id"} & set(pq.read_schema(path).names)
            held = {value for c in columns for value in pq.read_table(path, columns=[c]).column(0).to_pylist()}
            if ids & held:
                hops.append(Hop(artifact.request.kind, artifact.key, f"{artifact.request.step}, {name}"))
    return hops


def _utterance(warehouse: Warehouse, utterance_id: str) -> dict[str, Any] | None:
    query = "SELECT * FROM utterances WHERE utterance_id = $id"
    rows = warehouse.sql(query, {"id": utterance_id}).to_arrow_table().to_pylist()
    return rows[0] if rows else None


def _one(warehouse: Warehouse, digest: str) -> Artifact:
    found = warehouse.with_digest(digest)
    if not found:
        raise ArtifactNotFound(digest)
    return found[0]


def _row_where(path: Path, column: str, value: str | None) -> dict[str, Any] | None:
    rows = pq.read_table(path, filters=None if value is None else [(column, "=", value)]).slice(0, 1)
    return rows.to_pylist()[0] if rows.num_rows else None


ABSENT = "(absent)"


@dataclass(frozen=True)
class Difference:
    """One place where two requests differ, as a path such as 'params.plugin.fields.level'."""

    where: str
    asked: Any
    there: Any  # ABSENT where one has no such place

    def __str__(self) -> str:
        return f"{self.where}: {_brief(self.asked)} instead of {_brief(self.there)}"


def _brief(value: Any) -> str:
    if value is ABSENT:
        return ABSENT
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"


def differences(asked: Mapping[str, Any] | Request, there: Mapping[str, Any] | Request) -> list[Difference]:
    """Every field, version or input in which two requests differ: none exactly when their keys are the same."""
    first = asked.as_json() if isinstance(asked, Request) else asked
    second = there.as_json() if isinstance(there, Request) else there
    found: list[Difference] = []

    def compare(a: Any, b: Any, where: str) -> None:
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            for name in sorted(a.keys() | b.keys()):
                compare(a.get(name, ABSENT), b.get(name, ABSENT), f"{where}.{name}" if where else name)
        elif a is ABSENT or b is ABSENT or canonical_json(a) != canonical_json(b):
            found.append(Difference(where, a, b))

    compare(first, second, "")
    return found


def nearest(warehouse: Warehouse, request: Request) -> Artifact | None:
    """The artifact of the same kind and step whose request differs in the fewest places; the newest of those."""
    same = [a for a in warehouse.artifacts(request.kind) if a.request.step == request.step and a.key != request.key]
    return min(reversed(same), key=lambda a: len(differences(request, a.request)), default=None)


def why(warehouse: Warehouse, request: Request) -> list[Difference]:
    """Why an order is not answered by what exists: how it differs from the nearest artifact; [] when there is none."""
    close = nearest(warehouse, request)
    return differences(request, close.request) if close else []


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
        nodes = _down(readable, by_key[key]).walk() if key in by_key else ()
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
