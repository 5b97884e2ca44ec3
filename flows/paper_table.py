"""A paper's table: its own rows beside ours, which recipes make them, what is there, and what the rest would take."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from flows.estimate import estimate
from flows.papers import PaperTable, Part, Row, figures_of, paper_table, paper_tables
from flows.recipe import Recipe, read_recipe, recipe_path
from flows.transcripts import transcript_rates
from warehouse import Warehouse
from warehouse.errors import UnknownName

_OURS = ("mean", "sd", "pooled", "low", "high", "n_folds", "n_seeds", "n_utterances", "protocol", "selected_on")


def table_list() -> list[dict[str, Any]]:
    """One row per table: its name, what it is about, how many of its rows can be made here, and by which recipes."""
    return [
        {
            "table": name, "paper": table.citation, "title": table.title,
            "rows": f"{len(_made(table))} of {sum(len(part.rows) for part in table.parts)}",
            "recipes": ", ".join(_recipes(table)),
        }
        for name, table in paper_tables().items()
    ]  # fmt: skip


def table(
    name: str, warehouse: Warehouse | None = None, weights: Path | None = None, device: str = "cpu",
    roots: Mapping[str, Path] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """A table as JSON values. Ours are the figures of the last reports in the lake; None where there are none.

    Args:
        name: such as 'cmd-3'.
        weights, device, roots: as `flows.run.Setup` has them; what is missing is planned with them.

    Raises:
        UnknownName: no such table.
    """
    wanted = paper_table(name)
    recipes = {one: read_recipe(recipe_path(one)) for one in _recipes(wanted)}
    reports = {one: told for one, recipe in recipes.items() if warehouse and (told := _report(warehouse, recipe))}
    found = _scores(reports) | _shares(reports) | (_rates(warehouse, wanted) if warehouse else {})
    parts = [_part(part, found) for part in wanted.parts]
    return {
        "table": name, "paper": wanted.citation, "title": wanted.title, "parts": parts,
        "recipes": [
            {"recipe": one, "has_report": one in reports, "remark": _remark(recipe, reports.get(one))}
            | estimate(recipe, _models(wanted, one), warehouse, weights, device, roots).as_json()
            for one, recipe in recipes.items()
        ],
        "caveats": [*_stamps(parts), *wanted.caveats],
    }  # fmt: skip


Found = Mapping[tuple[str, str, str, str], Mapping[str, Any]]
"""(recipe, model or feature, stream or corpus, metric) -> our figure."""


def _part(part: Part, found: Found) -> dict[str, Any]:
    rows = []
    for row in part.rows:
        printed = dict(zip(part.metrics, figures_of(row), strict=True))
        place = row.recipe, row.model or row.feature, row.stream or row.corpus
        figures = []
        for metric in (*part.metrics, *part.beside):
            figure, sd = printed.get(metric, (None, None))
            figures.append({"metric": metric, "paper": figure, "paper_sd": sd, "ours": found.get((*place, metric))})
        made_by = "" if row.without else f"{row.recipe}: {row.model or row.feature}"
        rows.append({"row": row.row, "made_by": made_by, "without": row.without, "figures": figures})
    named = {metric: part.printed.get(metric, metric) for metric in part.metrics}
    return {"part": part.name, "metrics": named, "caveats": part.caveats, "rows": rows}


def _remark(recipe: Recipe, report: Mapping[str, Any] | None) -> str:
    """Said where our figures are not those of the recipe as it is shipped."""
    differs = report is not None and report["recipe"] != recipe.text
    return "the report in this lake is of another text of this recipe" if differs else ""


def _report(warehouse: Warehouse, recipe: Recipe) -> dict[str, Any] | None:
    """What the last report of a recipe says."""
    if warehouse.ref(f"reports/{recipe.name}") is None:
        return None
    path = warehouse.resolve(f"reports/{recipe.name}").path("report.json")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _scores(reports: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str, str, str], dict[str, Any]]:
    return {
        (recipe, row["variant"], "", row["metric"]): {name: row[name] for name in _OURS}
        for recipe, content in reports.items() for row in content["scores"]
    }  # fmt: skip


def _shares(reports: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str, str, str], dict[str, Any]]:
    """How often each stream dominates, and the tokens where it does, whatever class is told."""
    found = {}
    for recipe, content in reports.items():
        for one in content.get("explanations", ()):
            for row in one["dominance"]:
                if row["told"] is None:
                    place = recipe, one["model"], row["stream"]
                    found[*place, "share"] = _figure(row["share"], row["n"])
                    found[*place, "tokens"] = _figure(row["mean_tokens"], row["n"], row["sd_tokens"])
    return found


def _rates(warehouse: Warehouse, wanted: PaperTable) -> dict[tuple[str, str, str, str], dict[str, Any]]:
    """The error rates that the table asks for and the lake has."""
    found = {}
    for recipe, feature in sorted({(row.recipe, row.feature) for row in _made(wanted) if row.feature}):
        try:
            for one in transcript_rates(warehouse, feature):
                for metric in ("cer", "wer"):
                    found[recipe, feature, one["corpus"], metric] = _figure(one[metric], one["utterances"])
        except UnknownName:
            continue  # nothing was heard yet
    return found


def _figure(value: float | None, n: int, sd: float | None = None) -> dict[str, Any]:
    """A figure that no fits and no interval stand behind."""
    return dict.fromkeys(_OURS) | {"mean": value, "sd": sd, "n_utterances": n}


def _stamps(parts: list[dict[str, Any]]) -> list[str]:
    """A sentence on those of our rows whose models were selected on the test part."""
    selected = {
        row["made_by"]: None for part in parts for row in part["rows"] for figure in row["figures"]
        if figure["ours"] and figure["ours"]["selected_on"] == "test"
    }  # fmt: skip
    return [f"Ours, test-selected: {', '.join(selected)}."] if selected else []


def _made(wanted: PaperTable) -> list[Row]:
    return [row for part in wanted.parts for row in part.rows if not row.without]


def _recipes(wanted: PaperTable) -> list[str]:
    return list(dict.fromkeys(row.recipe for row in _made(wanted)))


def _models(wanted: PaperTable, recipe: str) -> list[str]:
    return list(dict.fromkeys(row.model for row in _made(wanted) if row.recipe == recipe and row.model))


# -- as a person sees it ---------------------------------------------------------------------------------------------


def terminal_tables(content: Mapping[str, Any]) -> Iterator[Table]:
    """A table as rich prints it: the rows of each part, the recipes, and what to keep in mind."""
    for part in content["parts"]:
        yield _part_table(part)
    if content["recipes"]:
        yield _recipe_table(content["recipes"])
    sentences = [*(one for part in content["parts"] for one in part["caveats"]), *content["caveats"]]
    caveats = _empty("keep in mind")
    for sentence in dict.fromkeys(sentences):
        caveats.add_row(Text(sentence, style="yellow"))
    if sentences:
        yield caveats


def _part_table(part: Mapping[str, Any]) -> Table:
    named = part["metrics"]
    metrics = [figure["metric"] for figure in part["rows"][0]["figures"]]
    found = _empty(part["part"] or "row", "")
    for metric in metrics:
        printed = named.get(metric, metric)
        found.add_column(metric if printed == metric else f"{metric} ({printed})", justify="right", no_wrap=True)
    found.add_column("made by")
    figures = [figure[key] for row in part["rows"] for figure in row["figures"] for key in ("paper", "paper_sd")]
    digits = max((len(repr(value).partition(".")[2]) for value in figures if value is not None), default=3)
    for row in part["rows"]:
        printed = [_told(figure["paper"], figure["paper_sd"], digits) for figure in row["figures"]]
        why_not = f"not here: {row['without']}" if row["without"] else ""
        found.add_row(Text(row["row"]), "paper", *printed, Text(why_not))
        if why_not:
            continue
        ours = [figure["ours"] for figure in row["figures"]]
        cells = [Text(_told(one["mean"], one["sd"], digits) if one else "–", style="bold") for one in ours]
        found.add_row("", "ours", *cells, Text(row["made_by"]))
        known = [one for one in ours if one and one["low"] is not None]
        for one in known[:1]:  # all metrics of a row are of the same predictions
            told = f"{one['protocol']}, {one['n_folds']} × {one['n_seeds']} fits, n = {one['n_utterances']}"
            told += ", test-selected" if one["selected_on"] == "test" else ""
            found.add_row("", "95 %", *(Text(_interval(own, digits)) for own in ours), Text(told))
    return found


def _recipe_table(recipes: list[dict[str, Any]]) -> Table:
    found = _empty("recipe", "report", "models fitted")
    for name in ("fits missing", "epochs at most", "rows to extract", "time of the fits"):
        found.add_column(name, justify="right")
    found.add_column("remark")
    for one in recipes:
        fitted = f"{_count(one['n_fitted'])} of {one['n_models']}"
        missing = f"{_count(one['n_missing'])} of {_count(one['n_fits'])}"
        rows = _count(one["n_rows"]) + (" +" if one["n_rows"] is not None and one["n_waiting"] else "")
        remark = "; ".join(
            filter(None, (one["remark"], f"not planned: {one['why']}" if one["why"] else "", _unlike(one["unlike"])))
        )
        cells = ("yes" if one["has_report"] else "no", fitted, missing, _count(one["n_epochs"]), rows)
        found.add_row(Text(one["recipe"]), *map(Text, (*cells, _time(one["seconds"]), remark)))
    return found


def _unlike(models: Sequence[str]) -> str:
    if not models:
        return ""
    more = f" and {len(models) - 3} more" if len(models) > 3 else ""
    return f"time as of fits with other fields or data, so not to be relied on: {', '.join(models[:3])}{more}"


def _empty(*names: str) -> Table:
    found = Table(box=None, header_style="bold", pad_edge=False, title_justify="left", title_style="bold")
    for name in names:
        found.add_column(name, overflow="fold")
    return found


def _told(mean: float | None, sd: float | None, digits: int) -> str:
    if mean is None:
        return "–"
    return f"{mean:.{digits}f}" + ("" if sd is None else f" ± {sd:.{digits}f}")


def _interval(ours: Mapping[str, Any] | None, digits: int) -> str:
    return f"[{ours['low']:.{digits}f}, {ours['high']:.{digits}f}]" if ours and ours["low"] is not None else ""


def _count(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _time(seconds: float | None) -> str:
    """
    Example:
        >>> _time(None), _time(0.0), _time(59.6), _time(7_000.0), _time(400_000.0)
        ('?', '–', '1 min', '1.9 h', '4.6 d')
    """
    if seconds is None:
        return "?"
    for most, unit, size in ((59.5, "s", 1), (3_570, "min", 60), (171_000, "h", 3_600)):
        if seconds <= most:
            return f"{seconds / size:.{0 if size < 3_600 else 1}f} {unit}" if seconds else "–"
    return f"{seconds / 86_400:.1f} d"
