"""A folder that is watched: what a nightly build does with films that came, changed and went."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flows.line import Line
from flows.plan import is_done, plan
from flows.recipe import read_recipe
from tests.flows.partly import Partly, by_name, lake_copy, new
from tests.flows.small import Small, films_recipe
from warehouse import Warehouse
from warehouse.errors import MissingFolder


def read_again(warehouse: Warehouse, recipe_path: Path, root: Path) -> dict[str, int]:
    """What of a build there is to do, after reading the folder as a build does; step -> new rows."""
    recipe = read_recipe(recipe_path)
    Line(recipe, warehouse, {"films": root}, Partly(warehouse, "record ", "ingest ")).ingest()
    return new(by_name(plan(recipe, warehouse, {"films": root}, "extract")))


def current(warehouse: Warehouse) -> set[str]:
    return {unit for (unit,) in warehouse.sql("SELECT DISTINCT unit FROM utterances WHERE corpus = 'films'").fetchall()}


def test_titles_that_come_change_and_go(small: Small, tmp_path: Path) -> None:
    warehouse, root = lake_copy(small, tmp_path), shutil.copytree(small.roots["films"], tmp_path / "films")
    recipe = tmp_path / "films.toml"
    recipe.write_text(films_recipe(), encoding="utf-8")
    declared = read_recipe(recipe)
    assert is_done(plan(declared, warehouse, {"films": root}, "extract")), "of a night without news nothing starts"
    titles = sorted(path.name for path in root.iterdir())
    everything = {a.key for a in warehouse.artifacts()}
    assert current(warehouse) == set(titles)

    # A title goes: it leaves the corpus as it reads now, and nothing that was made of it is lost.
    shutil.move(root / titles[0], tmp_path / "away")
    assert read_again(warehouse, recipe, root) == {}, "what is gone costs nothing"
    assert current(warehouse) == set(titles[1:])
    assert everything <= {a.key for a in warehouse.artifacts()}

    # It comes back: it is what it was.
    shutil.move(tmp_path / "away", root / titles[0])
    assert read_again(warehouse, recipe, root) == {}
    assert current(warehouse) == set(titles)

    # Words of one are corrected: they are new, and its sound is not.
    rows = warehouse.sql("SELECT text, unit FROM utterances WHERE corpus = 'films' ORDER BY ALL").fetchall()
    files = {unit: next((root / unit).glob("*.srt")) for _, unit in rows}
    text, title = next((text, unit) for text, unit in rows if files[unit].read_bytes().count(text.encode()) == 1)
    files[title].write_bytes(files[title].read_bytes().replace(text.encode(), b"Quite other words than these"))
    assert read_again(warehouse, recipe, root) == {}, "of what is extracted here nothing reads words"
    words = warehouse.sql("SELECT verbatim FROM utterances WHERE corpus = 'films'").fetchall()
    assert ("Quite other words than these",) in words

    # Another one comes: it is in the corpus, and what was extracted of the same sound is not extracted again.
    shutil.copytree(root / titles[0], root / "Another Film")
    assert read_again(warehouse, recipe, root) == {}
    assert current(warehouse) == {*titles, "Another Film"}


def test_a_folder_that_is_not_mounted_empties_no_corpus(small: Small, tmp_path: Path) -> None:
    warehouse, recipe = lake_copy(small, tmp_path), tmp_path / "films.toml"
    recipe.write_text(films_recipe(), encoding="utf-8")
    before = current(warehouse)
    (tmp_path / "mount").mkdir()
    for root in (tmp_path / "mount", tmp_path / "nowhere"):
        with pytest.raises(MissingFolder):
            read_again(warehouse, recipe, root)
    assert current(warehouse) == before
