"""The lake in SQL."""

from __future__ import annotations

from typing import Annotated

import typer

from flows import show
from flows.app import Json, Lake, command, print_rows, warehouse_of


@command('emolake sql "SELECT corpus, count(*) AS n FROM utterances GROUP BY ALL"')
def sql(
    query: Annotated[str, typer.Argument(help="A SELECT; `SHOW TABLES` lists the views.")],
    lake: Lake = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Ask the lake in SQL."""
    table = warehouse_of(lake).table(query)
    table = table.rename_columns(show.numbered(table.column_names))
    print_rows(table.to_pylist(), table.column_names, as_json)
