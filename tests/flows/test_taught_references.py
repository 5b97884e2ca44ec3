"""Teachers that are not there, do not fit or would let a test label through, and votes that nobody casts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flows.recipe import Recipe, read_recipe
from flows.taught_references import roles_taught
from models.orders import fit_request
from tests.flows.test_teaching import RECIPE
from warehouse.errors import InvalidField, UnknownField

OTHER = """
[models.other]
student = "pooled"
modalities = "audio"
corpus = "iemocap"
protocol = "sandbox4-loso5:seed=4"
inputs = { audio_states = "mfcc" }
objective = { label = 1.0 }
fit = { epochs = 1, learning_rate = 1e-3, batch_frames = 8000 }

[report]"""


def recipe_of(folder: Path, text: str) -> Recipe:
    (folder / "taught.toml").write_text(text, encoding="utf-8")
    return read_recipe(folder / "taught.toml")


def test_a_teacher_tells_what_the_objective_reads(tmp_path: Path) -> None:
    assert roles_taught(recipe_of(tmp_path, RECIPE), "student") == ["teacher_logits", "teacher_pooled"]
    less = RECIPE.replace("logits = 1.0, features = 0.1", "features = 0.1").replace(", teacher_temperature = 3.0", "")
    assert roles_taught(recipe_of(tmp_path, less), "student") == ["teacher_pooled"]
    assert roles_taught(recipe_of(tmp_path, RECIPE), "teacher") == []


def test_a_student_with_terms_of_its_own_may_be_told_the_same_logits(tmp_path: Path) -> None:
    changes = {
        'student = "pooled"\nmodalities = "audio"\npooling = "statistics"': 'student = "mced"',
        'audio_states = "mfcc" }\nobjective = { label = 0.5, logits = 1.0, features = 0.1 }':
            'speech = "mfcc" }\nobjective = { label = 0.5, response = 1.0 }',
        ", teacher_temperature = 3.0": "",
    }  # fmt: skip
    text = RECIPE
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    assert roles_taught(recipe_of(tmp_path, text), "student") == ["teacher_logits"]


@pytest.mark.parametrize(("old", "new", "place", "problem"), [
    ('teacher = "teacher"', 'teacher = "teach"', "models.student.teacher",
     "names the model 'teach', which the recipe does not have"),
    ('teacher = "teacher"', 'teacher = "student"', "models.student", "needs itself: student → student"),
    ('teacher = "teacher"', 'teacher = "other"', "models.student.teacher",
     "names 'other', which must have the same corpus, protocol, selection and select_on: what it learned from could"),
    ('teacher = "teacher"', 'teacher = "teacher"\nselect_on = "test"', "models.student.teacher",
     "names 'teacher', which must have the same corpus, protocol, selection and select_on"),
    ("{ label = 0.5, logits = 1.0, features = 0.1 }", "{ label = 0.5 }", "models.student.teacher",
     "names 'teacher', but the objective has no term that a teacher tells: add 'logits' or 'features'"),
    ('inputs = { audio_states = "mfcc" }\nobjective = { label = 0.5',
     'inputs = { audio_states = "mfcc", teacher_pooled = "mfcc" }\nobjective = { label = 0.5',
     "models.student.inputs.teacher_pooled", "must not be given: 'teacher', the teacher, tells it"),
    ('"sandbox4-loso5"', '"unlabelled.toml"', "models.teacher.fit",
     "must have no soft_labels: its protocol has no classes that a rater names"),
])  # fmt: skip
def test_what_cannot_teach(tmp_path: Path, old: str, new: str, place: str, problem: str) -> None:
    (tmp_path / "unlabelled.toml").write_text('id = "unlabelled"\nreader = "iemocap"\ntitle = "t"\n')
    text = RECIPE.replace("[report]", OTHER)
    assert old in text
    with pytest.raises(InvalidField, match=re.escape(f"field '{place}' {problem}")):
        recipe_of(tmp_path, text.replace(old, new))


@pytest.mark.parametrize(("taught", "sentence"), [
    ('teacher = "other"', "field 'models.closed.teacher' names 'other', but 'linear' is solved in closed form: nobody"),
    ("fit = { soft_labels = true }", "field 'models.closed.fit' must have no soft_labels: 'linear' is solved in"),
])  # fmt: skip
def test_who_is_solved_in_closed_form_learns_from_labels_alone(tmp_path: Path, taught: str, sentence: str) -> None:
    closed = f"""
[models.closed]
student = "linear"
corpus = "iemocap"
protocol = "sandbox4-loso5:seed=4"
inputs = {{ vector = "mfcc" }}
{taught}
"""
    with pytest.raises(InvalidField, match=re.escape(sentence)):
        recipe_of(tmp_path, RECIPE.replace("[report]", closed + OTHER))


def test_a_teacher_without_classes(tmp_path: Path) -> None:
    (tmp_path / "unlabelled.toml").write_text('id = "unlabelled"\nreader = "iemocap"\ntitle = "t"\n')
    text = RECIPE.replace('"sandbox4-loso5"', '"unlabelled.toml"').replace(", soft_labels = true", "")
    sentence = "field 'models.student.teacher' names 'teacher', whose protocol tells no classes"
    with pytest.raises(InvalidField, match=re.escape(sentence)):
        recipe_of(tmp_path, text)


def test_the_labels_of_a_selection_are_nobodys_votes(tmp_path: Path) -> None:
    text = RECIPE.replace("seeds = [0, 1]", 'seeds = [0, 1]\nselection = "sure"').replace(
        "[report]", '[selections.sure]\ncorpus = "iemocap"\nlogits = "mfcc"\nthreshold = 0.5\n\n[report]'
    )
    sentence = "field 'models.teacher.fit' must have no soft_labels: the labels of a selection are a teacher's"
    with pytest.raises(InvalidField, match=re.escape(sentence)):
        recipe_of(tmp_path, text)


def test_a_term_that_nobody_has_is_told_with_those_that_any_student_has() -> None:
    settings = {"epochs": 1, "learning_rate": 1, "batch_frames": 1}
    shards = {"audio_states": ["d1"], "text_states": ["d2"]}
    with pytest.raises(UnknownField, match=r"no field 'feature'; did you mean 'features'"):
        fit_request(
            "pooled", {}, fit=settings, objective={"feature": 1}, classes=["a"], seed=0, shards=shards, split="d3"
        )
