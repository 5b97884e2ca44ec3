"""Grids and averages through the whole line: what is predicted, chosen and reported, and what does not exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import recall_score

from flows.line import Line
from flows.plan import is_done, plan
from flows.report import terminal_tables
from tests.flows.swept import RECIPE, swept_line
from warehouse import Artifact
from warehouse.audit.trace import trace
from warehouse.audit.verify import verify
from warehouse.schema import PREDICTIONS
from warehouse.tables import read_table

POINTS = ["words(fit.learning_rate=1e-09)", "words(fit.learning_rate=0.01)"]


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    return swept_line(tmp_path_factory.mktemp("swept"))


@pytest.fixture(scope="module")
def content(line: Line) -> dict[str, Any]:
    return json.loads(line.report().path("report.json").read_text(encoding="utf-8"))


def rows_of(artifact: Artifact) -> list[dict[str, Any]]:
    return read_table(artifact.path("predictions.parquet"), PREDICTIONS).to_pylist()


def test_every_point_is_fitted_in_every_fold_and_chosen_by_dev_alone(line: Line, content: dict[str, Any]) -> None:
    label_of = {row["utterance_id"]: row["value"] for row in line.warehouse.table("FROM labels").to_pylist()}
    for grid in ("words", "sound"):
        means = {}
        for point in line.recipe.behind(grid):
            assert [fit.fold for fit in line.model(point)] == ["a", "b", "c"]
            figures = []
            for _, artifact in line.predictions(point, ("dev",)):
                rows = rows_of(artifact)
                assert {row["part"] for row in rows} == {"dev"} and len(rows) == 6
                said = [label_of[row["utterance_id"]] for row in rows], [row["predicted"] for row in rows]
                figures.append(recall_score(*said, average="macro"))
            means[point] = np.mean(figures)
        (table,) = [one for one in content["points"] if one["model"] == grid]
        assert {row["name"]: row["mean"] for row in table["points"]} == pytest.approx(means)
        best = next(row["name"] for row in table["points"] if row["chosen"])
        assert best == line.choice(grid).best == next(name for name in means if means[name] == max(means.values()))
        assert (table["metric"], table["selected_on"]) == ("uar", "dev")
    assert line.choice("words").best == POINTS[1], "the other one learns nothing"


def test_what_was_not_chosen_was_never_asked_of_test(line: Line) -> None:
    query = "SELECT DISTINCT digest, part FROM predictions JOIN inputs ON artifact = key WHERE role = 'checkpoint'"
    parts: dict[str, set[str]] = {}
    for row in line.warehouse.table(query).to_pylist():
        parts.setdefault(row["digest"], set()).add(row["part"])
    for grid in ("words", "sound"):
        for point in line.recipe.behind(grid):
            judged = {"dev", "test"} if point == line.choice(grid).best else {"dev"}
            assert all(parts[fit.checkpoint.digest] == judged for fit in line.model(point))


def test_a_grid_is_one_model_of_the_report_and_its_points_a_table_of_their_own(
    line: Line, content: dict[str, Any]
) -> None:
    assert list(dict.fromkeys(row["variant"] for row in content["scores"])) == ["words", "sound", "both"]
    figures = {(row["variant"], row["metric"]): row["mean"] for row in content["scores"]}
    words = next(table for table in content["points"] if table["model"] == "words")
    assert [(row["name"], row["settings"], row["n_fits"]) for row in words["points"]] == [
        (POINTS[0], {"fit.learning_rate": 1e-9}, 3), (POINTS[1], {"fit.learning_rate": 0.01}, 3),
    ]  # fmt: skip
    assert [row["test"] for row in words["points"]] == [None, figures["words", "uar"]]
    assert "'both' is the mean of the logits of words, sound." in content["warnings"]
    shared = [(one["model"], [fold["fold"] for fold in one["folds"]]) for one in content["leakage"]]
    assert shared == [("words", ["a", "b", "c"]), ("sound", ["a", "b", "c"])], "the average shares what these do"
    page = line.report().path("report.html").read_text(encoding="utf-8")
    assert all(f">{POINTS[n]}<" in page for n in (0, 1)) and "Points of words" in page
    titles = [str(table.title) for table in terminal_tables(line.report().path("report.json"))]
    assert "points of words, chosen by uar on dev" in titles
    assert set(line.report().request.inputs["points"]) == {
        line.choice(grid).metrics.digest for grid in ("words", "sound")
    }


def test_an_average_is_the_softmax_of_the_mean_logits_and_traces_to_all_members(line: Line) -> None:
    for (fit, artifact), (_, words), (_, sound) in zip(*map(line.predictions, ("both", "words", "sound")), strict=True):
        assert [member.model for member in fit.members] == ["words", "sound"]
        assert sorted(artifact.request.inputs["predictions"]) == sorted((words.digest, sound.digest))
        for mean, one, other in zip(rows_of(artifact), rows_of(words), rows_of(sound), strict=True):
            product = np.sqrt(np.array(one["probabilities"]) * np.array(other["probabilities"]))
            assert mean["probabilities"] == pytest.approx(product / product.sum(), rel=1e-12)
            assert mean["predicted"] == mean["classes"][int(np.argmax(mean["probabilities"]))]
            assert (mean["utterance_id"], mean["part"]) == (one["utterance_id"], one["part"])
    hops = trace(line.warehouse, artifact)
    whats = [hop.what for hop in hops]
    assert whats.count("prediction") == 3 and whats.count("checkpoint") == 2 and whats.count("raw file") == 2
    judged = line.warehouse.table("SELECT label FROM predictions JOIN artifacts ON artifact = key "
                                  "WHERE step = 'flows.average' AND part = 'test'").column(0).to_pylist()  # fmt: skip
    assert sorted(judged) == ["calm"] * 9 + ["loud"] * 9


def test_nothing_is_left_to_do_and_the_lake_is_sound(line: Line) -> None:
    steps = plan(line.recipe, line.warehouse, line.roots, explain=False)
    assert is_done(steps) and verify(line.warehouse) == []
    names = [step.name for step in steps]
    assert len(set(names)) == len(names)
    assert names.index(f"predict {POINTS[0]} dev") < names.index("choose words") < names.index(f"predict {POINTS[1]}")
    assert f"predict {POINTS[0]}" not in names


def test_a_grid_that_is_selected_on_test_is_chosen_there_and_says_so(tmp_path: Path) -> None:
    text = re.sub(r"\[models\.words\].*?(?=\[report\])", "", RECIPE, flags=re.DOTALL)
    text = text.replace('["words", "sound"]\naverages = { both = ["words", "sound"] }', '["sound"]')
    text = text.replace('student = "linear"', 'student = "linear"\nselect_on = "test"')
    line = swept_line(tmp_path, text)
    (table,) = json.loads(line.report().path("report.json").read_text(encoding="utf-8"))["points"]
    assert table["selected_on"] == "test"
    (chosen,) = [row for row in table["points"] if row["chosen"]]
    assert chosen["mean"] == chosen["test"], "what it was chosen by is what it is judged by"
    page = line.report().path("report.html").read_text(encoding="utf-8")
    assert "Points of sound (test-selected)" in page and "were not judged on test" not in page
