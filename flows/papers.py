"""The tables of the papers: what they print, and which model of which recipe makes the same row here.

One file of `flows/papers` per paper. A row is made by the scores of a model or of an average of models, by what
explains a model, or by a feature whose transcripts have error rates; or else it says why nothing here makes it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from flows.protocol import read_toml
from warehouse.catalog import wrong_field
from warehouse.errors import InvalidField, UnknownName

PAPERS = Path(__file__).parent / "papers"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Row(_Strict):
    """One row of a table.

    Args:
        row: what the paper calls it.
        figures: as printed, one per metric of the part; nan where nothing is printed.
        sd: their standard deviations, where they are printed.
        recipe: whose model makes the row, if not the part's.
        model: of that recipe, or an average of its report.
        stream: 'audio' or 'text', if the row is how often that stream of the model dominates (`models.explaining`).
        feature, corpus: of that recipe, whose transcripts have the error rates of the row.
        without: why nothing here makes it, if not said of the whole part.
    """

    row: str
    figures: list[float]
    sd: list[float] = []
    recipe: str = ""
    model: str = ""
    stream: str = ""
    feature: str = ""
    corpus: str = ""
    without: str = ""


class Part(_Strict):
    """Rows of a table with the same metrics, mostly those of one corpus.

    Args:
        metrics: the names of METHODS (`models.metrics`) for what is printed.
        printed: metric -> what the paper calls it, where that is another name.
        beside: metrics of ours that the figures might also be.
    """

    metrics: list[str]
    rows: list[Row]
    name: str = ""
    recipe: str = ""
    printed: dict[str, str] = {}
    beside: list[str] = []
    without: str = ""
    caveats: list[str] = []


class Size(_Strict):
    """How many parameters a paper says that a network has.

    Args:
        printed: as the paper writes it: '≈ 228 M'.
        recipes, models: whose network it is; each of the recipes has all of the models.
        remark: what is counted otherwise here, a sentence.
    """

    printed: str
    recipes: list[str]
    models: list[str]
    remark: str = ""


class PaperTable(_Strict):
    """A table. `name` is what the command calls it, such as 'cmd-3'; `caveats` are the whole paper's too, and `sizes`
    are."""

    title: str
    parts: list[Part]
    caveats: list[str] = []
    name: str = ""
    citation: str = ""
    sizes: list[Size] = []


class _Paper(_Strict):
    name: str
    citation: str
    caveats: list[str] = []
    sizes: list[Size] = []
    tables: dict[str, PaperTable]


def read_paper(path: Path) -> list[PaperTable]:
    """The tables of one file. A row takes what is said of its part, and a table what is said of its paper.

    Raises:
        MalformedSource: it is not TOML.
        InvalidField: a name is unknown or of the wrong type; figures are not as many as metrics; a row says not exactly
            one of what makes it and why nothing does; a part says why nothing makes it, and a row what does.
    """
    where = f"paper '{path.stem}'"
    try:
        paper = _Paper.model_validate(read_toml(path)[1])
    except ValidationError as error:
        raise InvalidField(where, *wrong_field(error)) from error
    if paper.name != path.stem:
        raise InvalidField(where, "name", f"is '{paper.name}', but the file is {path.name}")
    return [
        table.model_copy(
            update={
                "name": f"{paper.name}-{number}", "citation": paper.citation,
                "caveats": [*table.caveats, *paper.caveats], "sizes": paper.sizes,
                "parts": [_filled(part, f"{where}, table {number}") for part in table.parts],
            }
        )
        for number, table in paper.tables.items()
    ]  # fmt: skip


def _filled(part: Part, where: str) -> Part:
    """The part with its rows complete."""
    rows = []
    for row in part.rows:
        place = f"{where}, row '{row.row}'"
        if len(row.figures) != len(part.metrics):
            problem = f"are {len(row.figures)}, but the table has {len(part.metrics)}: {', '.join(part.metrics)}"
            raise InvalidField(place, "figures", problem)
        if row.sd and len(row.sd) != len(row.figures):
            raise InvalidField(place, "sd", f"are {len(row.sd)}, but the row has {len(row.figures)} figures")
        filled = row.model_copy(update={"without": row.without or part.without, "recipe": row.recipe or part.recipe})
        if sum(map(bool, (filled.model, filled.feature, filled.without))) != 1:
            problem = "must say what makes the row, or else `feature` or `without`: exactly one of them"
            raise InvalidField(place, "model", problem)
        if not filled.without and not filled.recipe:
            raise InvalidField(place, "recipe", "must be given, for the row or its part")
        rows.append(filled)
    return part.model_copy(update={"rows": rows})


@cache
def paper_tables() -> dict[str, PaperTable]:
    """Every table by its name, 'cmd-3', in the order of files and tables."""
    return {table.name: table for path in sorted(PAPERS.glob("*.toml")) for table in read_paper(path)}


def paper_table(name: str) -> PaperTable:
    """A table by its name.

    Raises:
        UnknownName: lists them.
    """
    if name not in paper_tables():
        raise UnknownName("table", name, paper_tables())
    return paper_tables()[name]


def printed_for(recipe: str, models: Sequence[str]) -> dict[str, Any]:
    """What the papers print of the rows that these models of a recipe make, as JSON values.

    Returns:
        'rows', one per model, table and metric, in the order of the models, where `sd` is None if none is printed; and
        'caveats', the sentences on their tables.
    """
    found = {
        (table.name, row.model, metric): {
            "model": row.model, "table": table.name, "citation": table.citation, "row": _told(part, row),
            "metric": metric, "printed": part.printed.get(metric, metric), "figure": figure, "sd": sd,
        }
        for table, part, row in _rows() if row.recipe == recipe and row.model in models and not row.stream
        for metric, (figure, sd) in zip(part.metrics, figures_of(row), strict=True) if figure is not None
    }  # fmt: skip
    tables = {name for name, _, _ in found}
    told = [(table, part) for table, part, row in _rows() if table.name in tables and row.recipe == recipe]
    caveats = [sentence for table, part in told for sentence in (*part.caveats, *table.caveats)]
    rows = [row for model in models for row in found.values() if row["model"] == model]
    return {"rows": rows, "caveats": list(dict.fromkeys(caveats))}


def with_ours(printed: Mapping[str, Any] | None, scores: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What `printed_for` gives, with `ours` and `ours_sd` in each row: the mean and the deviation of a report's scores,
    None where it has none."""
    known = {(row["variant"], row["metric"]): (row["mean"], row["sd"]) for row in scores}
    given = printed or {"rows": [], "caveats": []}
    pairs = [(row, known.get((row["model"], row["metric"]), (None, None))) for row in given["rows"]]
    return {"rows": [row | {"ours": mean, "ours_sd": sd} for row, (mean, sd) in pairs], "caveats": given["caveats"]}


def sizes_beside(recipe: str, sizes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What is told of the sizes of a recipe's models, with the paper's own where one is printed: `printed`, `citation`
    and `remark`."""
    known = {
        model: {"printed": size.printed, "citation": table.citation, "remark": size.remark}
        for table in paper_tables().values() for size in table.sizes if recipe in size.recipes for model in size.models
    }  # fmt: skip
    return {model: {**own, **known.get(model, {})} for model, own in sizes.items()}


def figures_of(row: Row) -> list[tuple[float | None, float | None]]:
    """(figure, standard deviation) of each metric; None for what is not printed."""
    pairs = zip(row.figures, row.sd or [math.nan] * len(row.figures), strict=True)
    return [(_known(figure), _known(sd)) for figure, sd in pairs]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _rows() -> Iterator[tuple[PaperTable, Part, Row]]:
    return ((table, part, row) for table in paper_tables().values() for part in table.parts for row in part.rows)


def _told(part: Part, row: Row) -> str:
    return f"{part.name}: {row.row}" if part.name else row.row
