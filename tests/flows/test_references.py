"""What refers to nothing, or to what does not fit; the sentences are asserted through `read_recipe` in test_recipe."""

from __future__ import annotations

import pytest

from flows.recipe import RECIPES, read_recipe
from flows.references import complaints


@pytest.mark.parametrize("name", ["demo", "emodb"])
def test_a_sound_recipe_has_no_complaint(name: str) -> None:
    assert list(complaints(read_recipe(RECIPES / f"{name}.toml"))) == []


def test_what_is_not_there_is_told_before_anything_looks_for_it() -> None:
    recipe = read_recipe(RECIPES / "demo.toml")
    without = recipe.model_copy(update={"features": {}, "selections": {}})
    field, problem = next(complaints(without))
    assert field == "models.pretrained.selection"
    assert problem == "names the selection 'salient', which the recipe does not have"
