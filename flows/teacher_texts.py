"""Which texts a checkpoint has read, through the lineage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from models.orders import shard_roles
from warehouse import Warehouse, lineage
from warehouse.artifact import Artifact
from warehouse.schema import SHARD_INDEX, SPLIT, UTTERANCES
from warehouse.tables import read_table

TEACHER_TEXTS = pa.schema(
    [
        pa.field(name, pa.string(), nullable=False)
        for name in ("checkpoint", "corpus", "utterance_id", "text_id", "text")
    ]
)
"""One row per text that a checkpoint was trained on; `checkpoint` is its key."""


def teacher_texts(warehouse: Warehouse, checkpoint: Artifact) -> pa.Table:
    """The texts that a checkpoint, and every checkpoint it was made from, was trained on: a table of TEACHER_TEXTS.

    What counts is the packed transcripts among a checkpoint's inputs (not what anything is called), and of those the
    train part of its split: what it was only chosen on, it has not learned. Weights that came into the lake from
    outside have read what nobody here knows.
    """
    nodes = {node.artifact.key: node.artifact for node in lineage.up(warehouse, checkpoint).walk()}
    by_digest = {artifact.digest: artifact for artifact in nodes.values()}
    texts: dict[str, pa.Table] = {}
    tables = [TEACHER_TEXTS.empty_table()]
    for key, artifact in sorted(nodes.items()):
        if artifact.request.kind != "checkpoint":
            continue
        trained = _trained_on(artifact, by_digest)
        for source, members in _packed_texts(artifact, by_digest):
            if source.digest not in texts:
                texts[source.digest] = read_table(source.path("utterances.parquet"), UTTERANCES)
            table = texts[source.digest]
            ids = table.column("utterance_id")
            own = table.filter(pc.and_(pc.is_in(ids, members), pc.is_in(ids, trained)))
            own = own.append_column("checkpoint", pa.array([key] * own.num_rows, pa.string()))
            tables.append(own.select(TEACHER_TEXTS.names).cast(TEACHER_TEXTS))
    return pa.concat_tables(tables).sort_by([("checkpoint", "ascending"), ("utterance_id", "ascending")])


def _trained_on(checkpoint: Artifact, by_digest: Mapping[str, Artifact]) -> pa.Array:
    (split,) = checkpoint.request.inputs["split"]
    table = read_table(by_digest[split].path("split.parquet"), SPLIT)
    return table.filter(pc.field("part") == "train").column("utterance_id").combine_chunks()


def _packed_texts(checkpoint: Artifact, by_digest: Mapping[str, Artifact]) -> Iterator[tuple[Artifact, pa.Array]]:
    """(reading, ids of its utterances whose transcripts a checkpoint was given), one per reading."""
    packed: dict[str, list[pa.Array]] = {}
    for digests in shard_roles(checkpoint.request).values():
        for shard in (by_digest[digest] for digest in digests):
            if shard.request.params["source"].get("column") == "text":
                members = read_table(shard.path("index.parquet"), SHARD_INDEX).column("utterance_id")
                for source in shard.request.inputs["utterances"]:
                    packed.setdefault(source, []).extend(members.chunks)
    for source, chunks in packed.items():
        yield by_digest[source], pa.concat_arrays(chunks)
