"""What a person means when they ask where something comes from, or what it touched.

reports/demo, 3f2a81                        an artifact: its name, key, digest, or the beginning of either
reports/demo#distilled/1/0/uar              numbers of a report: model, fold, seed (any may be left out) and metric, of
                                            the test part unless a part stands before the metric: …/dev/uar
3f2a81#ID                                   a row of an artifact: a prediction, a member of a shard, a feature row;
                                            ID is that of an utterance or of an input
features/lld#ID                             the same, in all rows of the extractor that recipes call lld
ID                                          an utterance
iemocap/Session1/x.wav, 02d1dc853f8f        a raw file: its path, with or without its corpus, or its sha256 (8 digits
                                            of it are enough)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from warehouse.artifact import Artifact
from warehouse.audit.errors import NoSuchNumber, NoSuchRow, UnknownSubject
from warehouse.audit.holders import clips_where, holders, input_ids_of, one_connection, one_of, rows_where
from warehouse.audit.trace import place_of
from warehouse.errors import AmbiguousReference, ArtifactNotFound, NameTooLong
from warehouse.hashing import short_digest
from warehouse.merged import live
from warehouse.refs import corpus_root
from warehouse.store import Warehouse

_SHA256 = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True)
class Subject:
    """What was meant.

    Args:
        what: 'artifact', 'number', 'row', 'utterance' or 'file'.
        artifacts: the artifact itself; of numbers the predictions and truths they were computed from; of a row those
            that hold it; of an utterance and a file the readings and records that have it.
        clips: the utterances that it is, or that are of it, in every reading.
        numbers: rows of METRICS.
        files: (corpus, path, sha256, n_bytes) of raw files.
        metrics: where the numbers stand.
    """

    what: str
    reference: str
    artifacts: Sequence[Artifact]
    clips: Sequence[Mapping[str, Any]] = ()
    numbers: Sequence[Mapping[str, Any]] = ()
    files: Sequence[Mapping[str, Any]] = ()
    input_ids: frozenset[str] = frozenset()
    metrics: Artifact | None = None

    @property
    def utterance_ids(self) -> set[str]:
        """Of its clips."""
        return {clip["utterance_id"] for clip in self.clips}


@one_connection()
def subject_of(warehouse: Warehouse, reference: str) -> Subject:
    """What a reference means; see above. A name or a whole key comes first, then an utterance, the beginning of a key,
    a raw file.

    Raises:
        UnknownSubject: nothing.
        AmbiguousReference: several artifacts.
        NoSuchNumber, NoSuchRow: an artifact that has no such number or row.
    """
    named, mark, row = reference.partition("#")
    if mark:
        try:
            return _row_of(warehouse, reference, named, row)
        except (AmbiguousReference, ArtifactNotFound, NoSuchNumber, NoSuchRow):
            if files := list(_files(warehouse, warehouse.artifacts(), reference)):  # whose path has the mark in it
                return _of_files(reference, warehouse.artifacts(), files)
            raise
    artifacts, ref = warehouse.artifacts(), _ref(warehouse, reference)
    if any(reference in (a.key, a.digest) for a in artifacts) or "artifact" in (ref or ()):
        return Subject("artifact", reference, [warehouse.resolve(reference)])
    if clips := clips_where(artifacts, "utterance_id", [reference]):
        return _of_clips("utterance", reference, artifacts, clips)
    try:
        if ref is not None:
            return Subject("artifact", reference, [warehouse.resolve(reference)])
    except ArtifactNotFound:
        pass
    if files := list(_files(warehouse, artifacts, reference)):
        return _of_files(reference, artifacts, files)
    raise UnknownSubject(reference)


def places_of(warehouse: Warehouse, subject: Subject) -> list[dict[str, Any]]:
    """Where the bytes of a subject's clips lie, or else its files; what several readings have alike is there once."""
    roots = {name: str(corpus_root(warehouse.root, ref)) for name, ref in warehouse.refs("corpora").items()}

    def file_of(row: Mapping[str, Any]) -> str:
        return f"{roots.get(row['corpus'], row['corpus'])}/{row['path']}"

    rows = [
        {"utterance": clip["utterance_id"], "file": file_of(clip), "where": place_of(clip), "text": clip["text"]}
        for clip in subject.clips
    ] or [
        {"file": file_of(file), "where": f"sha256 {file['sha256']}", "bytes": file["n_bytes"]}
        for file in subject.files
    ]  # fmt: skip
    return list({tuple(row.values()): row for row in rows}.values())


def _ref(warehouse: Warehouse, name: str) -> Mapping[str, Any] | None:
    """What a name points at, empty where there is none such; None of what no name can be: a path that leads out of the
    refs, as an absolute one does, or one that is too long for a file."""
    try:
        return warehouse.ref(name) or {}
    except (ArtifactNotFound, NameTooLong):
        return None


