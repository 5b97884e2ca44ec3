"""Which texts a checkpoint has read, through the lineage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from models.orders import shard_roles
from warehouse import Warehouse
from warehouse.artifact import Artifact
from warehouse.audit.lineage import up
from warehouse.catalog import names, plugin_class
from warehouse.schema import SHARD_INDEX, SPLIT, UTTERANCES
from warehouse.tables import rows_of

if TYPE_CHECKING:
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

TEXTS = pa.schema([pa.field(name, pa.string(), nullable=False) for name in ("utterance_id", "text_id", "text")])
"""One row per text that a checkpoint was trained on."""

_BATCH = 1 << 16  # rows
_ROOM = "features.extractors"


@dataclass(frozen=True)
class TrainedOn:
    """The texts that one checkpoint was trained on: record batches of TEXTS, read from the lake whenever they are gone
    through, some ten thousand rows at a time.

    Args:
        split: the table of which the train part was learned.
        packed: (table of utterances, indexes of the shards that hold their transcripts).
        known: (table of utterances, indexes of the shards that hold features of their transcripts). Rows of features
            are those of a text, whoever says it: the utterance it was extracted for stands for all.
    """

    split: Path
    packed: Sequence[tuple[Path, Sequence[Path]]]
    known: Sequence[tuple[Path, Sequence[Path]]] = ()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        yield from self._packed()
        yield from self._known()

    def _known(self) -> Iterator[pa.RecordBatch]:
        import pyarrow.compute as pc  # takes as long to import as a plan with nothing to do

        seen = pa.array([], pa.string())
        in_train = pc.field("part") == "train"
        trained = rows_of([self.split], SPLIT).to_table(columns=["utterance_id"], filter=in_train)
        own = trained.column("utterance_id").combine_chunks()
        for utterances, indexes in self.known:
            members = rows_of(indexes, SHARD_INDEX).to_table(columns=["utterance_id", "input_id"])
            learned = members.filter(pc.is_in(members.column("utterance_id"), own))
            texts = learned.column("input_id").combine_chunks()
            for batch in rows_of([utterances], UTTERANCES).scanner(columns=TEXTS.names, batch_size=_BATCH).to_batches():
                ids = batch.column("text_id")
                new = batch.filter(pc.and_(pc.is_in(ids, texts), pc.invert(pc.is_in(ids, seen))))
                yield new
                seen = pa.concat_arrays([seen, new.column("text_id").unique()])

    def _packed(self) -> Iterator[pa.RecordBatch]:
        import pyarrow.compute as pc

        trained = rows_of([self.split], SPLIT)
        for utterances, indexes in self.packed:
            members = rows_of(indexes, SHARD_INDEX)
            scanner = rows_of([utterances], UTTERANCES).scanner(
                columns=TEXTS.names, batch_size=_BATCH, batch_readahead=1, fragment_readahead=1
            )
            for batch in scanner.to_batches():
                ids = batch.column("utterance_id")
                in_train = pc.is_in(ids, _ids_near(trained, ids, pc.field("part") == "train"))
                yield batch.filter(pc.and_(in_train, pc.is_in(ids, _ids_near(members, ids))))


def teacher_texts(warehouse: Warehouse, checkpoint: Artifact) -> dict[str, TrainedOn]:
    """The texts that a checkpoint, and every checkpoint it was made from, was trained on, by their keys.

    What counts is the packed transcripts among a checkpoint's inputs (not what anything is called), and the features of
    transcripts, such as another network's hidden layers; of both, the train part of its split: what it was only chosen
    on, it has not learned. Weights that came into the lake from outside have read what nobody here knows.
    """
    nodes = {node.artifact.key: node.artifact for node in up(warehouse, checkpoint).walk()}
    by_digest = {artifact.digest: artifact for artifact in nodes.values()}
    found = {}
    for key, artifact in sorted(nodes.items()):
        if artifact.request.kind != "checkpoint":
            continue
        packed, known = _packed_texts(artifact, by_digest), _known_texts(artifact, by_digest)
        if packed or known:
            (split,) = artifact.request.inputs["split"]
            found[key] = TrainedOn(by_digest[split].path("split.parquet"), packed, known)
    return found


def _packed_texts(checkpoint: Artifact, by_digest: Mapping[str, Artifact]) -> list[tuple[Path, list[Path]]]:
    """(table of utterances, indexes of the shards of their transcripts that a checkpoint was given) of each reading."""
    packed: dict[str, dict[Path, None]] = {}
    for digests in shard_roles(checkpoint.request).values():
        for shard in (by_digest[digest] for digest in digests):
            source = shard.request.params["source"]
            if source.get("column") == "text" and "told" not in source:
                for reading in shard.request.inputs["utterances"]:
                    packed.setdefault(reading, {})[shard.path("index.parquet")] = None
    return [(by_digest[reading].path("utterances.parquet"), list(indexes)) for reading, indexes in packed.items()]


def _known_texts(checkpoint: Artifact, by_digest: Mapping[str, Artifact]) -> list[tuple[Path, list[Path]]]:
    """The same of the shards of features of transcripts, each with the readings that its rows were extracted for, and
    of transcripts of a corpus told again, whose utterances have other ids there than in the shard."""
    known: dict[str, dict[Path, None]] = {}
    for digests in shard_roles(checkpoint.request).values():
        for shard in (by_digest[digest] for digest in digests):
            readings: list[str] = []
            if _reads(shard.request.params["source"].get("plugin", {}).get("step", "")):
                for features in shard.request.inputs["features"]:
                    readings += by_digest[features].request.inputs["utterances"]
            elif "told" in shard.request.params["source"]:
                readings += shard.request.inputs["utterances"]
            for reading in readings:
                known.setdefault(reading, {})[shard.path("index.parquet")] = None
    return [(by_digest[reading].path("utterances.parquet"), list(indexes)) for reading, indexes in known.items()]


def _reads(step: str) -> bool:
    """Whether a step is an extractor that reads transcripts and hears nothing."""
    room, _, name = step.partition(".")
    return room == "extractors" and name in names(_ROOM) and getattr(plugin_class(_ROOM, name), "needs", "") == "text"


def _ids_near(rows: ds.Dataset, ids: pa.Array, where: pc.Expression | None = None) -> pa.Array:
    """The utterance ids from the first to the last of `ids`: all that may be among them. Files are sorted by id, or
    nearly, so that little else is read."""
    import pyarrow.compute as pc

    ends = pc.min_max(ids)
    among = (pc.field("utterance_id") >= ends["min"]) & (pc.field("utterance_id") <= ends["max"])
    table = rows.to_table(columns=["utterance_id"], filter=among if where is None else among & where)
    return table.column("utterance_id").combine_chunks()
