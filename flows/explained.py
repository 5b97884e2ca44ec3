"""Why the models of a report answer as they do: what their fits tell of it, put together over folds and seeds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any

from models.orders import explain_request
from warehouse.artifact import Artifact, Work

if TYPE_CHECKING:
    from flows.line import Line
    from flows.recipe import Recipe

FILE = "explanations.json"

EXPLAINABLE = ("cmd", "cross_attention", "mmer", "mult", "multilevel", "pooled")
"""Students that compare streams, weigh layers, or have modalities that attend to each other, most ways they are set."""


def explanations_of(line: Line) -> dict[str, list[Artifact]]:
    """Model -> the explanations of each of its fits, for the models that the report shall explain."""
    found = {}
    for name in line.recipe.report.explain if line.recipe.report else ():
        entry = line.recipe.models[name]
        shards = {role: [a.digest for a in own] for role, own in line.shards(name).items()}
        requests = [
            explain_request(
                entry.student, entry.fields, fit.checkpoint.digest, shards=shards, split=fit.split.digest
            )
            for fit in line.model(name)
        ]  # fmt: skip
        found[name] = line.doer.step(f"explain {name}", [Work(request) for request in requests])
    return found


def unexplained(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """(field, problem) of what a report cannot explain."""
    for name in recipe.report.explain if recipe.report else ():
        if name not in recipe.models or name not in recipe.report.models:  # type: ignore[union-attr]
            yield "report.explain", f"names '{name}', which is no model that the report has by its own name"
        elif recipe.models[name].student not in EXPLAINABLE:
            able = ", ".join(EXPLAINABLE)
            yield "report.explain", f"names '{name}', but of its kind nothing can be told; of these it can: {able}"
        elif "test" not in recipe.protocol(name).judged_parts:
            yield "report.explain", f"names '{name}', whose protocol has no test part to be explained"


def told_of(name: str, fits: Sequence[Artifact]) -> dict[str, Any]:
    """What a report says of a model: which stream dominates, by the class that is told, over all fits; the mean weight
    of each layer over all fits; single utterances of the first.

    Source: Kim & Kang 2022, tables 6 and 7.
    """
    told = [json.loads(fit.path(FILE).read_text(encoding="utf-8")) for fit in fits]
    streams = [row for one in told for row in one["streams"]]
    return {
        "model": name,
        "n_fits": len(fits),
        "dominance": [
            row for label in (None, *told[0]["classes"])
            for row in _dominance([one for one in streams if label in (None, one["told"])], label)
        ],
        "layers": {
            role: [fmean(weights) for weights in zip(*(one["layers"][role] for one in told), strict=True)]
            for role in told[0]["layers"]
        },
        "utterances": told[0]["utterances"],
    }  # fmt: skip


def _dominance(rows: Sequence[Mapping[str, Any]], label: str | None) -> Iterator[dict[str, Any]]:
    """One row per stream: the share of utterances that it dominates, and how many tokens these have."""
    for stream in rows[0]["gradients"] if rows else ():
        own = [row["n_tokens"] for row in rows if row["dominant"] == stream]
        yield {
            "told": label, "stream": stream, "n": len(rows), "share": len(own) / len(rows),
            "mean_tokens": fmean(own) if own else None, "sd_tokens": pstdev(own) if own else None,
        }  # fmt: skip
