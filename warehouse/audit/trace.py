"""The way from one prediction to bytes and seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, starmap
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from warehouse.artifact import Artifact
from warehouse.audit.holders import input_ids_of
from warehouse.errors import ArtifactNotFound
from warehouse.merged import own_ids
from warehouse.schema import pair_id
from warehouse.store import Warehouse
from warehouse.truths import label_of, truth_of


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
        table = pq.read_table(features.part("features.parquet"), columns=["input_id"])
        if input_id in own_ids(features, table.column(0).to_pylist()):
            hops.append(Hop("feature row", features.key, f"{features.request.step}, input {input_id}"))
            digests += features.request.inputs["utterances"]
    digests += [digest for intervals in aligned for digest in intervals.request.inputs["utterances"]]
    readings = [_one(warehouse, digest) for digest in dict.fromkeys(digests)]
    own = ((reading, _row_for(warehouse, reading, utterance_id)) for reading in readings)
    fitting = ((reading, row) for reading, row in own if row and input_id in input_ids_of(row))
    others = ((reading, _row_of_input(reading, input_id)) for reading in readings)
    for reading, row in chain(fitting, others):
        if row is None:
            continue
        pair = pair_id(row["audio_id"], row["text_id"])
        for intervals in aligned:
            if own_ids(intervals, [pair]) and _row_where(intervals.path("intervals.parquet"), "input_id", pair):
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
    file = Hop("raw file", raw.key, f"{path}, {place_of(row)}")
    if "source" not in inputs:
        return [*hops, file]
    source = _one(warehouse, inputs["source"][0])
    told = _row_where(source.path("utterances.parquet"), "utterance_id", dict(row["attributes"])["source"])
    if told is None:
        raise ArtifactNotFound(dict(row["attributes"])["source"])
    if told["audio_id"] != row["audio_id"]:  # else its sound is the source's, whose file comes below
        hops.append(file)
    ids = input_ids_of(told)
    for digest in inputs.get("features", ()):
        features = _one(warehouse, digest)
        own = pq.read_table(features.part("features.parquet"), columns=["input_id"]).column(0).to_pylist()
        for one in own:
            if one in ids and own_ids(features, [one]):
                hops.append(Hop("feature row", features.key, f"{features.request.step}, input {one}"))
    return hops + _trace_utterance(warehouse, source, told, roots)


def place_of(row: Mapping[str, Any]) -> str:
    """Where in its file an utterance stands: its seconds or, without sound, its line; and the file's digest."""
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
        if input_id in input_ids_of(row):
            return _row_where(reading.path("utterances.parquet"), "utterance_id", row["utterance_id"])
    return None


def _one(warehouse: Warehouse, digest: str) -> Artifact:
    found = warehouse.with_digest(digest)
    if not found:
        raise ArtifactNotFound(digest)
    return found[0]


def _row_where(path: Path, column: str, value: str | None) -> dict[str, Any] | None:
    rows = pq.read_table(path, filters=None if value is None else [(column, "=", value)]).slice(0, 1)
    return rows.to_pylist()[0] if rows.num_rows else None
