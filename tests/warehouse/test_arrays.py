"""Columns that are the same as `pa.array` makes."""

from __future__ import annotations

import pyarrow as pa
import pytest

from warehouse.arrays import counts_of, texts_of


@pytest.mark.parametrize("values", [[], ["a"], ["", None, "äß", "x" * 300, None] * 5, [None]])
def test_texts_are_those_of_arrow(values: list[str | None]) -> None:
    found = texts_of(values)
    found.validate(full=True)
    assert found.equals(pa.array(values, pa.string())) and found.type == pa.string()
    assert found.null_count == values.count(None)


def test_counts_are_those_of_arrow() -> None:
    for values in ([], [0, -1, 2**60]):
        assert counts_of(values).equals(pa.array(values, pa.int64()))


def test_half_a_surrogate_pair_is_no_text() -> None:
    with pytest.raises(UnicodeEncodeError):
        texts_of(["\ud800"])
