"""Fits that could not be made while others of their model could: who can do without them, and who cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.errors import InvalidField

if TYPE_CHECKING:
    from flows.line import Line


def refuse_unfitted(line: Line, model: str, who: str) -> None:
    """Called by what needs every fit of a model.

    Args:
        who: needs them.

    Raises:
        InvalidField: some could not be made.
    """
    if line.unfitted.get(model):
        problem = f"lacks {_places(line, model)}, which could not be fitted, and {who} needs all: mend that first"
        raise InvalidField(f"recipe '{line.recipe.name}'", f"models.{model}", problem)


def unfitted_sentences(line: Line) -> list[str]:
    """What a report says of the models whose figures are of some of their folds and seeds only."""
    return [
        f"'{name}' lacks {_places(line, name)}, which could not be fitted: its figures are of the others."
        for name in (line.recipe.report.models if line.recipe.report else ()) if line.unfitted.get(name)
    ]  # fmt: skip


def _places(line: Line, model: str) -> str:
    return " and ".join(f"fold '{fold}', seed {seed}" for fold, seed in line.unfitted[model])
