"""Grids: every combination once, in order, as the model that would have been written by hand; mistakes by name."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.grid import MOST_POINTS, expanded
from warehouse.errors import EmolakeError, InvalidField, UnknownField, UnknownName

WHERE = "recipe 'r'"
CMD: dict[str, Any] = {
    "student": "cmd", "corpus": "c", "protocol": "p", "inputs": {"wave": "w"}, "objective": {"label": 1.0},
    "fit": {"epochs": 2},
}  # fmt: skip


def points(grid: Any, **table: Any) -> dict[str, Any]:
    return expanded({"m": CMD | table | {"grid": grid}}, WHERE)[0]


def test_a_point_is_the_model_one_would_have_written() -> None:
    grid = {"temperature": [0.05, 0.5], "fit.batch_frames": [4000, 8000], "objective.label": [2]}
    models, grids = expanded({"a": {"student": "linear"}, "m": CMD | {"objective": {}, "grid": grid}}, WHERE)
    assert list(models) == [
        "a",
        "m(temperature=0.05, fit.batch_frames=4000, objective.label=2)",
        "m(temperature=0.05, fit.batch_frames=8000, objective.label=2)",
        "m(temperature=0.5, fit.batch_frames=4000, objective.label=2)",
        "m(temperature=0.5, fit.batch_frames=8000, objective.label=2)",
    ]
    assert models["m(temperature=0.5, fit.batch_frames=8000, objective.label=2)"] == CMD | {
        "temperature": 0.5, "fit": {"epochs": 2, "batch_frames": 8000}, "objective": {"label": 2},
    }  # fmt: skip
    assert [point.name for point in grids["m"]] == list(models)[1:] and list(grids) == ["m"]


def test_roles_slots_lists_and_words_are_values_too() -> None:
    grid = {"inputs.text": ["text", "asr:text"], "encoders.audio": ["w2v"], "modalities": ["both"]}
    assert list(points(grid, inputs={"wave": "w"})) == [
        "m(inputs.text=text, encoders.audio=w2v, modalities=both)",
        "m(inputs.text=asr:text, encoders.audio=w2v, modalities=both)",
    ]
    table = {"student": "multilevel", "fusion": "late"}
    grid = {"granularities": [["frame"], ["frame", "word"]], "text": [True], "normalised": [False]}
    models, _ = expanded({"m": table | {"grid": grid}}, WHERE)
    assert list(models) == [
        "m(granularities=frame, text=true, normalised=false)",
        "m(granularities=frame+word, text=true, normalised=false)",
    ]
    assert [model["granularities"] for model in models.values()] == [["frame"], ["frame", "word"]]


def test_several_grids_of_a_model_are_taken_together() -> None:
    two = [{"granularities": [["frame"], ["frame", "phone"]], "fit.epochs": [1]},
           {"granularities": [["phone"]], "fit.epochs": [2, 3]}]  # fmt: skip
    models, _ = expanded({"m": {"student": "multilevel", "grid": two}}, WHERE)
    assert [(model["granularities"], model["fit"]["epochs"]) for model in models.values()] == [
        (["frame"], 1), (["frame", "phone"], 1), (["phone"], 2), (["phone"], 3),
    ]  # fmt: skip


def test_a_point_starts_from_the_point_of_the_same_values() -> None:
    start = {"student": "cmd", "grid": {"temperature": [0.1, 0.5]}}
    after = CMD | {"init": "start", "grid": {"temperature": [0.5, 0.1], "fit.batch_frames": [1, 2]}}
    models, _ = expanded({"after": after, "start": start}, WHERE)
    begins = {name: model["init"] for name, model in models.items() if "init" in model}
    assert begins == {
        f"after(temperature={value}, fit.batch_frames={n})": f"start(temperature={value})"
        for value in (0.5, 0.1) for n in (1, 2)
    }  # fmt: skip
    with pytest.raises(InvalidField, match=r"\[models.after\]: field 'init' names the grid 'start', of which 0"):
        expanded({"after": CMD | {"init": "start", "grid": {"temperature": [0.7]}}, "start": start}, WHERE)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0.01, 5), min_size=1, max_size=4, unique=True),
    st.lists(st.integers(1, 10**7), min_size=1, max_size=4, unique=True),
    st.lists(st.sampled_from(["early", "late"]), min_size=1, max_size=2, unique=True),
)
def test_every_combination_is_there_once_and_nothing_else_changes(
    temperatures: list[float], budgets: list[int], fusions: list[str]
) -> None:
    grid = {"temperature": temperatures, "fit.batch_frames": budgets, "fusion": fusions}
    before = copy.deepcopy(CMD)
    models, grids = expanded({"m": CMD | {"grid": grid}}, WHERE)
    found = [(m["temperature"], m["fit"]["batch_frames"], m["fusion"]) for m in models.values()]
    assert len(found) == len(set(found)) == math.prod(map(len, grid.values())) == len(grids["m"])
    assert set(found) <= {(t, b, f) for t in temperatures for b in budgets for f in fusions}
    for point in grids["m"]:
        model = models[point.name]
        own = {"fit", "temperature", "fusion"}
        assert {k: v for k, v in model.items() if k not in own} == {k: v for k, v in before.items() if k not in own}
        assert model["fit"]["epochs"] == 2
    assert before == CMD, "what was given is as it was"


@pytest.mark.parametrize(
    ("grid", "error", "sentence"),
    [
        ({"temprature": [0.1]}, UnknownField,
         r"\[models.m.grid\]: no field 'temprature'; did you mean 'temperature'\?"),
        ({"fit.batchframes": [1]}, UnknownField, r"no field 'fit.batchframes'; did you mean 'fit.batch_frames'\?"),
        ({"objective.lable": [1]}, UnknownField, r"no field 'objective.lable'; did you mean 'objective.label'\?"),
        ({"inputs.txt": ["a"]}, UnknownField, r"no field 'inputs.txt'; did you mean 'inputs.text'\?"),
        ({"encoders.audo": ["a"]}, UnknownField, r"no field 'encoders.audo'; did you mean 'encoders.audio'\?"),
        ({"seeds": [0, 1]}, UnknownField, r"\[models.m.grid\]: no field 'seeds'"),
        ({"protocol": ["a", "b"]}, UnknownField, r"\[models.m.grid\]: no field 'protocol'"),
        ({"temperature": []}, InvalidField, "field 'temperature' must list at least one value"),
        ({"temperature": 0.1}, InvalidField, r"field 'temperature' is 0.1, but must be a list of values"),
        ({"temperature": [{"a": 1}]}, InvalidField, "but may list numbers, text, booleans or lists of these"),
        ({"temperature": [[[1]]]}, InvalidField, "but may list numbers, text, booleans or lists of these"),
        ({"temperature": [0.1, 0.1]}, InvalidField, r"field 'grid' has the point 'm\(temperature=0.1\)' 2 times"),
        ({"temperature": [-1.0]}, InvalidField, "field 'temperature' is -1.0, but must be above 0"),
        ({"fusion": ["middle"]}, InvalidField, r"\[models.m.grid\] m\(fusion=middle\): field 'fusion' is 'middle'"),
        ({"fit.epochs": [1]}, InvalidField, "field 'fit.epochs' is set by the model too: leave it out there, or here"),
        ({"blocks": [1]}, InvalidField, "field 'blocks' is set by the model too"),
        ({"temperature": [1 + i / 7 for i in range(MOST_POINTS + 1)]}, InvalidField,
         "field 'grid' has 1001 points, but 1000 is the most: leave values out"),
        ({}, InvalidField, "field 'grid' must be a table of lists, one for each field that varies"),
        ([], InvalidField, "field 'grid' must be a table of lists"),
        (3, InvalidField, "field 'grid' must be a table of lists"),
    ],
)  # fmt: skip
def test_each_mistake_is_named(grid: Any, error: type[EmolakeError], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        points(grid, blocks=2)


def test_mistakes_of_the_model_around_a_grid() -> None:
    with pytest.raises(InvalidField, match=r"field 'models.a\(b=1\)' must not have '\(' in its name"):
        expanded({"a(b=1)": CMD}, WHERE)
    with pytest.raises(InvalidField, match="field 'fit' must be a table of the model, for the grid varies a field of"):
        points({"fit.batch_frames": [1]}, fit=3)
    with pytest.raises(UnknownName, match="no student 'cdm'; did you mean 'cmd'"):
        points({"temperature": [1]}, student="cdm")
    assert list(points({"temperature": [1]}, student=3)), "whoever checks the model says so"
