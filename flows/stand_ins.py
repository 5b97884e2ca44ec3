"""Utterances that are told again in the parts of those that they stand for.

What a protocol asks for, as what is drawn or who passes its filter, is asked of the corpora that were read. So an
utterance that is lost on the way changes nobody else's part, and other words or another sound change no part at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from features.retell import own_id
from warehouse.artifact import Artifact


class StandIns(NamedTuple):
    """The utterances that a model has where a protocol knows those that were read.

    Args:
        corpora: corpus that is told again -> the one that was read, from which all is told.
        utterances: theirs, and those of the model's corpora that are not told again.
    """

    corpora: Mapping[str, str]
    utterances: Sequence[Artifact]


def read_ids(stand_ins: StandIns, utterances: Sequence[Artifact]) -> dict[str, str]:
    """Utterance id -> the id of the utterance that was read, of those that are still read.

    Args:
        utterances: of the corpora that were read.
    """
    read = {(corpus, own_id(name, corpus)): name for name, corpus in _names(utterances)}
    told = {name: (stand_ins.corpora.get(corpus, corpus), own_id(name, corpus))
            for name, corpus in _names(stand_ins.utterances)}  # fmt: skip
    return {name: read[place] for name, place in told.items() if place in read}


def as_read(table: pa.Table, ids: Mapping[str, str]) -> pa.Table:
    """A table with the ids of what was read for those of what stands for it."""
    names = [ids[name] for name in table.column("utterance_id").to_pylist()]
    return table.set_column(table.schema.get_field_index("utterance_id"), "utterance_id", pa.array(names, pa.string()))


def as_told(split: pa.Table, ids: Mapping[str, str], only: Sequence[str] | None = None) -> pa.Table:
    """A split with the utterances that stand for its own, each in the same part and class.

    Args:
        only: where given, no others.
    """
    rows = {row["utterance_id"]: row for row in split.to_pylist()}
    kept = ids.keys() if only is None else ids.keys() & set(only)
    found = [rows[ids[name]] | {"utterance_id": name} for name in sorted(kept) if ids[name] in rows]
    return pa.Table.from_pylist(found, split.schema)


def _names(utterances: Sequence[Artifact]) -> list[tuple[str, str]]:
    """(utterance id, corpus) of every row."""
    tables = [pq.read_table(a.path("utterances.parquet"), columns=["utterance_id", "corpus"]) for a in utterances]
    return [(row["utterance_id"], row["corpus"]) for table in tables for row in table.to_pylist()]
