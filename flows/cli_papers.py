"""The command about the papers' tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import paper_table as tables
from flows.app import Json, Lake, command, console_for, print_json, print_rows
from infra.runtime import read_runtime
from warehouse import Warehouse
from warehouse.errors import NotALake


@command("emolake table cmd-3")
def table(
    name: Annotated[
        str | None, typer.Argument(help="A table, such as mced-5; without, they are listed.", metavar="TABLE")
    ] = None,
    lake: Lake = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Print a paper's table with our own rows beside it, what of them is there, and what the rest would take."""
    if name is None:
        print_rows(tables.table_list(), ["table", "paper", "title", "rows", "recipes"], as_json)
        return
    runtime = read_runtime()
    content = tables.table(name, _lake_if_any(lake, runtime.lake), runtime.weights, runtime.device, runtime.roots)
    if as_json:
        print_json(content)
        return
    console = console_for(False)
    console.print(f"{content['paper']}, table {name.rpartition('-')[2]}: {content['title']}", style="bold")
    for one in tables.terminal_tables(content):
        console.print()
        console.print(one)


def _lake_if_any(given: Path | None, default: Path) -> Warehouse | None:
    """The lake that is named, or the environment's if there is one: a table has rows of the paper without any."""
    try:
        return Warehouse(given or default)
    except NotALake:
        if given is not None:
            raise
        return None
