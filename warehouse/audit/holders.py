"""Which artifacts hold a row about an utterance: of any reading that the lake ever had, told again or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from warehouse.artifact import Artifact
from warehouse.schema import pair_id

KEYED: Mapping[str, tuple[str, ...]] = {
    "utterances": ("utterance_id",),
    "labels": ("utterance_id",),
    "split": ("utterance_id",),
    "truth": ("utterance_id",),
    "votes": ("utterance_id",),
    "selection": ("utterance_id",),
    "predictions": ("utterance_id",),
    "features": ("input_id",),
    "intervals": ("input_id",),
    "index": ("utterance_id", "input_id"),
    "failures": ("utterance_id", "input_id"),
}
"""Table (a file's name without '.parquet') -> the columns that say what a row is about."""


def rows_where(
    artifacts: Iterable[Artifact], table: str, wanted: pc.Expression, columns: Sequence[str]
) -> list[dict[str, Any]]:
    """The rows of one table of many artifacts for which `wanted` holds, each with its `artifact`, a key.

    One scan over all files, which reads of each only these columns; a column that a file lacks is null.
    """
    import pyarrow.dataset as ds  # takes as long to import as small questions to answer

    file = f"{table}.parquet"
    of_path = {str(a.path(file)): a.key for a in artifacts if file in a.files}
    if not of_path:
        return []
    kinds = pa.schema([(column, _KINDS.get(column, pa.string())) for column in columns])
    files = ds.dataset(list(of_path), schema=kinds, format="parquet")
    found = files.to_table(columns=[*columns, "__filename"], filter=wanted).to_pylist()
    return [row | {"artifact": of_path[row.pop("__filename")]} for row in found]


def one_of(column: str, values: Collection[str]) -> pc.Expression:
    """That a column of text has one of these values; of none nothing has."""
    return pc.field(column).isin(pa.array(list(values), pa.string()))


_KINDS = {
    "start_s": pa.float64(), "end_s": pa.float64(), "attributes": pa.map_(pa.string(), pa.string()),
    "n_bytes": pa.int64(),
}  # fmt: skip

_CLIP = ("utterance_id", "corpus", "unit", "recording_id", "path", "start_s", "end_s", "audio_id", "text", "text_id",
         "speaker_id", "attributes")  # fmt: skip


def clips_where(artifacts: Sequence[Artifact], column: str, values: Collection[str]) -> list[dict[str, Any]]:
    """The utterances, in any reading, whose column has one of these values, and all that are told from them again."""
    readings = [a for a in artifacts if a.request.kind == "utterances"]
    found = rows_where(readings, "utterances", one_of(column, values), _CLIP)
    new = found
    while new:
        digests = {a.digest for a in readings if a.key in {row["artifact"] for row in new}}
        told = [a for a in readings if digests & set(a.request.inputs.get("source", ()))]
        source = pc.map_lookup(pc.field("attributes"), pa.scalar("source"), "first")
        new = rows_where(
            told, "utterances", source.isin(pa.array([row["utterance_id"] for row in new], pa.string())), _CLIP
        )
        found = found + new
    return found


def input_ids_of(clip: Mapping[str, Any]) -> set[str]:
    """What rows about an utterance may be keyed by: its sound, its words, or both."""
    heard = {clip["audio_id"], pair_id(clip["audio_id"], clip["text_id"])} if clip["audio_id"] else set()
    return heard | {clip["text_id"]}


def holders(
    artifacts: Sequence[Artifact], utterance_ids: Collection[str], input_ids: Collection[str]
) -> dict[str, Counter[str]]:
    """Key -> file -> how many of its rows are about these utterances or inputs, of every artifact that has any.

    Which bytes an artifact holds is asked of the bytes, not of what it was made from: a text that two utterances share
    is one row, and stands where either of them put it.
    """
    values = {"utterance_id": utterance_ids, "input_id": input_ids}
    found: dict[str, Counter[str]] = {}
    for table, columns in KEYED.items():
        about = [one_of(column, values[column]) for column in columns]
        wanted = about[0] | about[1] if len(about) == 2 else about[0]
        for row in rows_where(artifacts, table, wanted, columns):
            found.setdefault(row["artifact"], Counter())[f"{table}.parquet"] += 1
    return found
