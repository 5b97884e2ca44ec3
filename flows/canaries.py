"""The canaries of a lake: asked for before a feature is extracted, and listed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from features.canary import awaited, canary_work, settled, told, verdict_of
from flows.doer import Doer, Waits
from warehouse import Warehouse
from warehouse.artifact import Artifact
from warehouse.hashing import short_digest

COLUMNS = ("name", "step", "environment", "moved", "drift", "where", "namespace", "when")


def asked(
    doer: Doer, warehouse: Warehouse, name: str, step: str, plugin: Any, device: str, checkpoint: Path | None
) -> Any:
    """The extractor of a feature with its rows where its canary of this environment says.

    A plan runs no canary. One that has not run, and will not be the first, may say other numbers: where the rows will
    lie is not known before, so the feature waits for it.

    Args:
        name: of the feature.

    Raises:
        Waits: see above.
    """
    asking = f"canary {name}"
    work = canary_work(warehouse, step, plugin, device, checkpoint)
    try:
        (canary,) = doer.step(asking, [work])
    except Waits:
        moved = awaited(warehouse, work.request)
        doer.remark(asking, "to be run" + ("" if moved is None else f": {told(moved)}"))
        if moved is None:
            return plugin
        raise
    doer.remark(asking, verdict_of(canary).sentence)
    return settled(plugin, canary)


def canary_list(warehouse: Warehouse) -> list[dict[str, Any]]:
    """One row per canary, those of one extractor together, oldest first.

    `name` is what a recipe calls the extractor ('' where no recipe does any more). `moved` says what differs from the
    environment of its first canary, `drift` by how much the numbers do (the largest change relative to the scale of its
    dimension; None where shapes differ, see `where`), and `namespace` where its rows lie: 'first', 'same' as the first,
    or the beginning of the fork's name.
    """
    names: dict[str, list[str]] = {}
    for name, ref in warehouse.refs("features").items():
        names.setdefault(ref["plugin_key"], []).append(name)
    rows = [_row(canary, names) for canary in warehouse.artifacts("canary")]
    return sorted(rows, key=lambda row: (row["step"], row["fields"], row["when"]))


def _row(canary: Artifact, names: dict[str, list[str]]) -> dict[str, Any]:
    verdict, params = verdict_of(canary), canary.request.params
    plugin = params["plugin"] | ({"canary": verdict.namespace} if verdict.namespace else {})
    libraries = params["environment"]["libraries"] | {"device": params["environment"]["device"]}
    return {
        "name": ", ".join(sorted(names.get(short_digest(plugin), []))),
        "step": canary.request.step,
        "fields": json.dumps(plugin["fields"], ensure_ascii=False),
        "environment": ", ".join(f"{name} {libraries[name]}" for name in sorted(libraries)),
        "moved": told(verdict.moved),
        "drift": verdict.drift,
        "where": verdict.where,
        "namespace": verdict.namespace[:12] or ("same" if verdict.reference else "first"),
        "when": canary.created_at,
        "key": canary.key,
        "plugin_key": short_digest(plugin),
        "refused": dict(verdict.refused),
    }
