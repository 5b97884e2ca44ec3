"""What a report, a grid or an average cannot be of, told when the recipe is read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flows.recipe import Recipe, read_recipe
from tests.flows.swept import PROTOCOL, RECIPE
from warehouse.errors import EmolakeError, InvalidField, UnknownField

FURTHER = """
[models.other]
student = "linear"
corpus = "clips"
protocol = "calm2.toml"
inputs = { vector = "vector" }
[report]"""


def read(folder: Path, *changes: tuple[str, str]) -> Recipe:
    text = RECIPE
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "swept.toml").write_text(text, encoding="utf-8")
    (folder / "calm2.toml").write_text(PROTOCOL, encoding="utf-8")
    (folder / "nodev.toml").write_text(re.sub("dev = .*", "", PROTOCOL.replace("calm2", "nodev")), encoding="utf-8")
    (folder / "nometric.toml").write_text(re.sub("metrics = .*", "", PROTOCOL.replace("calm2", "nometric")), "utf-8")
    (folder / "alike.toml").write_text(PROTOCOL.replace("calm2", "alike"), encoding="utf-8")
    return read_recipe(folder / "swept.toml")


WORDS = 'heads = 1\ndropout = 0.0\ncorpus = "clips"\nprotocol = "calm2.toml"'
AVERAGE = 'both = ["words", "sound"]'
MODELS = 'models = ["words", "sound"]'


def test_names_of_a_report_and_what_is_behind_them(tmp_path: Path) -> None:
    recipe = read(tmp_path, ("\n[report]", FURTHER), (AVERAGE, 'both = ["words", "other"]'))
    assert recipe.report is not None and recipe.report.names == ["words", "sound", "both"]
    words = ["words(fit.learning_rate=1e-09)", "words(fit.learning_rate=0.01)"]
    assert recipe.behind("words") == words and recipe.behind("other") == ["other"]
    assert recipe.behind("both") == [*words, "other"]
    assert recipe.protocol("both").id == recipe.protocol("words").id == "calm2"
    assert "words" not in recipe.models and set(words) < set(recipe.models)


def test_a_point_may_be_started_from_and_taught_by(tmp_path: Path) -> None:
    started = FURTHER.replace('vector = "vector"', 'text = "text"').replace(
        'student = "linear"',
        'student = "text_encoder"\ntask = "classify"\ninit = "words(fit.learning_rate=0.01)"\n'
        "objective = { label = 1.0 }\nfit = { epochs = 1, learning_rate = 1e-3, batch_frames = 10 }",
    )
    assert read(tmp_path, ("\n[report]", started)).models["other"].init == "words(fit.learning_rate=0.01)"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ([(MODELS, 'models = ["wrods"]')], "field 'report.models' names the model 'wrods', which the recipe does not"),
        ([(MODELS, 'models = ["sound(inverse_strength=1)"]')],
         "field 'report.models' names a point of the grid 'sound': name the grid, whose best point on dev is reported"),
        ([(MODELS, 'models = []')], "field 'report.models' must name at least one"),
        ([(MODELS, 'models = ["words", "words"]')], "field 'report.models' names 'words' 2 times"),
        ([(AVERAGE, 'both = ["words", "nobody"]')],
         "field 'report.averages.both' names the model 'nobody', which the recipe does not have"),
        ([(AVERAGE, 'both = []')], "field 'report.averages.both' must name at least one"),
        ([(AVERAGE, 'both = ["words"]')], "field 'report.averages.both' names 'words' alone: a mean is of two models"),
        ([(AVERAGE, 'both = ["words", "words"]')], "field 'report.averages.both' names 'words' 2 times"),
        ([(AVERAGE, 'sound = ["words", "sound"]')], "field 'report.averages.sound' has the name of a model too"),
        ([(AVERAGE, 'words-sound = ["words", "sound"]')], "field 'averages.words-sound.* is wrong"),
        ([(AVERAGE, 'both = ["words", "sound"], again = ["both", "sound"]')],
         "field 'report.averages.again' names the model 'both', which the recipe does not have"),
        ([(WORDS, WORDS.replace("calm2", "alike"))],
         "'report.averages.both' averages 'words' and 'sound', whose protocols differ: their rows would not be the"),
        ([(WORDS, WORDS + "\nseeds = [0, 1]")], "averages 'words' and 'sound', whose seeds differ"),
        ([(WORDS, WORDS + '\nselect_on = "test"')], "averages 'words' and 'sound', whose select_on differ"),
        ([(WORDS, WORDS.replace("calm2", "nodev"))],
         "field 'report.models' names the grid 'words', but protocol 'nodev' has no dev part to choose a point by"),
        ([(WORDS, WORDS.replace("calm2", "nometric"))],
         "field 'report.models' names the grid 'words', but protocol 'nometric' has no metric to choose a point by"),
        ([("\n[report]", FURTHER), ('[models.other]', '[models.other]\ninit = "sound"')],
         r"field 'models.other.init' names the grid 'sound': name one of its points, such as 'sound\(inverse_stren"),
        ([("\n[report]", FURTHER), ('[models.other]', '[models.other]\nteacher = "sound"')],
         r"field 'models.other.teacher' names the grid 'sound': name one of its points, such as 'sound\(inverse_"),
        ([('extractor = "opensmile"\n', 'extractor = "encoder"\ncheckpoint = "words"\n'),
          ('feature_set = "eGeMAPSv02"\nlevel = "functionals"\n', "")],
         "field 'features.vector.checkpoint' names the grid 'words': name one of its points, such as 'words"),
        ([("[features.vector]", '[checkpoints.words]\nfolder = "w"\nlicence = "none"\n[features.vector]')],
         "field 'checkpoints.words' has the name of a grid too: which is meant could not be told"),
        ([("inverse_strength = [0.1, 1, 10]", "inverse_strength = 0.1")],
         r"\[models.sound.grid\]: field 'inverse_strength' is 0.1, but must be a list of values"),
    ],
)  # fmt: skip
def test_each_mistake_is_named_with_its_place(tmp_path: Path, changes: list[tuple[str, str]], sentence: str) -> None:
    with pytest.raises(InvalidField, match=sentence):
        read(tmp_path, *changes)


def test_a_section_called_grids_is_none(tmp_path: Path) -> None:
    with pytest.raises(UnknownField, match="recipe 'swept': no field 'grids'"):
        read(tmp_path, ("[report]", "[grids]\na = 1\n[report]"))


def test_a_point_that_a_student_refuses_is_told(tmp_path: Path) -> None:
    with pytest.raises(EmolakeError, match="field 'inverse_strength' is -1, but must be above 0"):
        read(tmp_path, ("[0.1, 1, 10]", "[0.1, -1]"))
