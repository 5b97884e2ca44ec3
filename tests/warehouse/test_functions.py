"""SQL's view of an array in a cell is numpy's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from warehouse import functions
from warehouse.pooling import mean_over
from warehouse.tables import array_cells, array_columns

FRAMES = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
SPANS = [("a", 0.0, 0.1), ("b", 0.1, 0.101), ("c", 0.35, 0.42), ("all", 0.0, 0.4)]


def asked(array: np.ndarray, expression: str, parameters: Sequence[Any] = ()) -> Any:
    connection = duckdb.connect()
    functions.register(connection)
    cells = pa.Table.from_pylist([array_cells("x", array)], schema=array_columns("x"))
    connection.register("cells", cells)
    row = connection.execute(f"SELECT {expression} FROM cells", list(parameters)).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int16"])
def test_a_track_is_one_column(dtype: str) -> None:
    array = (FRAMES * 100).astype(dtype)
    found = asked(array, "track(x, x_shape, x_dtype, 2)")
    assert np.array_equal(np.array(found, np.float32), array[:, 2].astype(np.float32))


@pytest.mark.parametrize("span", SPANS, ids=lambda span: span[0])
def test_a_mean_is_that_of_the_rule(span: tuple[str, float, float]) -> None:
    found = asked(FRAMES, "mean_over(x, x_shape, x_dtype, 0.01, ?, ?)", span[1:])
    assert np.array_equal(np.array(found, np.float32), mean_over(FRAMES, 0.01, [span])[0])


def test_many_means_are_those_of_each() -> None:
    starts, ends = ([span[i] for span in SPANS] for i in (1, 2))
    found = asked(FRAMES, "means_over(x, x_shape, x_dtype, 0.01, ?::DOUBLE[], ?::DOUBLE[])", (starts, ends))
    assert np.array_equal(np.array(found, np.float32), mean_over(FRAMES, 0.01, SPANS))


def test_of_many_only_those_outside_are_null() -> None:
    found = asked(FRAMES, "means_over(x, x_shape, x_dtype, 0.01, [0.0, 0.3, 0.2], [0.1, 0.6, 0.3])")
    assert found[1] is None
    inside = mean_over(FRAMES, 0.01, [("", 0.0, 0.1), ("", 0.2, 0.3)])
    assert np.array_equal(np.array([found[0], found[2]], np.float32), inside)


@pytest.mark.parametrize(
    "expression",
    [
        "track(x, x_shape, x_dtype, 3)", "track(x, x_shape, x_dtype, -1)", "track(x, x_shape, x_dtype, NULL)",
        "mean_over(x, x_shape, x_dtype, 0.01, 0.3, 0.6)", "mean_over(x, x_shape, x_dtype, 0.01, -0.1, 0.2)",
    ],
)  # fmt: skip
def test_what_is_not_there_is_null(expression: str) -> None:
    assert asked(FRAMES, expression) is None


def test_layers_are_one_after_the_other() -> None:
    layers = np.random.default_rng(1).standard_normal((4, 40, 3)).astype(np.float16)
    flat = layers.transpose(1, 0, 2).reshape(40, 12)
    for dimension in (0, 2, 3, 11):
        found = asked(layers, f"track(x, x_shape, x_dtype, {dimension})")
        assert np.array_equal(np.array(found, np.float32), flat[:, dimension].astype(np.float32))
        assert np.array_equal(np.array(found, np.float16), layers[dimension // 3, :, dimension % 3])
    assert asked(layers, "track(x, x_shape, x_dtype, 12)") is None
    starts, ends = ([span[i] for span in SPANS] for i in (1, 2))
    found = asked(layers, "means_over(x, x_shape, x_dtype, 0.01, ?::DOUBLE[], ?::DOUBLE[])", (starts, ends))
    assert np.array_equal(np.array(found, np.float32), mean_over(flat, 0.01, SPANS))
    assert np.array_equal(np.array(found, np.float32), np.concatenate(mean_over(layers, 0.01, SPANS), axis=-1))


@pytest.mark.parametrize("expression", ["track(x, x_shape, x_dtype, 0)", "mean_over(x, x_shape, x_dtype, 0.01, 0, 1)"])
def test_an_array_of_other_axes_is_null(expression: str) -> None:
    assert asked(FRAMES[:, 0], expression) is None
