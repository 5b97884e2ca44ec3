"""The report for people: what `flows.findings` says as one HTML page, and as tables in the terminal."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from rich.table import Table
from rich.text import Text

from flows import plots
from flows.findings import report_content

__all__ = ["html_report", "report_content", "terminal_tables"]

_TEMPLATES = Path(__file__).parent / "templates"


def html_report(content: Mapping[str, Any]) -> str:
    """The page: one file that needs nothing else, readable on paper, light and dark screens."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"number": _number, "thousands": _thousands, "colour": plots.class_colour}
    figures = {name: [Markup(svg) for svg in drawn] for name, drawn in _figures(content).items()}
    scored = {name: list(rows) for name, rows in groupby(content["scores"], key=lambda row: row["variant"])}
    page = environment.get_template("report.html.j2")
    return page.render(content, figures=figures, scored=scored, f1_tables=_f1_tables(content["classes"]))


def terminal_tables(report: Path) -> list[Table]:
    """The scores, the corpora and the warnings of a `report.json`, as tables that rich prints."""
    content = json.loads(report.read_text(encoding="utf-8"))
    tables = []
    for (protocol, selected_on), rows in groupby(content["scores"], lambda row: (row["protocol"], row["selected_on"])):
        names = ("model", "metric"), ("mean ± sd", "pooled [95 %]", "folds × seeds", "n")
        table = _table(f"scores on the test part of {protocol}, selected on {selected_on}", *names)
        before = ""
        for row in rows:
            first = row["variant"] != before
            table.add_row(
                Text(row["variant"] if first else ""),
                Text(row["metric"]),
                Text.assemble((_number(row["mean"]), "bold"), " ± ", _number(row["sd"])),
                Text(f"{_number(row['pooled'])} [{_number(row['low'])}, {_number(row['high'])}]"),
                Text(f"{row['n_folds']} × {row['n_seeds']}" if first else ""),
                Text(str(row["n_utterances"]) if first else ""),
            )
            before = row["variant"]
        tables.append(table)
    corpora = _table("corpora", ("corpus",), ("utterances", "hours", "speakers"), ("classes",))
    for row in content["corpora"]:
        classes = ", ".join(f"{name} {n}" for name, n in row["classes"].items())
        numbers = str(row["n_utterances"]), f"{row['hours']:.2f}", str(row["n_speakers"])
        corpora.add_row(*map(Text, (row["corpus"], *numbers, classes)))
    warnings = _table(None, ("keep in mind",))
    for sentence in content["warnings"]:
        warnings.add_row(Text(sentence, style="yellow"))
    return [table for table in (*tables, corpora, warnings) if table.row_count]


# -- inside ----------------------------------------------------------------------------------------------------------


def _f1_tables(classes: Sequence[Mapping[str, Any]]) -> dict[tuple[str, ...], dict[str, list[float]]]:
    """Classes -> variant -> the F1 of each: variants with the same classes share a table."""
    tables: dict[tuple[str, ...], dict[str, list[float]]] = defaultdict(dict)
    for variant, rows in groupby(classes, key=lambda row: row["variant"]):
        own = list(rows)
        tables[tuple(row["class"] for row in own)][variant] = [row["f1"] for row in own]
    return tables


def _figures(content: Mapping[str, Any]) -> dict[str, list[str]]:
    by_metric: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for _, rows in groupby(content["scores"], key=lambda row: row["variant"]):
        lead = next(rows)  # a protocol's first metric is the one its tables lead with
        if len(lead["runs"]) > 1:
            by_metric[lead["metric"]].append(lead)
    labelled = [corpus for corpus in content["corpora"] if corpus["classes"]]
    return {
        "folds": [plots.fold_dots(rows) for _, rows in sorted(by_metric.items())],
        "confusions": [plots.confusion_matrices(content["confusions"])] if content["confusions"] else [],
        "curves": [plots.learning_curves(content["curves"])] if content["curves"] else [],
        "classes": [plots.class_bars(labelled)] if labelled else [],
        "durations": [plots.duration_histograms(content["durations"])] if content["durations"]["counts"] else [],
    }


def _table(title: str | None, left: Sequence[str], right: Sequence[str] = (), then: Sequence[str] = ()) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, title=title, title_justify="left", title_style="bold")
    sides: list[tuple[Sequence[str], Literal["left", "right"]]] = [(left, "left"), (right, "right"), (then, "left")]
    for names, side in sides:
        for name in names:
            table.add_column(name, justify=side, overflow="fold", no_wrap=side == "right")
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _thousands(count: int) -> str:
    return f"{count:,}".replace(",", "\u2009")  # a thin space
