"""What SQL can do with an array in a cell: take one dimension, or the mean over a span of time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import duckdb
import numpy as np
from duckdb.func import SPECIAL

from warehouse.errors import IntervalOutside
from warehouse.pooling import mean_over

CELL = ("BLOB", "INTEGER[]", "VARCHAR")
"""The three columns of an array: its bytes, shape and dtype (`warehouse.tables.array_columns`)."""


def register(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes the functions known to a connection.

    track(frames, frames_shape, frames_dtype, dimension)            one dimension from 0, step by step: FLOAT[]
    mean_over(frames, frames_shape, frames_dtype, hop_s, from, to)  the mean frame of a span of seconds: FLOAT[]
    means_over(…, hop_s, starts, ends)                              the mean frames of many spans: FLOAT[][]

    Frames of several layers [layer, frame, dim] count as [frame, layer * dim], one layer after the other, so dimension
    d of layer n is n * dim + d. Spans shorter than a hop are treated as `warehouse.pooling.mean_over` says. An array
    without axes for time and dimension, a dimension that is not there, and a span outside the frames give NULL.
    """
    for name, function, arguments, answer in (
        ("track", _track, ["INTEGER"], "FLOAT[]"),
        ("mean_over", _mean_over, ["DOUBLE", "DOUBLE", "DOUBLE"], "FLOAT[]"),
        ("means_over", _means_over, ["DOUBLE", "DOUBLE[]", "DOUBLE[]"], "FLOAT[][]"),
    ):
        # SPECIAL: the functions are asked about NULLs too, and may answer with one.
        known = _known(function)
        connection.create_function(name, known, [*CELL, *arguments], answer, null_handling=SPECIAL)


def _known(function: Callable[..., Any]) -> Callable[..., Any]:
    """Of what is not known, nothing is known."""

    @functools.wraps(function)
    def answer(*arguments: Any) -> Any:
        return None if any(one is None for one in arguments) else function(*arguments)

    return answer


def _frames(cell: bytes, shape: Sequence[int], dtype: str) -> np.ndarray | None:
    """[frame, dim]; of layers, which come first, all their dimensions side by side."""
    if len(shape) not in (2, 3):
        return None
    array = np.frombuffer(cell, dtype=np.dtype(dtype).newbyteorder("<")).reshape(shape)
    return array if array.ndim == 2 else np.concatenate(array, axis=-1)


def _track(cell: bytes, shape: Sequence[int], dtype: str, dimension: int) -> list[float] | None:
    frames = _frames(cell, shape, dtype)
    if frames is None or not 0 <= dimension < frames.shape[1]:
        return None
    track: list[float] = frames[:, dimension].tolist()
    return track


def _mean_over(
    cell: bytes, shape: Sequence[int], dtype: str, hop_s: float, start_s: float, end_s: float
) -> list[float] | None:
    found = _means_over(cell, shape, dtype, hop_s, [start_s], [end_s])
    return None if found is None else found[0]


def _means_over(
    cell: bytes, shape: Sequence[int], dtype: str, hop_s: float, starts: Sequence[float], ends: Sequence[float]
) -> list[list[float] | None] | None:
    frames = _frames(cell, shape, dtype)
    if frames is None:
        return None
    return _means(frames, hop_s, [("", *span) for span in zip(starts, ends, strict=True)])


def _means(frames: np.ndarray, hop_s: float, spans: Sequence[tuple[str, float, float]]) -> list[list[float] | None]:
    """All at once, or one by one where one lies outside."""
    try:
        found: list[list[float] | None] = mean_over(frames, hop_s, spans).tolist()
    except IntervalOutside:
        found = [None] if len(spans) == 1 else [mean for span in spans for mean in _means(frames, hop_s, [span])]
    return found
