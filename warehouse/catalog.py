"""The folder is the registry: a plug-in is found by the name of its file, and by nothing else.

A plug-in is one frozen dataclass in a file of its own. Its fields are its identity; `version` is raised by hand
when the same fields give other numbers. Device, batch size and workers are arguments of whoever calls it and
cannot leak into identity.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import ModuleType
from typing import Annotated, Any, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from warehouse.errors import InvalidField, UnknownField, UnknownName
from warehouse.hashing import short_digest

Count = Annotated[int, Field(ge=1)]
"""The type of a field that is a number of layers, tokens or the like: at least one."""

CountOrZero = Annotated[int, Field(ge=0)]
"""Of a field that is such a number, where 0 is to do without."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""Of a temperature, a rate, a length of time."""

PositiveOrZero = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""The same, where 0 is to do without."""

Share = Annotated[float, Field(ge=0, lt=1)]
"""Of what is dropped or spread: all of it would leave nothing."""

_BOUNDS = {
    "greater_than_equal": "at least {ge:g}", "greater_than": "above {gt:g}", "less_than": "below {lt:g}",
    "less_than_equal": "at most {le:g}", "finite_number": "a finite number",
}  # fmt: skip
"""What must be, by the kind of the error that pydantic finds."""


def names(room: str) -> list[str]:
    """The plug-ins of a room such as 'features.extractors', by file name."""
    package = importlib.import_module(room)
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def plugin_class(room: str, name: str) -> type:
    """The one frozen dataclass with a `version` that the file `name` of a room defines.

    Raises:
        UnknownName: no such file, with the nearest name.
    """
    known = names(room)
    if name not in known:
        raise UnknownName(room.rpartition(".")[2].rstrip("s").replace("corpora", "corpus"), name, known)
    return _only_plugin(importlib.import_module(f"{room}.{name}"))


def build(room: str, name: str, fields: Mapping[str, Any], where: str) -> Any:
    """The plug-in with these fields, checked for unknown names and wrong types.

    Raises:
        UnknownName, UnknownField, InvalidField.
    """
    return filled(plugin_class(room, name), fields, where)


def filled(cls: type, fields: Mapping[str, Any], where: str) -> Any:
    """An instance of a frozen dataclass with these fields, checked for unknown names, wrong types and bounds.

    Args:
        where: what the error should call the place the fields came from ("recipe 'demo' [features.lld]").

    Raises:
        UnknownField, InvalidField.
    """
    known = _readers(cls)
    typed = {}
    for key, value in fields.items():
        if key not in known:
            raise UnknownField(where, key, known)
        try:
            typed[key] = known[key].validate_python(value)
        except ValidationError as error:
            raise InvalidField(where, key, _problem(value, error)) from error
    missing = [
        f.name
        for f in dataclasses.fields(cls)
        if f.name not in typed and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise InvalidField(where, missing[0], "must be given")
    return cls(**typed)


@cache
def _readers(cls: type) -> dict[str, TypeAdapter[Any]]:
    """What checks the value of each field. Making one takes longer than a hundred checks, and the points of a grid are
    many."""
    hints = get_type_hints(cls, include_extras=True)
    lax = ConfigDict(strict=False)
    return {field.name: TypeAdapter(hints[field.name], config=lax) for field in dataclasses.fields(cls)}


def _problem(value: Any, error: ValidationError) -> str:
    first = error.errors()[0]
    if first["type"] in _BOUNDS and not first["loc"]:
        return f"is {value!r}, but must be {_BOUNDS[first['type']].format(**first.get('ctx', {}))}"
    return f"is {value!r}: {_begun_small(first['msg'])}"


def wrong_field(error: ValidationError) -> tuple[str, str]:
    """The first field that pydantic finds wrong, and what is said of it."""
    first = error.errors()[0]
    return ".".join(map(str, first["loc"])), f"is wrong: {_begun_small(first['msg'])}"


def _begun_small(sentence: str) -> str:
    """Pydantic's sentence within one of ours. What it quotes, as a pattern, a name or a value, keeps its case."""
    sentence = sentence.removeprefix("Value error, ")
    return sentence[:1].lower() + sentence[1:]


def identity(step: str, plugin: Any) -> dict[str, Any]:
    """The list that a plug-in's key is the digest of: its file, version and fields.

    A plug-in with `identity_fields()` says itself what stands for its fields: for the path of a file its digest.
    """
    own = getattr(plugin, "identity_fields", None)
    fields = own() if own else {f.name: getattr(plugin, f.name) for f in dataclasses.fields(plugin)}
    return {"step": step, "version": plugin.version, "fields": fields}


def plugin_key(step: str, plugin: Any) -> str:
    """The namespace of a plug-in's rows."""
    return short_digest(identity(step, plugin))


def _only_plugin(module: ModuleType) -> type:
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and dataclasses.is_dataclass(value)
        and value.__module__ == module.__name__
        and isinstance(vars(value).get("version"), int)
    ]
    if len(found) != 1:
        raise TypeError(f"{module.__name__} must define exactly one plug-in dataclass with a version, not {len(found)}")
    return found[0]
