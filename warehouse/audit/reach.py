"""What a lake must keep: all that names, and whatever else is given, reach upward.

Names reach what they point at: the corpora as last ingested, placed checkpoints, each recipe's last report with its
metrics, the failures that are tried again, bundles. Rows are found by who made them and not by citation, so rows of the
extractors and aligners that names stand for stay while they are about an utterance of a current corpus. Canaries stay:
they are small, and what later environments are compared with. A tainted model stays with all that was made from it for
as long as its taint stands: the purge that says so may have taken the report that named it. What stays keeps all that
it was made from.
"""

from __future__ import annotations

import glob
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from warehouse.artifact import Artifact
from warehouse.audit.holders import asked_of
from warehouse.audit.lineage import closure_down, closure_up
from warehouse.audit.tombstones import PURGED, TAINTED, TOMBSTONES
from warehouse.hashing import short_digest
from warehouse.merged import entries, superseded
from warehouse.refs import read_ref
from warehouse.schema import PAIR_ID
from warehouse.store import Warehouse

CANARIES = ("canary", "first_canary")
_ROWS = ("features", "intervals")


def reached(
    warehouse: Warehouse, artifacts: Sequence[Artifact], also: Collection[str] = (), plugin_keys: Collection[str] = ()
) -> set[str]:
    """The keys of the artifacts that must stay.

    Args:
        artifacts: all of the lake.
        also: keys of more that must stay.
        plugin_keys: of more extractors and aligners whose rows must.

    Raises:
        UnreadableRef: a name is damaged: what it points at cannot be known.
    """
    copies = superseded(artifacts) - set(also)
    artifacts = [a for a in artifacts if a.key not in copies]  # what lies in a merged one is kept there
    named = _pointed_at(warehouse, artifacts) | _tainted(warehouse, artifacts)
    canaries = {a.key for a in artifacts if a.request.kind in CANARIES}
    found = closure_up(artifacts, named | canaries | set(also), whole=True)
    makers = {ref["plugin_key"] for group in ("features", "aligners") for ref in warehouse.refs(group).values()}
    rows = [a for a in artifacts if a.key not in found and _maker(a) in makers | set(plugin_keys)]
    if rows:
        found = closure_up(artifacts, found | _current(warehouse, artifacts, rows), whole=True)
    return found - copies


def _pointed_at(warehouse: Warehouse, artifacts: Sequence[Artifact]) -> set[str]:
    """The keys of the artifacts whose key or digest any name holds."""
    words: set[str] = set()
    for path in (warehouse.root / "refs").rglob("[!.]*.json"):
        group = path.parent.name
        if group not in (TOMBSTONES, PURGED, TAINTED):  # which tell of artifacts, and hold none
            words |= {*_words(read_ref(path)), *([path.stem] if group == "retries" else [])}
    held = {a.key for a in artifacts for one in entries(a) if one["key"] in words or one["digest"] in words}
    return held | {a.key for a in artifacts if a.key in words or a.digest in words}


def _tainted(warehouse: Warehouse, artifacts: Sequence[Artifact]) -> set[str]:
    """The keys of tainted models and of all that was made from them."""
    keys = {path.stem for path in (warehouse.root / "refs" / TAINTED).glob("[!.]*.json")}
    marked = {a.key for a in artifacts if a.key in keys}
    return closure_down(artifacts, marked) if marked else marked


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _words(one)
    elif isinstance(value, list):
        for one in value:
            yield from _words(one)


def _maker(artifact: Artifact) -> str:
    """Whose rows an artifact has; '' where it has none of the kind."""
    if artifact.request.kind not in _ROWS or "plugin" not in artifact.request.params:
        return ""
    return short_digest(artifact.request.params["plugin"])


def _current(warehouse: Warehouse, artifacts: Sequence[Artifact], rows: Sequence[Artifact]) -> set[str]:
    """The keys of those that have a row, or a failure, about an utterance of a corpus as last ingested: made for it, or
    for an earlier reading that it shares a sound or a text with."""
    digests = {digest for ref in warehouse.refs("corpora").values() for digest in ref["utterances"]}
    made_for = {a.key for a in rows if digests.intersection(a.request.inputs.get("utterances", ()))}
    tables = {
        str(a.path(name)): a.key
        for a in rows if a.key not in made_for
        for name in (f"{a.request.kind}.parquet", "failures.parquet") if name in a.files
    }  # fmt: skip
    readings = [
        a.path("utterances.parquet") for a in artifacts if a.request.kind == "utterances" and a.digest in digests
    ]
    if not (tables and readings):
        return made_for
    query = f"""
        , heard AS (
            SELECT audio_id AS audio, text_id AS words FROM read_parquet($readings, hive_partitioning = false)
        ),
        ids AS (
            SELECT audio AS id FROM heard UNION ALL SELECT words FROM heard
            UNION ALL SELECT {PAIR_ID} FROM heard WHERE audio <> ''
        )
        SELECT DISTINCT _file FROM rows SEMI JOIN ids ON input_id = id WHERE input_id <> ''
    """
    values = {"readings": [glob.escape(str(path)) for path in readings]}
    return made_for | {tables[path] for (path,) in asked_of(tables, ("input_id",), query, values)}
