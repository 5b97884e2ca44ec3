"""Lineage on the terminal: where something comes from, and what it touched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

from flows import show
from warehouse.artifact import Artifact
from warehouse.audit.grounds import Grounds
from warehouse.audit.lineage import forest
from warehouse.audit.subject import Subject
from warehouse.audit.touched import Number, Touched, by_step

ALIKE = 3
"""Brothers with the same role and step that a tree shows; the last says how many more there are."""


def print_parts(parts: Iterator[RenderableType], console: Console) -> None:
    """One after another, with a line between."""
    for n, part in enumerate(parts):
        if n:
            console.print()
        console.print(part, soft_wrap=isinstance(part, Text))


def rests_on(
    subject: Subject, artifacts: Sequence[Artifact], grounds: Grounds, places: Sequence[Mapping[str, Any]]
) -> Iterator[RenderableType]:
    """Where a subject comes from: its numbers or clips, the trees above it, and what these rest on.

    Args:
        artifacts: of the lake.
        places: of its clips: utterance, path, seconds, sha256, text.
    """
    if subject.numbers:
        yield show.rows_table(subject.numbers, ["variant", "fold", "seed", "part", "metric", "value", "n_utterances"])
    if places:
        yield show.rows_table(places, list(places[0]))
    for tree in forest(artifacts, subject.artifacts, most=ALIKE):
        yield show.lineage_tree(tree)
    if (corpora := grounds.corpora()) and not places:
        rows = [{**row, "hours": row["seconds"] / 3600} for row in corpora]
        yield show.rows_table(rows, ["corpus", "files", "n_bytes", "n_utterances", "hours"])
    if grounds.protocols:
        rows = [{**row, "folds": ", ".join(row["folds"])} for row in grounds.protocols]
        yield show.rows_table(rows, ["protocol", "folds", "test", "dev"])
    rows = [{**row, "other than now": ", ".join(row["differing"]) or "nothing"} for row in grounds.steps]
    yield show.rows_table(rows, ["kind", "step", "version", "artifacts", "work_s", "other than now"])


def went_into(
    subject: Subject, artifacts: Sequence[Artifact], found: Touched, places: Sequence[Mapping[str, Any]]
) -> Iterator[RenderableType]:
    """What a subject touched: of a clip what holds it and what learned from it, of an artifact the tree below it; and
    the numbers."""
    if places:
        yield show.rows_table(places, list(places[0]))
    if found.holding or found.learned:
        uses = by_step([*found.holding, *found.learned, *found.heirs])
        yield show.rows_table(uses, ["how", "kind", "step", "artifacts", "rows", "keys"])
    elif not subject.clips and subject.what != "row":
        for tree in forest(artifacts, subject.artifacts, downwards=True, most=ALIKE):
            yield show.lineage_tree(tree)
    rows = number_rows(found.numbers)
    if rows:
        yield show.rows_table(rows, ["report", "model", "fold", "seed", "part", "how", "numbers"])
    elif subject.what != "number":
        yield Text("no number of any report")


def number_rows(numbers: Sequence[Number]) -> list[dict[str, Any]]:
    """The numbers of one model, fold, seed and part in one row."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for one in numbers:
        told = one.row
        cells = {
            "report": ", ".join(name if "/" in name else name[:12] for name in one.reports) or one.metrics.key[:12],
            "model": told["variant"], "fold": told["fold"], "seed": told["seed"], "part": told["part"],
            "how": "; ".join(one.how),
        }  # fmt: skip
        row = rows.setdefault(tuple(cells.values()), {**cells, "numbers": []})
        row["numbers"].append(f"{told['metric']} {told['value']:.3f}")
    return [{**row, "numbers": ", ".join(row["numbers"])} for row in rows.values()]
