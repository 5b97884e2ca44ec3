"""A recipe as the lake has it: from its report, without its file and without raw files."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.audit.remembered import known_products, remembered
from flows.line import Line
from flows.plan import is_done, plan
from flows.recipe import read_recipe
from flows.run import roots_of
from tests.flows.audit.little import Little
from tests.flows.wholly import Wholly
from warehouse import Warehouse
from warehouse.errors import UnknownName


def test_a_report_remembers_its_recipe(little: Little) -> None:
    (one,) = remembered(little.warehouse)
    assert (one.name, one.problem) == ("little", "") and one.report == little.warehouse.artifacts("report")[0]
    assert one.recipe is not None
    assert one.recipe.model_dump(exclude={"folder"}) == read_recipe(little.recipe).model_dump(exclude={"folder"})
    assert not any((little.warehouse.root / ".scratch").iterdir())


@pytest.mark.parametrize("damage", ["", "lost", "unreadable"])
def test_corpora_are_known_as_the_report_cites_them(little: Little, tmp_path: Path, damage: str) -> None:
    """In the very same requests, so that there is nothing to do; also where the corpus' name is damaged."""
    ref = little.warehouse.root / "refs" / "corpora" / "tones.json"
    if damage:
        ref.unlink()
    if damage == "unreadable":
        ref.write_text("{")
    (one,) = remembered(little.warehouse)
    assert one.recipe is not None
    known = known_products(little.warehouse, one.recipe, one.report, {})
    assert known.keys() == {"ingest tones"}
    doer = Wholly(little.warehouse)
    before = {a.key for a in little.warehouse.artifacts()}
    Line(one.recipe, little.warehouse, {"tones": tmp_path / "nowhere"}, doer, known=known).run()
    assert is_done(doer.steps) and {a.key for a in little.warehouse.artifacts()} == before
    assert not any(step.name.startswith("ingest") for step in doer.steps)


def test_what_the_lake_has_not_got_whole_is_not_known(little: Little) -> None:
    (one,) = remembered(little.warehouse)
    assert one.recipe is not None
    labels = little.warehouse.artifacts("labels")[0]
    labels.folder.rename(little.warehouse.root / "elsewhere")
    assert known_products(Warehouse(little.warehouse.root), one.recipe, one.report, {}) == {}


def test_a_name_that_has_moved_on_leaves_the_reports_reading(little: Little, tmp_path: Path) -> None:
    """The corpus was read again since, in another way."""
    path = tmp_path / "other.toml"
    path.write_text(little.recipe.read_text().replace('file = "tones.csv"', 'file = "tones.csv"\ndialogue = "speaker"'))
    before = little.warehouse.ref("corpora/tones")
    other = read_recipe(path)
    Line(other, little.warehouse, little.roots, Wholly(little.warehouse)).ingest()
    assert little.warehouse.ref("corpora/tones") != before
    (one,) = remembered(little.warehouse)
    assert one.recipe is not None and before is not None
    reading = known_products(little.warehouse, one.recipe, one.report, {})["ingest tones"]
    assert [a.digest for a in reading.utterances] == before["utterances"]
    assert [a.digest for a in known_products(little.warehouse, other, None, {})["ingest tones"].utterances] == (
        little.warehouse.ref("corpora/tones") or {}
    )["utterances"]


def test_a_recipe_that_is_named_stands_before_the_reports(little: Little) -> None:
    (one,) = remembered(little.warehouse, [str(little.recipe)])
    assert one.recipe is not None and one.recipe.folder == little.recipe.parent and one.report is not None
    names = [one.name for one in remembered(little.warehouse, ["emodb"])]
    assert names == ["emodb", "little"]
    with pytest.raises(UnknownName, match="no recipe 'emodbb'; did you mean 'emodb'"):
        remembered(little.warehouse, ["emodbb"])


def test_a_damaged_name_of_a_report_leaves_the_newest(little: Little) -> None:
    ref = little.warehouse.root / "refs" / "reports" / "little.json"
    ref.unlink()
    ref.write_text("{")
    (one,) = remembered(little.warehouse)
    assert one.report == little.warehouse.artifacts("report")[0]


def test_the_usual_roots_do(little: Little) -> None:
    (one,) = remembered(little.warehouse)
    assert one.recipe is not None
    assert is_done(plan(one.recipe, little.warehouse, roots_of(one.recipe, little.warehouse, {})))
