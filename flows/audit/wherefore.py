"""Why something was, or would be, computed again: of an artifact, and of every step of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flows.doer import Step
from warehouse import Warehouse
from warehouse.artifact import Artifact
from warehouse.audit.why import Difference, differences, environment_differences, nearest

NOTHING_LIKE_IT = "nothing like it in the lake"


def why_apart(artifact: Artifact, other: Artifact) -> list[Difference]:
    """Where two artifacts differ: in what their keys are digests of, in what is only recorded ('environment.…'), and
    whether anything else came of it ('digest')."""
    found = differences(artifact.request, other.request) + environment_differences(artifact, other)
    if artifact.digest != other.digest:
        found.append(Difference("digest", artifact.digest, other.digest))
    return found


def why_steps(warehouse: Warehouse, steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Of every step of a plan that something must be made for, where the first request that nothing answers differs
    from the nearest artifact; `than` is its key. A step that waits for another says for which."""
    rows: list[dict[str, Any]] = []
    for step in steps:
        row = {"step": step.name, "new": step.n_new, "where": "", "asked": "", "there": "", "than": ""}
        if step.waits_for:
            rows.append(row | {"where": f"waits for: {step.waits_for}"})
        elif step.works:
            request = step.works[0].request
            near = nearest(warehouse, request)
            found = differences(request, near.request) if near else []
            told = {"than": near.key} if near else {"where": NOTHING_LIKE_IT}
            rows += [row | told | {"where": d.where, "asked": d.asked, "there": d.there} for d in found] or [row | told]
    return rows
