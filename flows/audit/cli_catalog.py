"""The lake in SQL, and its catalog as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import show
from flows.app import Json, Lake, command, console_for, print_json, print_rows, warehouse_of
from warehouse.catalog_file import catalog as write_catalog
from warehouse.described import schema_of


@command('emolake sql "SELECT corpus, count(*) AS n FROM utterances GROUP BY ALL"')
def sql(
    query: Annotated[
        str | None, typer.Argument(help="A SELECT; with --schema, the name of a view (default: every one).")
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Say what views and columns there are.")] = False,
    lake: Lake = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Ask the lake in SQL. Nothing can be changed, and no file outside the lake read."""
    if schema:
        found = schema_of(warehouse_of(lake), query)
        rows = [
            row
            for view in found
            for row in (
                {"view": view["view"], "column": "", "type": view["form"], "says": view["says"]},
                *({"view": ""} | column for column in view["columns"]),
            )
        ]
        print_json(found) if as_json else print_rows(rows, ["view", "column", "type", "says"], as_json)
        return
    if query is None:
        raise typer.BadParameter("give a SELECT, or --schema to see what can be asked", param_hint="QUERY")
    table = warehouse_of(lake).table(query)
    table = table.rename_columns(show.numbered(table.column_names))
    print_rows(table.to_pylist(), table.column_names, as_json)


@command("emolake catalog")
def catalog(
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Where the file is put (default: catalog.duckdb in the lake, or in its copy here)."),
    ] = None,
    lake: Lake = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Write the catalog as a DuckDB file that any DuckDB client opens, where it is absent or stale."""
    with show.counting(console_for(as_json), "writing the catalog") as progress:
        made = write_catalog(warehouse_of(lake), out, progress)
    if as_json:
        print_json({"path": str(made.path), "is_new": made.is_new, "left_out": list(made.left_out)})
        return
    console = console_for(False)
    console.print(f"{made.path}: {'written' if made.is_new else 'as the lake is now, nothing to do'}")
    if made.left_out:
        console.print(f"without {', '.join(made.left_out)}, which call Python: ask `emolake sql`")
