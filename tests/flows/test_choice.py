"""What a choice refuses; that it chooses rightly is shown through the whole line, in test_predicting."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from flows.choice import choice_of
from flows.grid import Point
from flows.score import Fitted
from warehouse.errors import InvalidField


def test_points_of_different_utterances_are_not_compared() -> None:
    splits = {"m(k=1)": "s1", "m(k=2)": "s2"}

    def predictions(point: str, parts: tuple[str, ...]) -> list[tuple[Fitted, Any]]:
        assert parts == ("dev",)
        return [(Fitted(point, "A", 0, SimpleNamespace(digest=splits[point]), None), None)]  # type: ignore[arg-type]

    recipe = SimpleNamespace(name="r", grids={"m": [Point(name, {}) for name in splits]})
    line: Any = SimpleNamespace(recipe=recipe, predictions=predictions, unfitted={})
    sentence = "recipe 'r': field 'models.m.grid' has points that are not chosen on the same utterances"
    with pytest.raises(InvalidField, match=sentence):
        choice_of(line, "m")
