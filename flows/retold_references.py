"""What the tables of a recipe that tell corpora again refer to must be there, and must fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from flows.protocol import read_protocol
from flows.sources import TEXT, read_source

if TYPE_CHECKING:
    from flows.recipe import Recipe


def mistold(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """(field, problem) of the tables [retold.NAME]. That they come from corpora that are read is looked at first."""
    for name, entry in recipe.retold.items():
        if name in recipe.corpora:
            yield f"retold.{name}", "has the name of a corpus that is read: which is meant could not be told"
        if len(entry.tellings) != 1:
            given = ", ".join(entry.tellings) or "none"
            yield f"retold.{name}", f"must have exactly one of text, voices and sound, and has {given}"
        if entry.corpus not in recipe.corpora and entry.corpus not in recipe.retold:
            yield f"retold.{name}.corpus", f"names the corpus '{entry.corpus}', which the recipe does not have"
    for name, entry in recipe.retold.items():
        if recipe.told_from(name)[-1] in recipe.retold:
            circle = " → ".join([name, *recipe.told_from(name)])
            yield f"retold.{name}.corpus", f"leads to no corpus that is read: {circle}"
        if entry.language and not entry.text:
            yield f"retold.{name}.language", "must not be given: it is of the text, which stays as it is"
        problems = _unmade(recipe, entry.feature, entry.corpus) if entry.feature else _unvoiced(recipe, name)
        yield from ((f"retold.{name}.{entry.told}", problem) for problem in problems)


def untold(recipe: Recipe, told: str, source: str, corpora: Sequence[str]) -> Iterator[str]:
    """What keeps a source from being read of a corpus told again."""
    for corpus in corpora:
        if told not in recipe.retold or corpus not in recipe.told_from(told):
            known = ", ".join(name for name in recipe.retold if corpus in recipe.told_from(name)) or "none"
            yield f"names '{told}:', which is not told from '{corpus}' (told from it are: {known})"
    feature = "" if source == TEXT else read_source(source).feature
    if feature:
        yield from _unmade(recipe, feature, told)


def _unmade(recipe: Recipe, feature: str, corpus: str) -> Iterator[str]:
    if feature not in recipe.features:
        yield f"names the feature '{feature}', which the recipe does not have"
    elif corpus not in recipe.features[feature].corpora:
        yield f"needs '{feature}' of '{corpus}': add that to features.{feature}.corpora"


def _unvoiced(recipe: Recipe, name: str) -> Iterator[str]:
    """What keeps the utterances of a corpus from getting the voices of others."""
    protocol = read_protocol(str(recipe.retold[name].voices), recipe.folder)
    if (reader := recipe.reader_of(name)) not in protocol.readers:
        made_for = " or ".join(f"'{one}'" for one in protocol.readers)
        yield f"is for the reader {made_for}, but '{recipe.told_from(name)[-1]}' is read by '{reader}'"
    if not protocol.classes:
        yield f"names '{protocol.id}', which has no classes: whose voice is of the same class could not be told"
    for other in recipe.told_from(name):
        if other in recipe.retold and recipe.retold[other].voices:
            yield f"gives voices to '{recipe.retold[name].corpus}', whose sound is others' already (by '{other}')"
