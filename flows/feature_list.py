"""What a lake holds of features: which extractor, under which name, how much, and what it could not treat."""

from __future__ import annotations

import json
from typing import Any

from warehouse import Warehouse
from warehouse.hashing import short_digest

COLUMNS = ("name", "step", "fields", "rows", "failures", "hours", "bytes")


def feature_list(warehouse: Warehouse) -> list[dict[str, Any]]:
    """One row per namespace of an extractor, those with a name first.

    `name` is what a recipe calls it ('' where no recipe does any more), `fields` what its identity lists, `rows` and
    `failures` count input ids, `hours` is the sound of the current corpora that it has rows of (None for one that
    reads only), `bytes` is what lies on disk.
    """
    names: dict[str, list[str]] = {}
    for name, ref in warehouse.refs("features").items():
        names.setdefault(ref["plugin_key"], []).append(name)
    rows: dict[str, dict[str, Any]] = {}
    for artifact in warehouse.artifacts("features"):
        plugin = artifact.request.params["plugin"]
        key = short_digest(plugin)
        row = rows.setdefault(key, {
            "name": ", ".join(sorted(names.get(key, []))), "step": artifact.request.step,
            "fields": json.dumps(plugin["fields"], ensure_ascii=False), "bytes": 0, "key": key,
        })  # fmt: skip
        row["bytes"] += artifact.n_bytes
    counted = {row["plugin_key"]: row for row in warehouse.table(_COUNTS).to_pylist()}
    nothing = {"rows": 0, "failures": 0, "hours": None}
    found = [row | {name: counted.get(key, nothing)[name] for name in nothing} for key, row in rows.items()]
    return sorted(found, key=lambda row: (row["name"] == "", row["name"], row["step"], row["key"]))


def failure_list(warehouse: Warehouse) -> list[dict[str, Any]]:
    """One row per step and reason, the most frequent first; reasons that differ in their numbers only are one.

    `reason` is that of the `first` utterance by id.
    """
    return warehouse.table(_REASONS).to_pylist()


_COUNTS = """
    WITH answered AS (SELECT DISTINCT plugin_key, input_id FROM features),
    refused AS (
        SELECT plugin_key, count(DISTINCT input_id) AS failures
        FROM failures JOIN plugins USING (artifact) GROUP BY ALL
    ),
    sound AS (SELECT DISTINCT audio_id, text_id, end_s - start_s AS span_s FROM utterances WHERE audio_id <> ''),
    heard AS (
        SELECT id, any_value(span_s) AS span_s FROM (
            SELECT audio_id AS id, span_s FROM sound UNION ALL SELECT pair_id(audio_id, text_id), span_s FROM sound
        ) GROUP BY id
    )
    SELECT coalesce(plugin_key, refused.plugin_key) AS plugin_key, coalesce(any_value(failures), 0) AS failures,
           count(input_id) AS rows, sum(span_s) / 3600 AS hours
    FROM answered LEFT JOIN heard ON heard.id = input_id FULL JOIN refused USING (plugin_key) GROUP BY ALL
"""

_REASONS = r"""
    SELECT step, arg_min(reason, utterance_id) AS reason, count(DISTINCT utterance_id) AS utterances,
           min(utterance_id) AS first
    FROM failures GROUP BY step, regexp_replace(reason, '[0-9]+(\.[0-9]+)?', '0', 'g')
    ORDER BY utterances DESC, step, reason
"""
