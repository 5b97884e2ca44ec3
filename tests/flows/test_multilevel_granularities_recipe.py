"""The shipped recipe of all sets of granularities, on a few utterances of the sandbox through tiny networks."""

from __future__ import annotations

import json
from itertools import combinations

import pytest

from flows.line import Line
from flows.recipe import read_recipe, recipe_path
from tests.flows.multilevel import line_of
from warehouse.audit.verify import verify

GRANULARITIES = ("frame", "phone", "syllable", "word")
BUDGETS = {"frame": 7200, "phone": 1200, "syllable": 500, "word": 380}
"""Steps of the first role in a batch, as in the recipe multilevel."""


def test_both_grids_have_every_set_once_with_the_budget_of_its_first_role() -> None:
    recipe = read_recipe(recipe_path("multilevel_granularities"))
    subsets = {subset for n in range(1, 5) for subset in combinations(GRANULARITIES, n)}
    for fusion in ("late", "early"):
        points = [recipe.models[name] for name in recipe.behind(fusion)]
        assert len(points) == 15 and {tuple(one.fields["granularities"]) for one in points} == subsets
        assert all(one.fields["fusion"] == fusion for one in points)
        assert all(one.fit["batch_frames"] == BUDGETS[one.fields["granularities"][0]] for one in points)


def test_the_rows_that_table_2_has_and_the_other_recipe_has_not_are_points_too() -> None:
    recipe, other = (read_recipe(recipe_path(name)) for name in ("multilevel_granularities", "multilevel"))
    own = {name: entry for name, entry in recipe.models.items() if "(" not in name}
    points = [entry for name, entry in recipe.models.items() if "(" in name]
    assert all(entry in points for entry in own.values()), "the same requests: fitted once"
    assert all(other.models[name] in points for name in other.models if name.startswith(("late_", "early_")))
    letters = ("f", "fp", "fs", "fw", "fps", "fpw", "fsw", "fpsw")
    lines = {f"{fusion}_{some}" for fusion in ("late", "early") for some in letters}
    assert own.keys() | other.models.keys() >= lines and not own.keys() & other.models.keys()


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    return line_of("multilevel_granularities", tmp_path_factory.mktemp("granularities"))


@pytest.mark.slow
def test_each_grid_reports_the_set_that_is_best_on_dev_and_their_mean(line: Line) -> None:
    content = json.loads(line.report().path("report.json").read_text(encoding="utf-8"))
    assert line.recipe.report is not None
    assert list(dict.fromkeys(row["variant"] for row in content["scores"])) == line.recipe.report.names
    for table in content["points"]:
        assert len(table["points"]) == 15
        assert table["model"] in ("late", "early") and table["metric"] == "uar"
        chosen = next(row for row in table["points"] if row["chosen"])
        assert chosen["mean"] == max(row["mean"] for row in table["points"]) and chosen["test"] is not None
    n_points = sum(a.request.kind == "checkpoint" for a in line.warehouse.artifacts())
    assert n_points == 30, "the eight models of table 2 are points, and were not fitted again"
    assert verify(line.warehouse) == []
