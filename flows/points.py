"""The points of a grid as a table: all with their figures on dev, the chosen one with that on test."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flows.grid import Point


def point_table(
    grid: str, metric: str, points: Sequence[Point], values: Mapping[str, Sequence[float]]
) -> dict[str, Any]:
    """All points of a grid with the mean of a metric on dev; the first of the best is the chosen one.

    Args:
        values: name of a point -> the metric on dev, of each fold and seed.

    Example:
        >>> points = [Point("m(k=1)", {"k": 1}), Point("m(k=2)", {"k": 2})]
        >>> table = point_table("m", "uar", points, {"m(k=1)": [0.5, 0.7], "m(k=2)": [0.6, 0.8]})
        >>> [(row["name"], round(row["mean"], 3), row["chosen"]) for row in table["points"]]
        [('m(k=1)', 0.6, False), ('m(k=2)', 0.7, True)]
    """
    means = {point.name: statistics.fmean(values[point.name]) for point in points}
    best = max(means, key=lambda name: means[name])  # the first of equal ones
    rows = [
        {
            "name": point.name, "settings": dict(point.settings), "mean": means[point.name],
            "sd": statistics.stdev(values[point.name]) if len(values[point.name]) > 1 else None,
            "n_fits": len(values[point.name]), "chosen": point.name == best,
        }
        for point in points
    ]  # fmt: skip
    return {"model": grid, "metric": metric, "points": rows}


def with_test_figures(tables: Iterable[Mapping[str, Any]], scores: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The tables with a figure on test, `test`, at each chosen point whose grid is reported; None at all others.

    Args:
        scores: as `flows.findings.score_table` gives them.
    """
    figures = {(row["variant"], row["metric"]): row["mean"] for row in scores}
    return [
        {
            **table,
            "points": [
                {**row, "test": figures.get((table["model"], table["metric"])) if row["chosen"] else None}
                for row in table["points"]
            ],
        }
        for table in tables
    ]
