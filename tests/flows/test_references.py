"""What refers to nothing, or to what does not fit; the sentences are asserted through `read_recipe` in test_recipe."""

from __future__ import annotations

from pathlib import Path

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


def test_two_protocols_of_one_id_are_refused(tmp_path: Path) -> None:
    recipe = read_recipe(RECIPES / "emodb.toml").model_copy(update={"folder": tmp_path})
    for folder, dev in (("here", "true"), ("there", "false"), ("again", "true")):
        (tmp_path / folder).mkdir()
        text = f'id = "mine"\nreader = "table"\ntitle = "t"\nlabels = {{ a = "b" }}\ndev = "{dev}"\n'
        (tmp_path / folder / "mine.toml").write_text(text)
    linear, student = recipe.models["linear"], recipe.models["student"]

    def complained(other: str) -> list[tuple[str, str]]:
        own = {"linear": (linear, "here"), "student": (student, other)}
        models = {
            name: entry.model_copy(update={"protocol": f"{folder}/mine.toml"}) for name, (entry, folder) in own.items()
        }
        return list(complaints(recipe.model_copy(update={"models": models})))

    problem = "has the id 'mine', and so has another one, that of 'linear': give each its own"
    assert complained("there") == [("models.student.protocol", problem)]
    assert complained("again") == []
