"""What the lake has and wants of a plug-in's rows."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow.parquet as pq

from features.audio import VERSION as AUDIO_VERSION
from warehouse import Warehouse
from warehouse.artifact import Artifact
from warehouse.catalog import identity
from warehouse.hashing import short_digest
from warehouse.merged import STEP as MERGED
from warehouse.merged import entries, held_ids, live, own_ids, pieces
from warehouse.schema import FAILURES, pair_id
from warehouse.tables import read_table, reading

RETRIES = "retries"
"""Group of the refs that say which failures no longer count."""

_FORK = "_canary"
_FAILURES = "failures.parquet"
_WITHOUT: set[str] = set()
"""Digests of failures files without a row: of few kinds, for the rows are what differs."""


def input_id(utterance: Mapping[str, Any], needs: str) -> str:
    """What a row about this utterance is keyed by, for a plug-in that needs 'audio', 'text' or the 'pair'; '' where it
    needs sound and the utterance has none, so that there can be no row."""
    if needs == "pair":
        if not utterance["audio_id"]:
            return ""
        return pair_id(utterance["audio_id"], utterance["text_id"])
    return utterance[f"{needs}_id"]


def row_identity(step: str, plugin: Any) -> dict[str, Any]:
    """The list that the namespace of a plug-in's rows is the digest of: its file, version and fields, for one that
    hears, the version of how recordings are decoded, and for one that is `forked`, by which canary."""
    heard = {} if plugin.needs == "text" else {"audio": AUDIO_VERSION}
    fork = getattr(plugin, _FORK, "")
    return identity(step, plugin) | heard | ({"canary": fork} if fork else {})


def forked(plugin: Any, canary: str) -> Any:
    """The same plug-in with rows in a namespace apart (`features.canary`): whoever is given it asks for those and finds
    no others."""
    copied = copy.copy(plugin)
    vars(copied)[_FORK] = canary  # no field: nobody declares it
    return copied


def checkpoint_inputs(plugin: Any) -> dict[str, tuple[str, ...]]:
    """What a request of a plug-in cites beside what it is applied to: the checkpoint, of one that reads one, and what
    its own `cites` says."""
    checkpoint = {"checkpoint": (plugin.weights,)} if getattr(plugin, "reads_checkpoint", False) else {}
    cites = getattr(plugin, "cites", dict)
    return checkpoint | cites()


def row_key(step: str, plugin: Any) -> str:
    """The namespace of a plug-in's rows."""
    return short_digest(row_identity(step, plugin))


def wanted_ids(utterances: Sequence[Artifact], needs: str) -> set[str]:
    """The input ids of all these utterances that have one."""
    found: set[str] = set()
    for a in utterances:
        path = a.path("utterances.parquet")
        if needs == "pair":
            ids = zip(column(path, "audio_id"), column(path, "text_id"), strict=True)
            found |= {input_id({"audio_id": audio, "text_id": text}, needs) for audio, text in ids}
        else:
            found |= set(column(path, f"{needs}_id"))
    return found - {""}


def column(path: Path | BinaryIO, name: str) -> list[Any]:
    """One column of a Parquet file; not by `pq.read_table`, which takes four times as long for a file of a batch."""
    with pq.ParquetFile(path) as file:
        return file.read(columns=[name]).column(0).to_pylist()


def n_rows(path: Path) -> int:
    """How many rows a Parquet file has.

    Raises:
        SchemaMismatch: it is missing or is damaged.
    """
    with reading(path), pq.ParquetFile(path) as file:
        n: int = file.metadata.num_rows
    return n


def ids_in(selection: Artifact) -> set[str]:
    """The utterances of a selection."""
    return set(column(selection.path("selection.parquet"), "utterance_id"))


def holding(warehouse: Warehouse, kind: str, step: str, plugin: Any) -> list[Artifact]:
    """The artifacts with rows or failures of this plug-in, by key."""
    key = row_key(step, plugin)
    own = [a for a in warehouse.artifacts(kind) if a.request.step in (step, MERGED) and a.request.plugin_key == key]
    return sorted(live(own), key=lambda artifact: artifact.key)


def made_by(warehouse: Warehouse, kind: str, step: str, plugin: Any) -> list[Artifact]:
    """`holding`, as requests cite it: of merged artifacts the pieces. By key, because requests cite them in this order,
    and which of several workers was faster must not be in a request."""
    found = {p.key: p for a in holding(warehouse, kind, step, plugin) for p in pieces(a)}
    return [found[key] for key in sorted(found)]


def ids_by(
    artifacts: Sequence[Artifact], ids_of: Callable[[Artifact], Iterable[str]]
) -> Iterator[tuple[Artifact, set[str]]]:
    """Each artifact with what `ids_of` gives of it; of pieces, which come together, it is asked once and told apart."""
    for own in _together(artifacts):
        ids = set(ids_of(own[0]))
        yield from ((a, own_ids(a, ids)) for a in own)


