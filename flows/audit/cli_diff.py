"""What differs between two corpora, artifacts or sets of features."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from flows import show
from flows.app import Json, Lake, command, console_for, print_json, print_rows, warehouse_of
from warehouse import Warehouse
from warehouse.audit import diff as changes
from warehouse.remote import folder_of

_MOST = 60  # characters of a cell
_SIDE = "corpora/NAME, corpora/NAME@DAY, corpora/NAME@REPORT, features/NAME, aligners/NAME, or any artifact."


@command("emolake diff corpora/meld@2026-05-01 corpora/meld")
def diff(
    before: Annotated[str, typer.Argument(help=_SIDE, metavar="BEFORE")],
    after: Annotated[str, typer.Argument(help="The same, of what it is held against.", metavar="AFTER")],
    rows: Annotated[int, typer.Option("--rows", min=0, help="Rows shown of each sort of change.")] = 5,
    lake: Lake = None,
    other: Annotated[
        Path | None,
        typer.Option(
            "--other-lake",
            parser=folder_of,
            metavar="FOLDER|URL",
            help="The lake of AFTER, if it is another.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List rows added, removed and changed, by table and column.

    Of a corpus @DAY that was read again since, the newest reading of each unit until then counts: that it had gone back
    to an older reading, or had dropped a unit, cannot be seen. @REPORT is exact.
    """
    ours = warehouse_of(lake)
    theirs = Warehouse(other) if other else ours
    console = console_for(as_json)
    with show.Terminal(console).status("comparing"):
        found = changes.diff(changes.side_of(ours, before), changes.side_of(theirs, after), rows)
    if as_json:
        print_json([one.as_json() for one in found])
        return
    names = ["table", "before", "after", "added", "removed", "changed"]
    print_rows([{name: _counts(one)[name] for name in names} for one in found], names, False)
    for one in found:
        _tell(one, console)
    if all(one.is_same for one in found):
        console.print("\nthe same rows")


def _counts(one: changes.TableChange) -> dict[str, Any]:
    return vars(one) | {"before": one.n_before, "after": one.n_after}


def _tell(one: changes.TableChange, console: Console) -> None:
    """The columns that changed, those of one side alone, and examples."""
    if one.columns:
        console.print(f"\n{one.table}, by column", style="bold")
        cells = [{"column": c.column, "rows": c.n_rows, "largest difference": c.largest} for c in one.columns]
        print_rows(cells, ["column", "rows", "largest difference"], False)
    for side, only in (("before", one.only_before), ("after", one.only_after)):
        if only:
            console.print(f"\n{one.table}: only {side}: {', '.join(only)}", soft_wrap=True)
    if one.examples:
        console.print(f"\n{one.table}, rows", style="bold")
        told = [
            {"change": e.change, "row": " ".join(map(str, e.row.values())), "column": e.column,
             "before": _brief(e.before), "after": _brief(e.after)} for e in one.examples
        ]  # fmt: skip
        print_rows(told, ["change", "row", "column", "before", "after"], False)


def _brief(cell: Any) -> str:
    text = "" if cell is None else str(cell)
    return text if len(text) <= _MOST else f"{text[: _MOST - 1]}…"
