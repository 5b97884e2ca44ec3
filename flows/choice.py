"""The choice of a grid's point: by the part that models are selected on, never by what judges them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from flows.firewall import selected_on
from flows.points import point_table
from flows.reporting import truths_of
from flows.score import Fitted, Judgement, metrics_work
from flows.unfitted import refuse_unfitted
from warehouse.artifact import Artifact
from warehouse.errors import InvalidField
from warehouse.schema import METRICS
from warehouse.tables import read_table

if TYPE_CHECKING:
    from flows.line import Line


@dataclass(frozen=True)
class Choice:
    """Which point of a grid was chosen, and by what.

    Args:
        best: the name of the point's model.
        table: as `flows.points.point_table` gives it, with the part that the models are `selected_on`.
        metrics: of all points on dev.
    """

    best: str
    table: Mapping[str, Any]
    metrics: Artifact


def choice_of(line: Line, grid: str) -> Choice:
    """Chooses the point with the greatest mean of its protocol's first metric on dev, over folds and seeds; of equal
    ones the first. All points are predicted on dev, and none on test.

    Raises:
        InvalidField: the points are not chosen on the same utterances.
    """
    points, recipe = line.recipe.grids[grid], line.recipe
    predicted = [pair for point in points for pair in line.predictions(point.name, ("dev",))]
    for point in points:
        refuse_unfitted(line, point.name, f"the choice of '{grid}'")
    if len({(fit.fold, fit.split.digest) for fit, _ in predicted}) > len({fit.fold for fit, _ in predicted}):
        problem = (
            "has points that are not chosen on the same utterances, for not every input could be made of every "
            "utterance: their figures cannot be compared"
        )
        raise InvalidField(f"recipe '{recipe.name}'", f"models.{grid}.grid", problem)
    rules = {point.name: recipe.protocol(point.name) for point in points}
    firsts = {fit.model: artifact for fit, artifact in reversed(predicted)}
    selected = {name: selected_on(line.warehouse, artifact) for name, artifact in firsts.items()}
    judgement = Judgement(rules, truths_of(line, predicted, f"truth for {grid}"), selected)
    metrics = line.doer.step(f"choose {grid}", [metrics_work(predicted, judgement)])[0]
    rows = read_table(metrics.path("metrics.parquet"), METRICS).to_pylist()
    metric = rules[points[0].name].metrics[0]
    values = {
        point.name: [row["value"] for row in rows if (row["variant"], row["metric"]) == (point.name, metric)]
        for point in points
    }
    table = point_table(grid, metric, points, values) | {"selected_on": max(selected.values())}  # 'test' if one is
    return Choice(next(row["name"] for row in table["points"] if row["chosen"]), table, metrics)


def chosen_predictions(line: Line, grid: str) -> list[tuple[Fitted, Artifact]]:
    """The predictions of the chosen point, as those of a model with the grid's name."""
    best = line.choice(grid).best
    return [(replace(fit, model=grid), artifact) for fit, artifact in line.predictions(best)]
