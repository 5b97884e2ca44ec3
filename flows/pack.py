"""Feature rows to training shards: one tar per field per chunk of utterances."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from features.inventory import ids_by, input_id, row_identity, row_ids
from features.plugin import FeatureSpec
from features.retell import STEP as RETOLD
from warehouse.artifact import Artifact, Request, Work
from warehouse.hashing import digest
from warehouse.schema import UTTERANCES
from warehouse.shards import write_shard
from warehouse.tables import array_of, read_table, rows_about

VERSION = 1
CHUNK = 256
"""Utterances per shard."""

SILENT_CHUNK = 16_384
"""The same of a unit without sound: of ten million lines, shards of 256 would be 39,000 files to hold open."""


@dataclass(frozen=True)
class Told:
    """A corpus that is told again from another, whose rows are packed under the other's ids.

    Args:
        corpus: its name.
        rows: utterance id of the other corpus -> the row of this one with its `audio_id`, `text_id` and `text`.
        place: the same -> the artifact with that row.
    """

    corpus: str
    rows: Mapping[str, Mapping[str, Any]]
    place: Mapping[str, Artifact]


def pack_works(
    utterances: Sequence[Artifact],
    step: str,
    plugin: Any,
    output: str,
    spec: FeatureSpec,
    features: Sequence[Artifact],
    keep: set[str] | None = None,
    told: Told | None = None,
) -> list[Work]:
    """The works that pack one output of one extractor.

    A chunk never crosses from one unit of a corpus to the next, so that a new film adds shards and rewrites none.
    Utterances whose row failed are left out.

    Args:
        features: every artifact with rows of this extractor.
        keep: pack only these utterances.
        told: pack what this corpus has in their place.
    """
    place: dict[str, Artifact] = {}
    for artifact, ids in sorted(ids_by(features, row_ids), key=lambda one: one[0].key):
        place.update(dict.fromkeys(ids, artifact))
    works = []
    for artifact, members in chunks(utterances, [(plugin.needs, place.keys())], keep, told):
        sources = sorted({place[row_id].digest for _, row_id in members})
        params = {"source": {"plugin": row_identity(step, plugin), "output": output}, "members": digest(members)}
        inputs = {"features": tuple(sources)} | retold_inputs(artifact, members, told)
        request = Request("shards", "flows.pack", VERSION, params, inputs)
        arguments = {
            "field": f"{step.rpartition('.')[2]}-{output}", "members": members, "output": output,
            "names": spec.names if spec.level == "utterance" else None,
            "files": files_of(place, (row_id for _, row_id in members), "features.parquet"),
        }  # fmt: skip
        works.append(Work(request, write_features_shard, arguments, n_rows=len(members)))
    return works


def pack_text_works(
    utterances: Sequence[Artifact], keep: set[str] | None = None, told: Told | None = None
) -> list[Work]:
    """The works that pack the normalised transcripts, or what `told` has in their place. An utterance without words
    has none to pack."""
    source = {"table": "utterances", "column": "text"} | ({"told": told.corpus} if told else {})
    works = []
    for artifact in utterances:
        rows = read_table(artifact.path("utterances.parquet"), UTTERANCES).to_pylist()
        rows = [told.rows[row["utterance_id"]] for row in rows if row["utterance_id"] in told.rows] if told else rows
        texts = {row["text_id"]: row["text"] for row in rows if row["text"]}
        for _, members in chunks([artifact], [("text", texts.keys())], keep, told):
            read = {told.place[name].digest for name, _ in members} if told else {artifact.digest}
            params = {"source": source, "members": digest(members)}
            request = Request("shards", "flows.pack", VERSION, params, {"utterances": tuple(sorted(read))})
            own = {row_id: texts[row_id] for _, row_id in members}  # each work is sent to another process
            works.append(Work(request, write_text_shard, {"members": members, "texts": own}, n_rows=len(members)))
    return works


def write_features_shard(
    folder: Path, field: str, members: Sequence[tuple[str, str]], output: str, names: Sequence[str] | None,
    files: Mapping[Path, Sequence[str]],
) -> None:  # fmt: skip
    """Writes the tar of one field. Rows at utterance level become one vector, their columns in the promised order."""
    rows: dict[str, dict[str, Any]] = {}
    columns = ["input_id", *(names or (output, f"{output}_shape", f"{output}_dtype"))]
    for file, own in files.items():
        rows |= {row["input_id"]: row for row in rows_about(file, own, columns)}
    write_shard(folder, field, _arrays(members, rows, output, names))


def _arrays(
    members: Sequence[tuple[str, str]], rows: Mapping[str, Mapping[str, Any]], output: str, names: Sequence[str] | None
) -> Iterator[tuple[str, str, np.ndarray]]:
    for utterance_id, row_id in members:
        row = rows[row_id]
        array = array_of(row, output) if names is None else np.array([row[name] for name in names], np.float32)
        yield utterance_id, row_id, array


def write_text_shard(folder: Path, members: Sequence[tuple[str, str]], texts: Mapping[str, str]) -> None:
    """Writes the tar of the transcripts."""
    write_shard(folder, "text", ((utterance_id, row_id, texts[row_id]) for utterance_id, row_id in members))


def chunks(
    utterances: Sequence[Artifact], present: Sequence[tuple[str, Container[str]]], keep: set[str] | None,
    told: Told | None = None,
) -> Iterator[tuple[Artifact, list[tuple[str, ...]]]]:  # fmt: skip
    """The utterances of each shard with their input ids, and the artifact that they are of.

    Chunks are cut before failed rows are dropped, so that every field has the same utterances in the same shard.

    Args:
        present: 'audio', 'text' or 'pair', and the input ids of that need that have a row, of each source: an utterance
            must be in all of them.
        told: whose input ids are meant, if not those of the utterances themselves; one that it lacks is dropped.
    """
    for artifact in utterances:
        rows = read_table(artifact.path("utterances.parquet"), UTTERANCES).to_pylist()
        wanted = [row for row in rows if keep is None or row["utterance_id"] in keep]
        size = CHUNK if any(row["audio_id"] for row in rows) else SILENT_CHUNK
        for start in range(0, len(wanted), size):
            members = []
            for row in wanted[start : start + size]:
                said = told.rows.get(row["utterance_id"]) if told else row
                ids = [input_id(said, needs) for needs, _ in present] if said else []
                if said and all(own in there for own, (_, there) in zip(ids, present, strict=True)):
                    members.append((row["utterance_id"], *ids))
            if members:
                yield artifact, members


def files_of(place: Mapping[str, Artifact], ids: Iterable[str], name: str) -> dict[Path, list[str]]:
    """File -> those of these input ids whose rows are read there. It may hold rows of others too, with which what is
    cited was merged, and about the same ids."""
    found: dict[Path, list[str]] = {}
    for one in dict.fromkeys(ids):
        found.setdefault(place[one].place(name), []).append(one)
    return found


def retold_inputs(
    artifact: Artifact, members: Sequence[tuple[str, ...]], told: Told | None
) -> dict[str, tuple[str, ...]]:
    """What a shard's request cites beside its rows where the members are told again, here or in a corpus that stands
    for theirs: their utterances. Rows alone do not tell: those of a voice were made for whom it is the own.

    Args:
        artifact: with the members.
    """
    if told:
        return {"utterances": tuple(sorted({told.place[member[0]].digest for member in members}))}
    return {"utterances": (artifact.digest,)} if artifact.request.step == RETOLD else {}
