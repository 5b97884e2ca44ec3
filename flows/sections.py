"""Sections of sentences and tables, as one HTML page that needs nothing else: what cards and audits are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Section:
    """One part of a page: sentences, then a picture in SVG if there is one, then a table that may have no row."""

    title: str
    text: Sequence[str] = ()
    head: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    figure: Markup | None = None


def html_page(title: str, sections: Sequence[Section]) -> str:
    """The page; all but the pictures is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # for those who write pages

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("sections.html.j2").render(title=title, sections=sections)
