"""Grids: a model of a recipe whose fields have lists of values, and the models that these stand for."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from models.orders import Fit
from models.plugin import encoder_slots
from warehouse.catalog import build, plugin_class
from warehouse.errors import InvalidField, UnknownField

MOST_POINTS = 1000
"""Of one grid: a zero too many is no reason to fill a lake."""

_ROOM = "models.students"


@dataclass(frozen=True)
class Point:
    """One combination of a grid's values.

    Args:
        name: of its model, such as 'cmd(temperature=0.5, fit.batch_frames=4000)'.
        settings: field -> value: of the student, or 'fit.X', 'objective.TERM', 'inputs.ROLE', 'encoders.SLOT'.
    """

    name: str
    settings: Mapping[str, Any]


def expanded(models: Mapping[str, Any], where: str) -> tuple[dict[str, Any], dict[str, list[Point]]]:
    """The models of a recipe as it is written -> those that it stands for, and the points of each grid.

    A model with a grid becomes one model per combination of its values, the last field varying fastest. Several grids
    of a model are taken together. Where a model with a grid starts from another with a grid, each of its points starts
    from the one that has the same values of that grid's fields.

    Args:
        models: name -> table, as TOML gives it.
        where: what an error calls the recipe.

    Raises:
        InvalidField, UnknownField, UnknownName.

    Example:
        >>> table = {"student": "linear", "grid": {"inverse_strength": [0.1, 1.0]}}
        >>> models, grids = expanded({"baseline": table}, "recipe 'demo'")
        >>> models["baseline(inverse_strength=0.1)"]
        {'student': 'linear', 'inverse_strength': 0.1}
        >>> [point.name for point in grids["baseline"]]
        ['baseline(inverse_strength=0.1)', 'baseline(inverse_strength=1.0)']
    """
    for name in models:
        if "(" in name:
            raise InvalidField(where, f"models.{name}", "must not have '(' in its name: only points of grids do")
    swept = {name: table for name, table in models.items() if isinstance(table, dict) and "grid" in table}
    grids = {name: _points(name, table, f"{where} [models.{name}.grid]") for name, table in swept.items()}
    found: dict[str, Any] = {}
    for name, table in models.items():
        if name not in grids:
            found[name] = table
        for point in grids.get(name, []):
            found[point.name] = _model(table, point, grids, f"{where} [models.{name}]")
    return found, grids


# -- inside ----------------------------------------------------------------------------------------------------------


def _points(name: str, table: Mapping[str, Any], where: str) -> list[Point]:
    given = table["grid"] if isinstance(table["grid"], list) else [table["grid"]]
    if not given or not all(isinstance(one, dict) and one for one in given):
        raise InvalidField(where, "grid", "must be a table of lists, one for each field that varies")
    for one in given:
        for field, values in one.items():
            _check_values(field, values, where)
    n_points = sum(math.prod(len(values) for values in one.values()) for one in given)
    if n_points > MOST_POINTS:
        raise InvalidField(where, "grid", f"has {n_points} points, but {MOST_POINTS} is the most: leave values out")
    points = [_point(name, settings) for one in given for settings in _combinations(one)]
    for twice, n_times in Counter(point.name for point in points).items():
        if n_times > 1:
            raise InvalidField(where, "grid", f"has the point '{twice}' {n_times} times")
    for point in points:
        _check_known(table, point, where)
    for field in dict.fromkeys(field for one in given for field in one):
        _check_unset(field, table, where)
    return points


def _combinations(grid: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    yield from (dict(zip(grid, values, strict=True)) for values in product(*grid.values()))


def _point(name: str, settings: Mapping[str, Any]) -> Point:
    return Point(f"{name}({', '.join(f'{field}={_text(value)}' for field, value in settings.items())})", settings)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "+".join(map(_text, value)) or "none" if isinstance(value, list) else str(value)


def _check_values(field: str, values: Any, where: str) -> None:
    if not isinstance(values, list):
        raise InvalidField(where, field, f"is {values!r}, but must be a list of values")
    if not values:
        raise InvalidField(where, field, "must list at least one value")
    for value in values:
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, (bool, int, float, str)):
                problem = f"lists {value!r}, but may list numbers, text, booleans or lists of these"
                raise InvalidField(where, field, problem)


def _check_unset(field: str, table: Mapping[str, Any], where: str) -> None:
    section, is_in_section, name = field.partition(".")
    own = table.get(section, {}) if is_in_section else table
    if not isinstance(own, dict):
        raise InvalidField(where, section, "must be a table of the model, for the grid varies a field of it")
    if (name or section) in own:
        raise InvalidField(where, field, "is set by the model too: leave it out there, or here")


def _check_known(table: Mapping[str, Any], point: Point, where: str) -> None:
    """Every field that varies is one of the student as it is set, or of its training."""
    if not isinstance(table.get("student"), str):
        return  # the model itself is refused
    own = {field.name for field in dataclasses.fields(plugin_class(_ROOM, table["student"]))}
    known = own | {f"fit.{field.name}" for field in dataclasses.fields(Fit)}
    plain = {field: value for field, value in point.settings.items() if "." not in field}
    if plain.keys() <= own:
        set_there = {field: value for field, value in table.items() if field in own}
        student = build(_ROOM, table["student"], set_there | plain, f"{where} {point.name}")
        known |= {f"objective.{term}" for term in student.terms}
        known |= {f"inputs.{role}" for role in (*student.inputs, *(r for some in student.terms.values() for r in some))}
        known |= {f"encoders.{slot}" for slot in encoder_slots(student)}
    for field in point.settings:
        if field not in known:
            raise UnknownField(where, field, known)


def _model(table: Mapping[str, Any], point: Point, grids: Mapping[str, Sequence[Point]], where: str) -> dict[str, Any]:
    """The table of a point's model."""
    model = {field: value for field, value in table.items() if field != "grid"}
    for field, value in point.settings.items():
        section, is_in_section, name = field.partition(".")
        model |= {section: model.get(section, {}) | {name: value}} if is_in_section else {field: value}
    start = table.get("init")
    if isinstance(start, str) and start in grids:
        fitting = [one for one in grids[start] if one.settings.items() <= point.settings.items()]
        if len(fitting) != 1:
            problem = f"names the grid '{start}', of which {len(fitting)} points have the values of '{point.name}'"
            raise InvalidField(where, "init", f"{problem}, not one: give both grids the same fields and values")
        model["init"] = fitting[0].name
    return model
