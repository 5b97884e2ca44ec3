"""The papers' tables on the lake of a small form of a recipe."""

from __future__ import annotations

import html
import json
from typing import Any

from flows.line import Line
from flows.paper_table import table
from flows.papers import paper_tables


def rows_of_ours(line: Line) -> dict[str, set[str]]:
    """Table -> our models that have a figure in it, of the tables that name the line's recipe."""
    found: dict[str, set[str]] = {}
    for name, one in paper_tables().items():
        if any(row.recipe == line.recipe.name and row.model for part in one.parts for row in part.rows):
            content = table(name, line.warehouse)
            [recipe] = [entry for entry in content["recipes"] if entry["recipe"] == line.recipe.name]
            assert recipe["has_report"] and recipe["remark"].startswith("the report in this lake is of another text")
            made = [row for part in content["parts"] for row in part["rows"] if _has_ours(row)]
            found[name] = {row["made_by"].partition(": ")[2] for row in made}
    return found


def printed_beside(line: Line) -> list[dict[str, Any]]:
    """What the line's report shows of the papers."""
    content = json.loads(line.report().path("report.json").read_text(encoding="utf-8"))
    rows: list[dict[str, Any]] = content["papers"]["rows"]
    page = html.unescape(line.report().path("report.html").read_text(encoding="utf-8"))
    assert rows and all(sentence in page for sentence in content["papers"]["caveats"])
    return rows


def _has_ours(row: dict[str, Any]) -> bool:
    return any(figure["ours"] for figure in row["figures"])
