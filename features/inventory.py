"""What the lake has and wants of a plug-in's rows."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow.parquet as pq

from features.audio import VERSION as AUDIO_VERSION
from warehouse import Warehouse
from warehouse.artifact import Artifact, Request
from warehouse.catalog import identity
from warehouse.hashing import short_digest
from warehouse.schema import FAILURES, pair_id
from warehouse.tables import read_table

RETRIES = "retries"
"""Group of the refs that say which failures no longer count."""

_FORK = "_canary"
_FAILURES = "failures.parquet"
_NAMESPACES: dict[str, str] = {}
"""What a plug-in is told as -> its namespace: of the requests of a lake, thousands name the same."""

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


def ids_in(selection: Artifact) -> set[str]:
    """The utterances of a selection."""
    return set(column(selection.path("selection.parquet"), "utterance_id"))


def holding(warehouse: Warehouse, kind: str, step: str, plugin: Any, wanted: set[str] | None = None) -> list[Artifact]:
    """The artifacts with rows or failures of this plug-in, by key: all, or those that hold a wanted input id.

    By key, because requests cite them in this order, and which of several workers was faster must not be in a request.
    """
    key = row_key(step, plugin)
    found = [a for a in warehouse.artifacts(kind) if a.request.step == step and plugin_key_of(a.request) == key]
    found.sort(key=lambda artifact: artifact.key)
    return found if wanted is None else [a for a in found if wanted & _answered(a)]


def _answered(artifact: Artifact) -> set[str]:
    """The input ids an artifact has rows or failures for."""
    return row_ids(artifact) | failed_ids(artifact)


def row_ids(artifact: Artifact) -> set[str]:
    """The input ids an artifact has rows for."""
    return set(column(artifact.part(f"{artifact.request.kind}.parquet"), "input_id"))


def failed_ids(artifact: Artifact) -> frozenset[str]:
    """The input ids an artifact has failures for."""
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


def plugin_key_of(request: Request) -> str:
    """The namespace of the rows that a 'features' or 'intervals' request asks for."""
    plugin = request.params["plugin"]
    told = repr(plugin)
    if told not in _NAMESPACES:
        _NAMESPACES[told] = short_digest(plugin)
    return _NAMESPACES[told]


def treated(warehouse: Warehouse, kind: str, step: str, plugin: Any) -> set[str]:
    """Input ids that this plug-in has answered, or failed on for good: neither is tried again."""
    again = excused(warehouse)
    found: set[str] = set()
    for a in holding(warehouse, kind, step, plugin):
        found |= row_ids(a) | (failed_ids(a) - again.get(a.key, set()))
    return found


def tries(warehouse: Warehouse, kind: str, step: str, plugin: Any) -> Counter[str]:
    """Input id -> how many failures of it do not count any more: the number of its next attempt."""
    again = excused(warehouse)
    held = holding(warehouse, kind, step, plugin) if again else ()
    return Counter(i for a in held for i in again.get(a.key, ()))


def excused(warehouse: Warehouse) -> dict[str, set[str]]:
    """Key of an artifact -> the input ids whose failures in it are tried again (`features.retry`)."""
    return {key: set(ref["input_ids"]) for key, ref in warehouse.refs(RETRIES).items()}


def failed(artifacts: Sequence[Artifact]) -> list[dict[str, Any]]:
    """The failures rows of these artifacts that count."""
    return [row for _, row in failures_of(artifacts)]


def failures_of(artifacts: Sequence[Artifact]) -> list[tuple[Artifact, dict[str, Any]]]:
    """Each failures row of these artifacts with the one that holds it, but for those that were tried again and have a
    newer answer among them."""
    attempts = {a.key: a.request.params.get("attempt", 0) for a in artifacts}
    newest: dict[tuple[str, str], int] = {}
    for a in artifacts if any(attempts.values()) else ():
        for i in _answered(a):
            place = (plugin_key_of(a.request), i)
            newest[place] = max(newest.get(place, 0), attempts[a.key])
    return [
        (a, row)
        for a in artifacts if _FAILURES in a.files
        for row in _failures(a)
        if not newest or newest[plugin_key_of(a.request), row["input_id"]] == attempts[a.key]
    ]  # fmt: skip
