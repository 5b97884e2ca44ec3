"""The choice by hand and by law: the greatest mean on dev, the first of equals, and nothing of test."""

from __future__ import annotations

import statistics

from hypothesis import given
from hypothesis import strategies as st

from flows.grid import Point
from flows.points import point_table, with_test_figures


def named(n: int) -> list[Point]:
    return [Point(f"m(k={k})", {"k": k}) for k in range(n)]


FIGURES = st.lists(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=4), min_size=1, max_size=6)


@given(FIGURES)
def test_the_first_of_the_best_is_chosen(figures: list[list[float]]) -> None:
    points = named(len(figures))
    table = point_table("m", "uar", points, {p.name: own for p, own in zip(points, figures, strict=True)})
    means = [sum(own) / len(own) for own in figures]
    assert [row["mean"] for row in table["points"]] == means, "quarters are exact"
    assert [row["chosen"] for row in table["points"]].index(True) == means.index(max(means))
    assert sum(row["chosen"] for row in table["points"]) == 1
    for row, own in zip(table["points"], figures, strict=True):
        assert row["n_fits"] == len(own)
        assert row["sd"] == (statistics.stdev(own) if len(own) > 1 else None)


def test_only_the_chosen_point_of_a_reported_grid_has_a_figure_on_test() -> None:
    tables = [
        point_table(grid, "uar", named(2), {"m(k=0)": [0.5], "m(k=1)": [0.75]}) for grid in ("m", "unreported")
    ]  # fmt: skip
    scores = [
        {"variant": "m", "metric": "accuracy", "mean": 0.9}, {"variant": "m", "metric": "uar", "mean": 0.8},
        {"variant": "other", "metric": "uar", "mean": 0.7},
    ]  # fmt: skip
    found = with_test_figures(tables, scores)
    assert [[row["test"] for row in table["points"]] for table in found] == [[None, 0.8], [None, None]]
    assert [table["model"] for table in found] == ["m", "unreported"]
    assert all("test" not in row for table in tables for row in table["points"])
