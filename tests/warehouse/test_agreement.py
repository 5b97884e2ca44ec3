from __future__ import annotations

import math
from collections import Counter

import duckdb
import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse import agreement
from warehouse.agreement import alpha

Ratings = list[list[int | None]]


def long(units: Ratings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Units with the ratings each was given, as unit, rating, how often."""
    rows = [(n, r, times) for n, unit in enumerate(units) for r, times in Counter(unit).items() if r is not None]
    return tuple(np.array(column) for column in zip(*rows, strict=True))  # type: ignore[return-value]


PUBLISHED: Ratings = [  # Krippendorff 2011, example C: four observers, twelve units
    [1, 1, None, 1], [2, 2, 3, 2], [3, 3, 3, 3], [3, 3, 3, 3], [2, 2, 2, 2], [1, 2, 3, 4], [4, 4, 4, 4],
    [1, 1, 2, 1], [2, 2, 2, 2], [None, 5, 5, 5], [None, None, 1, 1], [None, None, 3, None],
]  # fmt: skip


@pytest.mark.parametrize(("level", "value"), [("nominal", 0.743), ("interval", 0.849)])
def test_the_published_example(level: str, value: float) -> None:
    assert alpha(*long(PUBLISHED), level) == pytest.approx(value, abs=0.0005)


@pytest.mark.parametrize("units", [[[1], [2]], [[1, 1], [1, 1]], [[1, 1], [2]], [[1], [2], [2, 2]]])
def test_where_nothing_can_be_said_nothing_is(units: Ratings) -> None:
    assert alpha(*long(units), "nominal") is None


def test_perfect_agreement_is_one_and_too_much_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    units: Ratings = [[1, 1], [2, 2], [3]]
    assert alpha(*long(units), "interval") == 1.0
    monkeypatch.setattr(agreement, "MOST_CELLS", 7)
    assert alpha(*long(units), "interval") is None, "two units with two ratings each"


@given(st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=4), min_size=1, max_size=8))
def test_it_is_the_librarys_of_the_whole_table(units: list[list[int]]) -> None:
    """Units that one rater saw are left out before, which must change nothing."""
    table = [[unit.count(value) for value in range(1, 5)] for unit in units]
    for level in ("nominal", "interval"):
        found = alpha(*long(units), level)  # type: ignore[arg-type]
        pairs = [unit for unit in units if len(unit) > 1]
        if len({value for unit in pairs for value in unit}) > 1:
            there = krippendorff.alpha(value_counts=table, value_domain=range(1, 5), level_of_measurement=level)
            assert found is not None and math.isclose(found, there, abs_tol=1e-9)
        else:
            assert found is None


def test_sql_asks_for_many_at_once() -> None:
    units, ratings, counts = (list(map(int, column)) for column in long(PUBLISHED))
    with duckdb.connect() as connection:
        agreement.register(connection)
        connection.execute("CREATE TABLE levels AS FROM (VALUES ('nominal'), ('interval')) t(level)")
        given = {"units": units, "ratings": ratings, "counts": counts}
        query = "SELECT level, krippendorff_alpha($units, $ratings, $counts, level) FROM levels ORDER BY ALL"
        found = connection.execute(query, given).fetchall()
        assert [(level, round(value, 3)) for level, value in found] == [("interval", 0.849), ("nominal", 0.743)]
        assert connection.execute("SELECT krippendorff_alpha(NULL, NULL, NULL, 'nominal')").fetchall() == [(None,)]
        nothing = "SELECT krippendorff_alpha([]::BIGINT[], []::DOUBLE[], []::BIGINT[], 'nominal')"
        assert connection.execute(nothing).fetchall() == [(None,)]
