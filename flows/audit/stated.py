"""Facts that people state in TOML: those that come with Emolake, and a lake's own, in the same form."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from flows.protocol import read_toml
from warehouse.catalog import wrong_field
from warehouse.errors import InvalidField

SHIPPED = Path(__file__).parent

S = TypeVar("S", bound="Section")


class Section(BaseModel):
    """A table of such a file: no field but those that are declared."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Files(NamedTuple):
    """Where such facts stand: in the lake, where there may be nothing, and with Emolake."""

    own: Path
    shipped: Path


def files_of(lake: Path, name: str) -> Files:
    """The two files of a name, such as 'licences'."""
    return Files(lake / f"{name}.toml", SHIPPED / f"{name}.toml")


def read_stated(path: Path, form: type[S]) -> S:
    """What a file states; nothing where there is none.

    Raises:
        MalformedSource: it is not UTF-8, or not TOML.
        InvalidField: it has other fields than it may, or lacks one.
    """
    if not path.is_file():
        return form()
    _, tree = read_toml(path)
    try:
        return form.model_validate(tree)
    except ValidationError as error:
        raise InvalidField(str(path), *wrong_field(error)) from error


def bare(name: str) -> str:
    """A name without marks and case, as names are compared.

    Example:
        >>> bare("CMU-MOSEI") == bare("cmu_mosei")
        True
    """
    return re.sub(r"[^a-z0-9]", "", name.lower())
