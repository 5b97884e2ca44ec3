"""The hours that a fit has not seen: by SQL over selections and splits of a made-up lake."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.operate.salient_hours import Salience, hours_of, salience
from flows.recipe import read_recipe
from tests.flows.partly import lake_copy
from tests.flows.small import Small
from tests.warehouse.small_lake import SmallLake, utterance
from warehouse import Artifact
from warehouse.schema import SELECTION, SPLIT

TWO_S = 2 / 3600


def chosen(lake: SmallLake, name: str, utterances: Artifact, ids: str, threshold: float = 0.4) -> Artifact:
    rows = [{"utterance_id": one, "label": "happy", "probability": 0.9} for one in ids]

    def write(folder: Path) -> None:
        (folder / "ids").write_text(name)

    features = lake.make(f"rows of {name}", "features", "extractors.encoder", write, {}, ids=name)
    inputs = {"utterances": [utterances], "features": [features]}
    return lake.rows(
        name, "selection", "flows.select", {"selection": (rows, SELECTION)}, inputs, threshold=threshold
    )  # fmt: skip


def fitted(lake: SmallLake, name: str, selection: Artifact, ids: str) -> None:
    rows = [{"utterance_id": one, "part": "dev" if one == "a" else "train", "label": "happy"} for one in ids]
    split = lake.rows(
        f"split {name}", "split", "flows.protocol", {"split": (rows, SPLIT)}, {"selection": [selection]}, fold=name
    )  # fmt: skip

    def write(folder: Path) -> None:
        (folder / "weights").write_bytes(b"")

    lake.make(name, "checkpoint", "students.mced", write, {"split": [split]}, fit=name)


def test_hours_are_new_that_no_part_of_the_last_fits_split_has(tmp_path: Path) -> None:
    lake = SmallLake(tmp_path / "lake")
    reading = lake.reading("main", [utterance("main", name, f"words of {name}") for name in "abcde"])
    lake.ingested("main", reading)
    first = chosen(lake, "first", reading, "abc")
    assert hours_of(lake.lake, first) == Salience(pytest.approx(3 * TWO_S), pytest.approx(3 * TWO_S)), "no fit yet"

    fitted(lake, "one", first, "abc")
    assert hours_of(lake.lake, first) == Salience(pytest.approx(3 * TWO_S), 0)
    more = chosen(lake, "more", reading, "abcde")
    assert hours_of(lake.lake, more).new_hours == pytest.approx(2 * TWO_S), "the dev part was seen too"

    fitted(lake, "another rule", chosen(lake, "other", reading, "de", threshold=0.9), "de")
    assert hours_of(lake.lake, more).new_hours == pytest.approx(2 * TWO_S), "that was another selection's"
    fitted(lake, "two", more, "abd")
    assert hours_of(lake.lake, more).new_hours == pytest.approx(2 * TWO_S), "what it left out it has not seen"

    # What is gone from the corpus, and what is chosen no more, does not count.
    shorter = lake.reading("main", [utterance("main", name, f"words of {name}") for name in "abc"], version=2)
    lake.ingested("main", shorter)
    assert hours_of(lake.lake, more) == Salience(pytest.approx(3 * TWO_S), pytest.approx(TWO_S))


def test_what_another_recipe_with_the_same_rules_learned_from_counts_for_its_corpora_alone(tmp_path: Path) -> None:
    lake = SmallLake(tmp_path / "lake")
    one, other = (
        lake.reading(corpus, [utterance(corpus, name, f"words of {name}") for name in names])
        for corpus, names in (("one", "abc"), ("other", "xyz"))
    )
    lake.ingested("one", one)
    lake.ingested("other", other)
    ours, theirs = chosen(lake, "ours", one, "abc"), chosen(lake, "theirs", other, "xyz")
    fitted(lake, "of ours", ours, "ab")
    assert hours_of(lake.lake, theirs).new_hours == pytest.approx(3 * TWO_S)
    fitted(lake, "of theirs", theirs, "xyz")
    assert hours_of(lake.lake, ours).new_hours == pytest.approx(TWO_S)
    assert hours_of(lake.lake, theirs).new_hours == 0


def test_the_sentence_says_how_much_is_missing() -> None:
    assert Salience(12.0, 3.25).sentence(10) == "3.25 of 12.00 salient hours are new, 10 are wanted: not enough"
    assert Salience(12.0, 10.0).sentence(10).endswith(": enough")
    waits = Salience(waits_for="extract teacher").sentence(10)
    assert waits == "nothing can be said of new hours before 'extract teacher' is done, which a build does"


def test_a_look_makes_the_selection_and_extracts_nothing(small: Small, tmp_path: Path) -> None:
    recipe, warehouse = read_recipe(small.recipe), lake_copy(small, tmp_path)
    found = salience(recipe, warehouse, small.roots, "salient", "cpu")
    assert found.hours > 0 and found.new_hours == 0, "the small run has learned from all of them"

    text = small.recipe.read_text(encoding="utf-8").replace("threshold = 0.01", "threshold = 0.02")
    (tmp_path / "other.toml").write_text(text, encoding="utf-8")
    before = {a.key for a in warehouse.artifacts()}
    found = salience(read_recipe(tmp_path / "other.toml"), warehouse, small.roots, "salient", "cpu")
    assert found.new_hours == 0 < found.hours, "the same utterances are the same, whichever rule chose them"
    assert [a.request.kind for a in warehouse.artifacts() if a.key not in before] == ["selection"]

    text = text.replace('feature_set = "eGeMAPSv02"', 'feature_set = "GeMAPSv01b"').replace("epochs = 2", "epochs = 3")
    (tmp_path / "other.toml").write_text(text, encoding="utf-8")
    found = salience(read_recipe(tmp_path / "other.toml"), warehouse, small.roots, "salient", "cpu")
    assert found == Salience(waits_for="fit language")
