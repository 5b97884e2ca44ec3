"""What a lake holds of features: which extractor, under which name, how much, and what it could not treat."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from warehouse import Warehouse
from warehouse.hashing import short_digest
from warehouse.merged import live

COLUMNS = ("name", "step", "fields", "rows", "failures", "hours", "speed", "bytes", "canary", "licence")


def feature_list(warehouse: Warehouse) -> list[dict[str, Any]]:
    """One row per namespace of an extractor, those with a name first.

    `name` is what a recipe calls it ('' where no recipe does any more), `fields` what its identity lists, `rows` and
    `failures` count input ids, `hours` is the sound of the current corpora that it has rows of (None for one that
    reads only), `speed` how many hours of it were treated in an hour of work, decoding and loading included (None where
    no work was recorded), `bytes` is what lies on disk. `canary` is 'ok', 'forked' (rows that a library's other numbers
    keep apart) or 'never run', `licence` that of the checkpoint, as its recipe has it.
    """
    names: dict[str, list[str]] = {}
    for name, ref in warehouse.refs("features").items():
        names.setdefault(ref["plugin_key"], []).append(name)
    licences: dict[str, set[str]] = {}
    for ref in warehouse.refs("weights").values():
        licences.setdefault(ref["digest"], set()).add(ref["licence"])
    proven = {short_digest(canary.request.params["plugin"]) for canary in warehouse.artifacts("canary")}
    rows: dict[str, dict[str, Any]] = {}
    work_s: dict[str, float | None] = {}
    for artifact in live(warehouse.artifacts("features")):
        plugin = artifact.request.params["plugin"]
        key = short_digest(plugin)
        row = rows.setdefault(key, {
            "name": ", ".join(sorted(names.get(key, []))), "step": plugin["step"],
            "fields": json.dumps(plugin["fields"], ensure_ascii=False), "rows": 0, "failures": 0, "hours": None,
            "speed": None, "bytes": 0, "canary": _status(plugin, proven),
            "licence": ", ".join(sorted(licences.get(plugin["fields"].get("weights"), set()) - {""})), "key": key,
        })  # fmt: skip
        row["bytes"] += artifact.n_bytes
        work_s[artifact.key] = artifact.environment.get("work_s")
    timed = {key: [0.0, 0.0] for key in rows}  # hours of sound, seconds of work
    for held in warehouse.table(_ROWS).to_pylist():
        row, own_s = rows[held["plugin_key"]], work_s[held["artifact"]]
        row["rows"] += held["rows"]
        if held["hours"] is not None:
            row["hours"] = (row["hours"] or 0.0) + held["hours"]
            if own_s:
                timed[row["key"]][0] += held["hours"]
                timed[row["key"]][1] += own_s
    for refused in warehouse.table(_REFUSED).to_pylist():
        if refused["plugin_key"] in rows:
            rows[refused["plugin_key"]]["failures"] = refused["failures"]
    for key, (hours, seconds) in timed.items():
        rows[key]["speed"] = round(hours * 3600 / seconds, 1) if seconds else None
    return sorted(rows.values(), key=lambda row: (row["name"] == "", row["name"], row["step"], row["key"]))


def _status(plugin: Mapping[str, Any], proven: set[str]) -> str:
    if "canary" in plugin:
        return "forked"
    return "ok" if short_digest(plugin) in proven else "never run"


def failure_list(warehouse: Warehouse) -> list[dict[str, Any]]:
    """One row per step and reason, the most frequent first; reasons that differ in their numbers only are one.

    `reason` is that of the `first` utterance by id.
    """
    return warehouse.table(_REASONS).to_pylist()


_ROWS = """
    WITH sound AS (SELECT DISTINCT audio_id, text_id, end_s - start_s AS span_s FROM utterances WHERE audio_id <> ''),
    heard AS (
        SELECT id, any_value(span_s) AS span_s FROM (
            SELECT audio_id AS id, span_s FROM sound UNION ALL SELECT pair_id(audio_id, text_id), span_s FROM sound
        ) GROUP BY id
    )
    SELECT plugin_key, artifact, count(*) AS rows, sum(span_s) / 3600 AS hours
    FROM features LEFT JOIN heard ON heard.id = input_id GROUP BY ALL
"""

_REFUSED = """
    SELECT plugin_key, count(DISTINCT input_id) AS failures FROM failures JOIN plugins USING (artifact) GROUP BY ALL
"""

_REASONS = r"""
    SELECT step, arg_min(reason, utterance_id) AS reason, count(DISTINCT utterance_id) AS utterances,
           min(utterance_id) AS first
    FROM failures GROUP BY step, regexp_replace(reason, '[0-9]+(\.[0-9]+)?', '0', 'g')
    ORDER BY utterances DESC, step, reason
"""
