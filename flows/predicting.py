"""Predictions of whatever a report names: of a model, of a grid's chosen point, of an average."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flows.average import averaged_predictions
from flows.choice import chosen_predictions
from flows.score import Fitted
from models.orders import predict_request
from warehouse.artifact import Artifact, Work

if TYPE_CHECKING:
    from flows.line import Line


def predictions_of(line: Line, name: str, parts: Sequence[str] = ()) -> list[tuple[Fitted, Artifact]]:
    """The predictions of every fold and seed.

    Args:
        parts: of a model, those to predict; without them, all that its protocol judges.
    """
    recipe = line.recipe
    if name in recipe.grids:
        return chosen_predictions(line, name)
    if recipe.report and name in recipe.report.averages:
        return averaged_predictions(line, name)
    fitted, entry = line.model(name), recipe.models[name]
    shards = {role: [a.digest for a in own] for role, own in line.shards(name).items()}
    judged = ["dev", "test"] if entry.select_on == "test" else recipe.protocol(name).judged_parts
    requests = [
        predict_request(
            entry.student, entry.fields, fit.checkpoint.digest, shards=shards, split=fit.split.digest,
            parts=parts or judged,
        )
        for fit in fitted
    ]  # fmt: skip
    made = line.doer.step(" ".join(("predict", name, *parts)), [Work(request) for request in requests])
    return list(zip(fitted, made, strict=True))