def _together(artifacts: Sequence[Artifact]) -> Iterable[list[Artifact]]:
    """Those that lie in one folder, which is then read once."""
    places: dict[Path, list[Artifact]] = {}
    for a in artifacts:
        places.setdefault(a.folder, []).append(a)
    return places.values()


def _answered(artifact: Artifact) -> set[str]:
    """The input ids an artifact has rows or failures for."""
    return row_ids(artifact) | failed_ids(artifact)


def row_ids(artifact: Artifact) -> set[str]:
    """The input ids that the file of an artifact has rows for."""
    return set(column(artifact.part(f"{artifact.request.kind}.parquet"), "input_id"))


def failed_ids(artifact: Artifact) -> frozenset[str]:
    """The input ids that the file of an artifact has failures for."""
    return frozenset(row["input_id"] for row in _failures(artifact))


def _failures(artifact: Artifact) -> list[dict[str, Any]]:
    """The failures rows of an artifact. Nearly all have the same file, that of none, which is read once."""
    sha256 = artifact.files[_FAILURES]["sha256"]
    if sha256 in _WITHOUT:
        return []
    rows: list[dict[str, Any]] = read_table(artifact.path(_FAILURES), FAILURES).to_pylist()
    if not rows:
        _WITHOUT.add(sha256)
    return rows


def treated(warehouse: Warehouse, kind: str, step: str, plugin: Any) -> set[str]:
    """Input ids that this plug-in has answered, or failed on for good: neither is tried again."""
    again = excused(warehouse)
    found: set[str] = set()
    for a in holding(warehouse, kind, step, plugin):
        found |= row_ids(a) | (failed_ids(a) - excused_in(again, a))
    return found


def tries(warehouse: Warehouse, kind: str, step: str, plugin: Any) -> Counter[str]:
    """Input id -> how many failures of it do not count any more: the number of its next attempt. A piece that lies in
    two merged artifacts failed once."""
    again = excused(warehouse)
    held = holding(warehouse, kind, step, plugin) if again else ()
    return Counter(i for key in set[str]().union(*map(_piece_keys, held)) & again.keys() for i in again[key])


def excused(warehouse: Warehouse) -> dict[str, set[str]]:
    """Key of an artifact -> the input ids whose failures in it are tried again (`features.retry`)."""
    return {key: set(ref["input_ids"]) for key, ref in warehouse.refs(RETRIES).items()}


def excused_in(again: Mapping[str, set[str]], artifact: Artifact) -> set[str]:
    """Those of an artifact; of a merged one those of its pieces."""
    return set[str]().union(*(again[key] for key in _piece_keys(artifact) & again.keys())) if again else set()


def _piece_keys(artifact: Artifact) -> set[str]:
    """The keys under which failures in an artifact are excused. They are those of pieces, because a merged artifact is
    merged again under another one."""
    return {one["key"] for one in entries(artifact)} or {artifact.key}


def piece_of_each(artifact: Artifact) -> Mapping[str, str]:
    """Input id -> the piece that answered it, by key, of a merged artifact; of any other nothing."""
    held = held_ids(artifact) if entries(artifact) else {}
    return {one: key for key, ids in held.items() for one in ids}


def failed(artifacts: Sequence[Artifact]) -> list[dict[str, Any]]:
    """The failures rows of these artifacts that count."""
    return [row for _, row in failures_of(artifacts)]


def failures_of(artifacts: Sequence[Artifact]) -> list[tuple[Artifact, dict[str, Any]]]:
    """Each failures row of these artifacts with the one that holds it, but for those that were tried again and have a
    newer answer among them."""
    having = [a for a in artifacts if _FAILURES in a.files and a.files[_FAILURES]["sha256"] not in _WITHOUT]
    own = {a.key: rows for together in _together(having) for a, rows in _shared_out(together)}
    if not any(own.values()):
        return []
    attempts = {a.key: a.request.params.get("attempt", 0) for a in artifacts}
    newest: dict[tuple[str, str], int] = {}
    for a, ids in ids_by(artifacts, _answered) if any(attempts.values()) else ():
        for i in ids:
            place = (a.request.plugin_key, i)
            newest[place] = max(newest.get(place, 0), attempts[a.key])
    return [
        (a, row)
        for a in having
        for row in own[a.key]
        if not newest or newest[a.request.plugin_key, row["input_id"]] == attempts[a.key]
    ]


def _shared_out(together: Sequence[Artifact]) -> Iterator[tuple[Artifact, list[dict[str, Any]]]]:
    """The failures rows of each of those that lie in one folder, in the order of the file."""
    rows = _failures(together[0])
    places: dict[str, list[int]] = {}
    for n, row in enumerate(rows):
        places.setdefault(row["input_id"], []).append(n)
    failed = set(places)
    for a in together:
        yield a, [rows[n] for n in sorted(n for one in own_ids(a, failed) for n in places[one])]
