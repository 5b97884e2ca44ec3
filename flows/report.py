"""The report for people: what `flows.findings` says as one HTML page, and as tables in the terminal."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from markupsafe import Markup
from rich.table import Table
from rich.text import Text

from flows.findings import report_content

__all__ = ["html_report", "report_content", "terminal_tables"]

_TEMPLATES = Path(__file__).parent / "templates"


def html_report(content: Mapping[str, Any]) -> str:
    """The page: one file that needs nothing else, readable on paper, light and dark screens."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from flows.plots import class_colour  # which imports matplotlib, and most commands draw nothing

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"number": _number, "thousands": _thousands, "colour": class_colour}
    environment.filters["stamped"] = partial(_stamped, content=content)
    figures = {name: [Markup(svg) for svg in drawn] for name, drawn in _figures(content).items()}
    scored = {name: list(rows) for name, rows in groupby(content["scores"], key=lambda row: row["variant"])}
    page = environment.get_template("report.html.j2")
    tables = {"scored": scored, "f1_tables": _f1_tables(content["classes"])}
    return page.render(content, figures=figures, size_remarks=_remarks(content), **tables)


def terminal_tables(report: Path) -> list[Table]:
    """The scores, the calibration, the corpora and the warnings of a `report.json`, as tables that rich prints."""
    content = json.loads(report.read_text(encoding="utf-8"))
    tables = []
    for (protocol, selected_on), rows in groupby(content["scores"], lambda row: (row["protocol"], row["selected_on"])):
        names = ("model", "metric"), ("mean ± sd", "pooled [95 %]", "folds × seeds", "n")
        stamp = ": test-selected" if selected_on == "test" else ""
        table = _table(f"scores on the test part of {protocol}, selected on {selected_on}{stamp}", *names)
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
    tables += [_points_table(swept, content) for swept in content["points"]]
    tables += [_papers_table(content), _sizes_table(content)]
    calibration = _table("calibration on the test part", ("model",), ("Brier score", "ECE"))
    for row in content["calibration"]:
        cells = _stamped(row["variant"], content), _number(row["brier"]), _number(row["ece"])
        calibration.add_row(*map(Text, cells))
    corpora = _table("corpora", ("corpus",), ("utterances", "hours", "speakers"), ("classes",))
    for row in content["corpora"]:
        classes = ", ".join(f"{name} {n}" for name, n in row["classes"].items())
        numbers = str(row["n_utterances"]), f"{row['hours']:.2f}", str(row["n_speakers"])
        corpora.add_row(*map(Text, (row["corpus"], *numbers, classes)))
    warnings = _table(None, ("keep in mind",))
    for sentence in content["warnings"]:
        warnings.add_row(Text(sentence, style="yellow"))
    for sentence in (*content["papers"]["caveats"], *_remarks(content)):
        warnings.add_row(Text(f"Papers: {sentence}", style="yellow"))
    return [table for table in (*tables, calibration, corpora, warnings) if table.row_count]


# -- inside ----------------------------------------------------------------------------------------------------------


def _points_table(swept: Mapping[str, Any], content: Mapping[str, Any]) -> Table:
    name, metric = _stamped(swept["model"], content), swept["metric"]
    title = f"points of {name}, chosen by {metric} on {swept['selected_on']}"
    table = _table(title, ("point",), (f"{metric} on {swept['selected_on']}", "on test", "fits"))
    for row in swept["points"]:
        cells = f"{_number(row['mean'])} ± {_number(row['sd'])}", _number(row["test"]), str(row["n_fits"])
        table.add_row(*map(Text, (row["name"], *cells)), style="bold" if row["chosen"] else None)
    return table


def _papers_table(content: Mapping[str, Any]) -> Table:
    table = _table("the papers' own rows", ("model", "table", "row", "metric"), ("printed", "ours"))
    for row in content["papers"]["rows"]:
        cells = (_stamped(row["model"], content), row["table"], row["row"], row["metric"])
        pairs = (row["figure"], row["sd"]), (row["ours"], row["ours_sd"])
        table.add_row(*map(Text, (*cells, *(f"{_number(mean)} ± {_number(sd)}" for mean, sd in pairs))))
    return table


def _sizes_table(content: Mapping[str, Any]) -> Table:
    table = _table("the papers' own sizes", ("model", "paper"), ("printed", "ours", "of them trained"))
    for row in content["sizes"]:
        if "printed" in row:
            ours = (f"{row[name]:,}" for name in ("parameters", "trained_parameters"))
            table.add_row(*map(Text, (row["model"], row["citation"], row["printed"], *ours)))
    return table


def _remarks(content: Mapping[str, Any]) -> list[str]:
    """What must be known of the sizes that the papers print."""
    return list(dict.fromkeys(row["remark"] for row in content["sizes"] if row.get("remark")))


def _stamped(variant: str, content: Mapping[str, Any]) -> str:
    """A variant's name with what must stand beside every number of it."""
    return f"{variant} ({content['stamps'][variant]})" if variant in content["stamps"] else variant


def _f1_tables(classes: Sequence[Mapping[str, Any]]) -> dict[tuple[str, ...], dict[str, list[float]]]:
    """Classes -> variant -> the F1 of each: variants with the same classes share a table."""
    tables: dict[tuple[str, ...], dict[str, list[float]]] = defaultdict(dict)
    for variant, rows in groupby(classes, key=lambda row: row["variant"]):
        own = list(rows)
        tables[tuple(row["class"] for row in own)][variant] = [row["f1"] for row in own]
    return tables


def _figures(content: Mapping[str, Any]) -> dict[str, list[str]]:
    from flows import plots

    def told(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        return [{**row, "variant": _stamped(row["variant"], content)} for row in rows]

    by_metric: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for _, rows in groupby(content["scores"], key=lambda row: row["variant"]):
        lead = next(rows)  # a protocol's first metric is the one its tables lead with
        if len(lead["runs"]) > 1:
            by_metric[lead["metric"]].append(lead)
    labelled = [corpus for corpus in content["corpora"] if corpus["classes"]]
    return {
        "folds": [plots.fold_dots(told(rows)) for _, rows in sorted(by_metric.items())],
        "confusions": [plots.confusion_matrices(told(content["confusions"]))] if content["confusions"] else [],
        "calibration": [plots.reliability_diagrams(told(content["calibration"]))] if content["calibration"] else [],
        "curves": [plots.learning_curves(content["curves"])] if content["curves"] else [],
        "classes": [plots.class_bars(labelled)] if labelled else [],
        "durations": [plots.duration_histograms(content["durations"])] if content["durations"]["counts"] else [],
    }


def _table(title: str | None, left: Sequence[str], right: Sequence[str] = (), then: Sequence[str] = ()) -> Table:
    """As wide as its title, which rich would break otherwise."""
    table = Table(
        box=None, header_style="bold", pad_edge=False, min_width=len(title or ""),
        title=title, title_justify="left", title_style="bold",
    )  # fmt: skip
    sides: list[tuple[Sequence[str], Literal["left", "right"]]] = [(left, "left"), (right, "right"), (then, "left")]
    for names, side in sides:
        for name in names:
            table.add_column(name, justify=side, overflow="fold", no_wrap=side == "right")
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _thousands(count: int) -> str:
    return f"{count:,}".replace(",", "\u2009")  # a thin space
