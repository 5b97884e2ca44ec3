"""What a recipe says of its report, and of grids, must be there and must fit: grids, averages and what they are of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.recipe import Recipe


def unchosen(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """(field, problem) of what starts from a grid, whose best point is known only when all are fitted."""
    asked = {f"features.{name}.checkpoint": one.checkpoint for name, one in recipe.features.items()}
    for name, model in recipe.models.items():
        asked |= {f"models.{name}.init": model.init, f"models.{name}.teacher": model.teacher}
    for place, start in asked.items():
        if start in recipe.grids:
            yield place, f"names the grid '{start}': name one of its points, such as '{recipe.behind(start)[0]}'"
    for name in recipe.checkpoints.keys() & recipe.grids.keys():
        yield f"checkpoints.{name}", "has the name of a grid too: which is meant could not be told"


def misreported(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """(field, problem) of a report whose models, grids or averages are not there, or cannot be judged together."""
    report = recipe.report
    if report is None:
        return
    places = {"report.models": report.models}
    places |= {f"report.averages.{name}": members for name, members in report.averages.items()}
    for place, names in places.items():
        if not names:
            yield place, "must name at least one"
        for name, n_times in Counter(names).items():
            yield from ((place, problem) for problem in _unjudged(recipe, name))
            if n_times > 1:
                yield place, f"names '{name}' {n_times} times"
    for name, members in report.averages.items():
        yield from ((f"report.averages.{name}", problem) for problem in _unlike(recipe, name, members))


def _unjudged(recipe: Recipe, name: str) -> Iterator[str]:
    """What keeps a model or a grid from a table."""
    for grid, points in recipe.grids.items():
        if name in (point.name for point in points):
            yield f"names a point of the grid '{grid}': name the grid, whose best point on dev is reported"
    if name not in recipe.models and name not in recipe.grids:
        yield f"names the model '{name}', which the recipe does not have"
        return
    protocol, entry = recipe.protocol(name), recipe.models[recipe.behind(name)[0]]
    if not protocol.labels and entry.selection is None:
        yield f"names '{name}', but no class is told by its protocol or by a teacher's selection"
    if name in recipe.grids and not (
        protocol.metrics and ("dev" in protocol.judged_parts or entry.select_on == "test")
    ):
        lacking = "dev part" if protocol.metrics else "metric"
        yield f"names the grid '{name}', but protocol '{protocol.id}' has no {lacking} to choose a point by"


def _unlike(recipe: Recipe, name: str, members: list[str]) -> Iterator[str]:
    """What keeps the members of an average from having a mean, as far as it is known before anything is fitted."""
    if name in recipe.models or name in recipe.grids:
        yield "has the name of a model too: which is meant could not be told"
    if len(members) < 2:
        yield f"names '{members[0]}' alone: a mean is of two models or more"
    first, *others = members
    for other in others:
        for what, a, b in zip(_ALIKE, _likeness(recipe, first), _likeness(recipe, other), strict=True):
            if a != b:
                yield f"averages '{first}' and '{other}', whose {what} differ: their rows would not be the same"


_ALIKE = ("corpora", "protocols", "seeds", "selections", "select_on")


def _likeness(recipe: Recipe, name: str) -> tuple[Any, ...]:
    entry = recipe.models[recipe.behind(name)[0]]
    return entry.corpora, recipe.protocol(name), set(entry.seeds), entry.selection, entry.select_on
