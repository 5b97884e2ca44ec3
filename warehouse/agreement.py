"""How far raters agree: Krippendorff's alpha, for SQL."""

from __future__ import annotations

from typing import Literal

import duckdb
import numpy as np
import pyarrow as pa
from duckdb.func import ARROW, SPECIAL

Level = Literal["nominal", "interval"]

MOST_CELLS = 50_000_000
"""Units times the square of distinct ratings: what `krippendorff` lays out in memory, several times 8 bytes each."""


def register(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes the function known to a connection.

    krippendorff_alpha(units, ratings, counts, level)   DOUBLE: how often each unit was given each rating

    `units` are whole numbers from 0, `level` is 'nominal' or 'interval'. NULL where nothing can be said: no unit has
    two ratings, or there is one rating only.
    """
    connection.create_function(
        "krippendorff_alpha", _alphas, ["BIGINT[]", "DOUBLE[]", "BIGINT[]", "VARCHAR"], "DOUBLE",
        type=ARROW, null_handling=SPECIAL,
    )  # fmt: skip


def alpha(units: np.ndarray, ratings: np.ndarray, counts: np.ndarray, level: Level) -> float | None:
    """Krippendorff's alpha of ratings in long form: unit, rating, how often.

    Args:
        units: int [n], from 0.
        ratings: float [n]: the same number is the same rating; of level 'interval', how far apart they are counts.
        counts: int [n].
        level: 'nominal' or 'interval'.

    Returns:
        1 for perfect agreement, 0 for chance; None where no unit has two ratings, all ratings are one, or there are
        more than MOST_CELLS to lay out.

    Source:
        Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, through the package `krippendorff`.
    """
    import krippendorff

    paired = np.bincount(units, counts) > 1  # who rated alone agrees with nobody
    kept, numbers = paired[units], np.cumsum(paired) - 1
    domain, codes = np.unique(ratings[kept], return_inverse=True)
    if len(domain) < 2 or paired.sum() * len(domain) ** 2 > MOST_CELLS:
        return None
    table = np.zeros((paired.sum(), len(domain)))
    np.add.at(table, (numbers[units[kept]], codes), counts[kept])
    return float(krippendorff.alpha(value_counts=table, value_domain=domain, level_of_measurement=level))


def _alphas(
    units: pa.ChunkedArray, ratings: pa.ChunkedArray, counts: pa.ChunkedArray, levels: pa.ChunkedArray
) -> pa.Array:
    found = [
        alpha(_numbers(unit), _numbers(rating), _numbers(count), level)
        if level and unit.is_valid and rating.is_valid and count.is_valid
        else None
        for unit, rating, count, level in zip(units, ratings, counts, levels.to_pylist(), strict=True)
    ]
    return pa.array(found, pa.float64())


def _numbers(cell: pa.ListScalar) -> np.ndarray:
    numbers: np.ndarray = cell.values.to_numpy(zero_copy_only=False)
    return numbers
