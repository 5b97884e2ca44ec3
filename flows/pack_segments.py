"""Stored frames and intervals to training shards: the mean frame of every word, phone or syllable, and their times.

A new alignment packs anew and extracts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from features.inventory import ids_by, row_identity
from features.rows import failure_row
from flows.pack import Told, chunks, files_of, retold_inputs
from warehouse.artifact import Artifact, Request, Work
from warehouse.errors import IntervalOutside
from warehouse.hashing import digest
from warehouse.pooling import mean_over
from warehouse.schema import FAILURES
from warehouse.shards import write_shard
from warehouse.tables import array_of, rows_about, write_rows

STEP = "flows.pack_segments"
VERSION = 1
"""Raised also when `warehouse.pooling.mean_over` gives other numbers."""

Member = tuple[str, ...]
"""Utterance id, input id of the frames (where there are any), input id of the intervals."""


@dataclass(frozen=True)
class Frames:
    """One output of an extractor at frame level, and every artifact with rows of it."""

    output: str
    hop_s: float
    step: str
    plugin: Any
    artifacts: Sequence[Artifact]


@dataclass(frozen=True)
class Tier:
    """One tier of an aligner, and every artifact with its intervals."""

    name: str
    step: str
    plugin: Any
    artifacts: Sequence[Artifact]

    def identity(self) -> dict[str, Any]:
        """What a request says of it."""
        return {"tier": self.name, "aligner": row_identity(self.step, self.plugin)}


def pack_means_works(
    utterances: Sequence[Artifact], frames: Frames, tier: Tier, keep: set[str] | None = None, told: Told | None = None
) -> list[Work]:
    """The works that pack the means of frames over segments: [n_segments, dim], with as many axes before as the
    frames have before theirs, such as [layer, n_segments, dim].

    Utterances whose frames or whose alignment failed, and those with no segment on the tier, are left out. Segments
    lie in the order of their positions; an utterance with one outside its frames is a failures row of the shard.

    Args:
        keep: pack only these utterances.
        told: pack what this corpus has in their place.
    """
    own, aligned = _places(frames.artifacts, "features.parquet"), _aligned(tier)
    works = []
    for artifact, members in chunks(utterances, [(frames.plugin.needs, own), (tier.plugin.needs, aligned)], keep, told):
        source = {"plugin": row_identity(frames.step, frames.plugin), "output": frames.output} | tier.identity()
        rows, intervals = _cited(own, members, 1), _cited(aligned, members, 2)
        arguments = {
            "field": f"{frames.step.rpartition('.')[2]}-{frames.output}-{tier.name}", "members": members,
            "output": frames.output, "hop_s": frames.hop_s, "tier": tier.name,
            "files": files_of(own, (member[1] for member in members), "features.parquet"),
            "aligned": files_of(aligned, (member[2] for member in members), "intervals.parquet"),
        }  # fmt: skip
        cited = {"features": rows, "intervals": intervals}
        request = _request(source, members, cited, retold_inputs(artifact, members, told))
        works.append(Work(request, write_means_shard, arguments, n_rows=len(members)))
    return works


def pack_spans_works(
    utterances: Sequence[Artifact], tier: Tier, keep: set[str] | None = None, told: Told | None = None
) -> list[Work]:
    """The works that pack the begin and the end of every segment: float64 [n_segments, 2], seconds from the start of
    the utterance, in the order of `pack_means_works`."""
    aligned = _aligned(tier)
    works = []
    for artifact, members in chunks(utterances, [(tier.plugin.needs, aligned)], keep, told):
        intervals = _cited(aligned, members, 1)
        arguments = {
            "field": f"times-{tier.name}", "members": members, "tier": tier.name,
            "aligned": files_of(aligned, (member[1] for member in members), "intervals.parquet"),
        }  # fmt: skip
        more = retold_inputs(artifact, members, told)
        request = _request(tier.identity(), members, {"intervals": intervals}, more)
        works.append(Work(request, write_spans_shard, arguments, n_rows=len(members)))
    return works


def write_means_shard(
    folder: Path, field: str, members: Sequence[Member], output: str, hop_s: float, tier: str,
    files: Mapping[Path, Sequence[str]], aligned: Mapping[Path, Sequence[str]],
) -> None:  # fmt: skip
    """Writes the tar of one field and `failures.parquet`. Each file of frames is read once, and only means are kept."""
    spans = _spans(aligned, tier)
    by_row: dict[str, list[Member]] = {}
    for member in members:
        by_row.setdefault(member[1], []).append(member)
    means: dict[str, np.ndarray] = {}
    failures = []
    columns = ["input_id", output, f"{output}_shape", f"{output}_dtype"]
    for file, ids in files.items():
        for row in rows_about(file, ids, columns):
            for utterance_id, row_id, pair in by_row.pop(row["input_id"], []):
                try:
                    means[utterance_id] = mean_over(array_of(row, output), hop_s, spans[pair])
                except IntervalOutside as error:
                    failures.append(failure_row(STEP, utterance_id, str(error), row_id))
    packed = [(name, row_id, means[name]) for name, row_id, _ in members if name in means]
    write_shard(folder, field, packed)
    write_rows(folder / "failures.parquet", sorted(failures, key=lambda row: row["utterance_id"]), FAILURES)


def write_spans_shard(
    folder: Path, field: str, members: Sequence[Member], tier: str, aligned: Mapping[Path, Sequence[str]]
) -> None:  # fmt: skip
    """Writes the tar of the segments' times."""
    spans = _spans(aligned, tier)
    times = ((name, pair, np.array([span[1:] for span in spans[pair]], np.float64)) for name, pair in members)
    write_shard(folder, field, times)


