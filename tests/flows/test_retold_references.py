"""Tables that tell a corpus again: what is not there, what does not fit, and what would need itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flows.recipe import Recipe, read_recipe
from tests.flows.test_retelling import PROTOCOL, RECIPE
from warehouse.errors import InvalidField, UnknownField, UnknownName


def recipe_of(folder: Path, text: str) -> Recipe:
    (folder / "two.toml").write_text(PROTOCOL, encoding="utf-8")
    plain = PROTOCOL.replace('"two"', '"plain"').replace('labels = { calm = "calm", loud = "loud" }', "")
    (folder / "plain.toml").write_text(plain, encoding="utf-8")
    (folder / "again.toml").write_text(text, encoding="utf-8")
    return read_recipe(folder / "again.toml")


def test_what_a_corpus_is_told_from_and_who_reads_it(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, RECIPE)
    assert recipe.told_from("clips_spoken") == ["clips_voiced", "clips_heard", "clips"]
    assert recipe.told_from("clips") == [] and recipe.told_from("nobody") == []
    assert {recipe.reader_of(name) for name in ("clips", *recipe.retold)} == {"table"}
    assert {name: (one.told, one.feature) for name, one in recipe.retold.items()} == {
        "clips_spoken": ("sound", "wave"), "clips_heard": ("text", "heard"), "clips_voiced": ("voices", None),
    }  # fmt: skip


ALIGNED = '[align.shipped]\naligner = "provided"\ncorpora = ["clips_heard"]\n[models.reader]'


@pytest.mark.parametrize(
    ("old", "new", "place", "problem"),
    [
        ('text = "heard"', "", "retold.clips_heard", "must have exactly one of text, voices and sound, and has none"),
        ('text = "heard"', 'text = "heard"\nsound = "wave"', "retold.clips_heard",
         "must have exactly one of text, voices and sound, and has text, sound"),
        ("[retold.clips_heard]", "[retold.clips]", "retold.clips",
         "has the name of a corpus that is read: which is meant could not be told"),
        ('corpus = "clips"\ntext', 'corpus = "clip"\ntext', "retold.clips_heard.corpus",
         "names the corpus 'clip', which the recipe does not have"),
        ('corpus = "clips"\ntext', 'corpus = "clips_spoken"\ntext', "retold.clips_spoken.corpus",
         "leads to no corpus that is read: clips_spoken → clips_voiced → clips_heard → clips_spoken"),
        ('sound = "wave"', 'sound = "wave"\nlanguage = "en"', "retold.clips_spoken.language",
         "must not be given: it is of the text, which stays as it is"),
        ('text = "heard"', 'text = "herd.text"', "retold.clips_heard.text",
         "names the feature 'herd', which the recipe does not have"),
        ('corpora = ["clips"]\ncheckpoint', 'corpora = ["clips_heard"]\ncheckpoint', "retold.clips_heard.text",
         "needs 'heard' of 'clips': add that to features.heard.corpora"),
        ('corpora = ["clips"]\ncheckpoint', 'corpora = ["clips", "clips_heard"]\ncheckpoint', "retold.clips_heard",
         "needs itself: reader → clips_heard → heard → clips_heard"),
        ('voices = "two.toml"', 'voices = "iemocap4-loso5"', "retold.clips_voiced.voices",
         "is for the reader 'iemocap', but 'clips' is read by 'table'"),
        ('voices = "two.toml"', 'voices = "plain.toml"', "retold.clips_voiced.voices",
         "names 'plain', which has no classes: whose voice is of the same class could not be told"),
        ('sound = "wave"', 'voices = "two.toml"', "retold.clips_spoken.voices",
         "gives voices to 'clips_voiced', whose sound is others' already (by 'clips_voiced')"),
        ('text = "clips_heard:text"', 'text = "clip_heard:text"', "models.reader.inputs.text",
         "names 'clip_heard:', which is not told from 'clips' (told from it are: clips_spoken, clips_heard, "
         "clips_voiced)"),
        ('speech = "clips_spoken:loud"', 'speech = "clips_heard:loud"', "models.listener.inputs.speech",
         "needs 'loud' of 'clips_heard': add that to features.loud.corpora"),
        ('speech = "clips_spoken:loud"', 'speech = "clips_spoken:lod"', "models.listener.inputs.speech",
         "names the feature 'lod', which the recipe does not have"),
        ('speech = "clips_spoken:loud"', 'speech = "clips_spoken:loud@word"', "models.listener.inputs.speech",
         "needs 'clips_spoken' aligned: give the recipe a table [align.NAME] that has it among its corpora"),
        ('corpus = "clips_heard"\nprotocol = "two.toml"', 'corpus = "clips_heard"\nprotocol = "iemocap4-loso5"',
         "models.hearer_reader.protocol", "is for the reader 'iemocap', but 'clips_heard' is read by 'table'"),
        ("[models.reader]", ALIGNED, "align.shipped.corpora",
         "names 'clips_heard', which is told again: the alignment that is shipped is of other words or sound"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(tmp_path: Path, old: str, new: str, place: str, problem: str) -> None:
    assert RECIPE.count(old) == 1
    with pytest.raises(InvalidField) as raised:
        recipe_of(tmp_path, RECIPE.replace(old, new))
    assert str(raised.value) == f"recipe 'again': field '{place}' {problem}"


def test_what_is_told_from_another_corpus_is_no_source_of_a_model(tmp_path: Path) -> None:
    text = RECIPE + '[corpora.other]\nreader = "table"\nfile = "clips.csv"\n'
    text = text.replace('corpus = "clips"\nprotocol = "two.toml"\ninputs = { text', 'corpus = "other"\nprotocol = '
                        '"two.toml"\ninputs = { text')  # fmt: skip
    with pytest.raises(InvalidField, match=r"'clips_heard:', which is not told from 'other' \(told from it are: none"):
        recipe_of(tmp_path, text)


def test_a_circle_that_no_model_is_part_of_is_seen_too(tmp_path: Path) -> None:
    text = re.sub(r"\[models\..*", "", RECIPE, flags=re.DOTALL)
    text = text.replace('corpora = ["clips"]\ncheckpoint', 'corpora = ["clips", "clips_heard"]\ncheckpoint')
    circle = "clips_spoken → wave → clips_voiced → clips_heard → heard → clips_heard"
    with pytest.raises(InvalidField, match=f"field 'retold.clips_heard' needs itself: {circle}"):
        recipe_of(tmp_path, text)


def test_names_are_held_against_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(UnknownField, match=r"\[retold\.clips_heard\]: no field 'txt'; did you mean 'text'\?"):
        recipe_of(tmp_path, RECIPE.replace('text = "heard"', 'txt = "heard"'))
    with pytest.raises(InvalidField, match="field 'text' is wrong: string should have at least 1 character"):
        recipe_of(tmp_path, RECIPE.replace('text = "heard"', 'text = ""'))
    with pytest.raises(UnknownName, match="no protocol 'two'"):
        recipe_of(tmp_path, RECIPE.replace('voices = "two.toml"', 'voices = "two"'))


@pytest.mark.parametrize("section", ["align", "features", "selections", "models"])
def test_whatever_takes_a_corpus_takes_one_that_is_told_again(tmp_path: Path, section: str) -> None:
    more = {
        "align": '[align.sphinx]\naligner = "pocketsphinx"\ncorpora = ["clips", "clips_heard", "clips_spoken"]\n',
        "features": '[features.again]\nextractor = "mfcc"\ncorpora = ["clips_spoken", "clips_voiced"]\n',
        "selections": '[selections.sure]\ncorpus = "clips_heard"\nlogits = "loud.logits"\nthreshold = 0.5\n',
        "models": "",
    }
    recipe = recipe_of(tmp_path, RECIPE + more[section])
    assert recipe.models["hearer_reader"].corpora == ["clips_heard"]
