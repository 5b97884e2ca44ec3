"""What a recipe says of teachers and of raters' votes must be there, must fit, and must let no test label through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from models.orders import TEACHER_TERMS, terms_of
from warehouse.catalog import build

if TYPE_CHECKING:
    from flows.recipe import Recipe


def roles_taught(recipe: Recipe, model: str) -> list[str]:
    """The roles of a teacher that the objective of a model reads, be it by terms that any student has or by its own."""
    entry, terms = recipe.models[model], _terms(recipe, model)
    read = {role for term in entry.objective for role in terms.get(term, ())}
    return [role for roles in TEACHER_TERMS.values() for role in roles if role in read]


def mistaught(recipe: Recipe, model: str) -> Iterator[tuple[str, str]]:
    """(field, problem) of a teacher that cannot teach a model."""
    entry, place = recipe.models[model], f"models.{model}.teacher"
    if entry.teacher is None:
        return
    if entry.teacher not in recipe.models:
        yield place, f"names the model '{entry.teacher}', which the recipe does not have"
        return
    if _learned_from(recipe, entry.teacher) != _learned_from(recipe, model):
        yield (
            place,
            (
                f"names '{entry.teacher}', which must have the same corpus, protocol, selection and select_on: what it "
                "learned from could be what its student is tested on"
            ),
        )
    if not recipe.protocol(model).labels and entry.selection is None:
        yield place, f"names '{entry.teacher}', whose protocol tells no classes"
    taught = roles_taught(recipe, model)
    if not _terms(recipe, model):
        yield place, f"names '{entry.teacher}', but '{entry.student}' is solved in closed form: nobody can teach it"
    if not taught:
        some = " or ".join(f"'{term}'" for term in TEACHER_TERMS)
        yield place, f"names '{entry.teacher}', but the objective has no term that a teacher tells: add {some}"
    for role in taught:
        if role in entry.inputs:
            yield f"models.{model}.inputs.{role}", f"must not be given: '{entry.teacher}', the teacher, tells it"


def misvoted(recipe: Recipe, model: str) -> Iterator[tuple[str, str]]:
    """(field, problem) of soft labels that no rater can have voted for."""
    entry = recipe.models[model]
    if not entry.fit.get("soft_labels"):
        return
    if not _terms(recipe, model):
        yield f"models.{model}.fit", f"must have no soft_labels: '{entry.student}' is solved in closed form"
    elif entry.selection is not None:
        yield f"models.{model}.fit", "must have no soft_labels: the labels of a selection are a teacher's"
    elif recipe.protocol(model).value or not recipe.protocol(model).labels:
        yield f"models.{model}.fit", "must have no soft_labels: its protocol has no classes that a rater names"


def _terms(recipe: Recipe, model: str) -> Mapping[str, Sequence[str]]:
    entry = recipe.models[model]
    return terms_of(build("models.students", entry.student, entry.fields, f"[models.{model}]"))


def _learned_from(recipe: Recipe, model: str) -> Sequence[object]:
    entry = recipe.models[model]
    return entry.corpora, recipe.protocol(model), entry.selection, entry.select_on