def _row_of(warehouse: Warehouse, reference: str, named: str, row: str) -> Subject:
    ref = _ref(warehouse, named)
    if ref is None:
        raise ArtifactNotFound(named)
    if ref and named.startswith("features/"):
        known = live(warehouse.artifacts("features"))
        own = [a for a in known if short_digest(a.request.params["plugin"]) == ref["plugin_key"]]
    else:
        own = [warehouse.resolve(named)]
    if own and own[0].request.kind in ("report", "metrics"):
        return _numbers_of(warehouse, reference, own[0], row)
    artifacts = warehouse.artifacts()
    clips = clips_where(artifacts, "utterance_id", [row])
    input_ids = {row}.union(*(input_ids_of(clip) for clip in clips if clip["utterance_id"] == row))
    held = holders(own, {row}, input_ids)
    if not held:
        raise NoSuchRow(named, row)
    clips += [clip for column in ("audio_id", "text_id") for clip in clips_where(artifacts, column, [row])]
    return Subject("row", reference, [a for a in own if a.key in held], clips, input_ids=frozenset(input_ids))


def _numbers_of(warehouse: Warehouse, reference: str, artifact: Artifact, wanted: str) -> Subject:
    """Model, fold, seed, part and metric of a reference are asked in this order; the last word is the metric."""
    metrics = artifact
    if artifact.request.kind == "report":
        metrics = warehouse.with_digest(artifact.request.inputs["metrics"][0])[0]
    rows = pq.read_table(metrics.path("metrics.parquet")).to_pylist()
    *words, metric = wanted.split("/")
    asked = dict(zip(("variant", "fold", "seed", "part"), words, strict=False)) | {"metric": metric}
    asked.setdefault("part", "test")
    found = [row for row in rows if all(str(row[column]) == word for column, word in asked.items())]
    if not found or len(words) > 4 or not words:
        known = {"/".join((row["variant"], str(row["fold"]), str(row["seed"]), row["metric"])) for row in rows}
        raise NoSuchNumber(reference.partition("#")[0], wanted, sorted(known))
    inputs = metrics.request.inputs
    truths = dict(zip(inputs["predictions"], inputs.get("truths", ()), strict=False))
    made = dict.fromkeys(row["predictions"] for row in found)
    judging = dict.fromkeys(truths[digest] for digest in made if digest in truths)
    sources = [warehouse.with_digest(digest)[:1] for digest in (*made, *judging)]
    own = [source for some in sources for source in some]
    return Subject("number", reference, own, numbers=found, metrics=metrics)


def _of_clips(what: str, reference: str, artifacts: Sequence[Artifact], clips: Sequence[Mapping[str, Any]]) -> Subject:
    keys = {clip["artifact"] for clip in clips}
    ids = frozenset[str]().union(*map(input_ids_of, clips))
    readings = [a for a in artifacts if a.key in keys]
    files = _files_of(artifacts, clips)
    return Subject(what, reference, readings, clips, files=files, input_ids=ids)


def _of_files(reference: str, artifacts: Sequence[Artifact], files: Sequence[Mapping[str, Any]]) -> Subject:
    """A file of sound is its utterances. Of any other, such as a table of labels, which rows came from it is not told:
    then it is its record, and with it the unit that was read as one."""
    clips = clips_where(artifacts, "recording_id", {file["sha256"] for file in files})
    records = {file["artifact"] for file in files}
    if clips:
        records |= {clip["artifact"] for clip in clips}
    ids = frozenset[str]().union(*map(input_ids_of, clips))
    own = [a for a in artifacts if a.key in records]
    return Subject("file", reference, own, clips, files=files, input_ids=ids)


def _files(warehouse: Warehouse, artifacts: Sequence[Artifact], reference: str) -> Iterable[dict[str, Any]]:
    """Rows of raw files by path, also below the folder of their corpus, or by (the beginning of) sha256, each with its
    corpus."""
    raws = {a.key: a for a in artifacts if a.request.kind == "raw"}
    first, _, rest = reference.partition("/")
    roots = {name: corpus_root(warehouse.root, ref) for name, ref in warehouse.refs("corpora").items()}
    path = Path(reference)
    below = {name: path.relative_to(root).as_posix() for name, root in roots.items() if path.is_relative_to(root)}
    paths = [reference, rest, *below.values()]
    wanted = one_of("path", "paths")
    values: dict[str, Any] = {"paths": paths}
    if _SHA256.fullmatch(reference):
        wanted = f"{wanted} OR starts_with(sha256, $beginning)"
        values["beginning"] = reference
    for row in rows_where(raws.values(), "files", wanted, values, ("path", "n_bytes", "sha256")):
        corpus = raws[row["artifact"]].request.params.get("corpus", "")
        own = {reference, below.get(corpus)} | ({rest} if first == corpus else set())
        if row["path"] in own or row["sha256"].startswith(reference):
            yield {"corpus": corpus, **row}


def _files_of(artifacts: Sequence[Artifact], clips: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    raws = {a.key: a for a in artifacts if a.request.kind == "raw"}
    recordings = {"recordings": [clip["recording_id"] for clip in clips]}
    rows = rows_where(raws.values(), "files", one_of("sha256", "recordings"), recordings, ("path", "n_bytes", "sha256"))
    return [{"corpus": raws[row["artifact"]].request.params.get("corpus", ""), **row} for row in rows]