def _request(
    source: Mapping[str, Any], members: Sequence[Member], cited: Mapping[str, Sequence[Artifact]],
    more: Mapping[str, tuple[str, ...]],
) -> Request:  # fmt: skip
    inputs = {role: tuple(sorted(a.digest for a in artifacts)) for role, artifacts in cited.items()}
    return Request("shards", STEP, VERSION, {"source": source, "members": digest(members)}, {**inputs, **more})


def _places(artifacts: Sequence[Artifact], file: str, tier: str | None = None) -> dict[str, Artifact]:
    """Input id -> the artifact with its rows: of several the first by key, as in the views."""
    only = None if tier is None else [("tier", "=", tier)]

    def ids_of(artifact: Artifact) -> list[str]:
        table = pq.read_table(artifact.part(file), columns=["input_id"], filters=only)
        ids: list[str] = table.column(0).unique().to_pylist()
        return ids

    place: dict[str, Artifact] = {}
    for artifact, ids in sorted(ids_by(artifacts, ids_of), key=lambda one: one[0].key):
        for one in ids:
            place.setdefault(one, artifact)
    return place


def _aligned(tier: Tier) -> dict[str, Artifact]:
    return _places(tier.artifacts, "intervals.parquet", tier.name)


def _cited(place: Mapping[str, Artifact], members: Sequence[Member], which: int) -> list[Artifact]:
    """What the members' rows lie in, by key, each content once."""
    artifacts = sorted((place[member[which]] for member in members), key=lambda artifact: artifact.key, reverse=True)
    own = {artifact.digest: artifact for artifact in artifacts}
    return sorted(own.values(), key=lambda artifact: artifact.key)


def _spans(files: Mapping[Path, Sequence[str]], tier: str) -> dict[str, list[tuple[str, float, float]]]:
    """Input id -> (symbol, begin, end) of its segments in order."""
    columns = ["input_id", "position", "symbol", "start_s", "end_s"]
    found: dict[str, list[tuple[str, float, float]]] = {}
    for file, ids in files.items():
        rows = pq.read_table(file, columns=columns, filters=[("tier", "=", tier), ("input_id", "in", set(ids))])
        for row in sorted(rows.to_pylist(), key=lambda row: row["position"]):
            found.setdefault(row["input_id"], []).append((row["symbol"], row["start_s"], row["end_s"]))
    return found
