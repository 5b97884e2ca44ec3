"""The commands about what was reported: two models against each other, and what fits cost."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.app import Json, Lake, command, console_for, print_json, warehouse_of
from flows.compare import compare as compare_models
from flows.compare import comparison_table
from flows.costs import cost_list, cost_table

Compared = Annotated[
    str, typer.Argument(help="A recipe with a report in the lake, or one model of it: demo:distilled.")
]


@command("emolake compare demo:distilled demo:scratch")
def compare(
    first: Compared,
    second: Compared,
    force: Annotated[
        bool, typer.Option("--force", help="Compare over different protocols or utterances too, and stamp the table.")
    ] = False,
    lake: Lake = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Hold two models of the last reports against each other: paired bootstrap and McNemar's test, with intervals."""
    found = compare_models(warehouse_of(lake), first, second, force)
    if as_json:
        print_json([one.as_json() for one in found])
        return
    console = console_for(False)
    for number, one in enumerate(found):
        if number:
            console.print()
        console.print(comparison_table(one))


@command("emolake cost demo")
def cost(
    recipe: Annotated[str, typer.Argument(help="A recipe with a report in the lake.", metavar="RECIPE")],
    lake: Lake = None, as_json: Json = False,
) -> None:  # fmt: skip
    """List what the fits of a recipe's last report cost: parameters, seconds, seconds of audio per second, memory."""
    rows = cost_list(warehouse_of(lake), recipe)
    if as_json:
        print_json(rows)
    else:
        console_for(False).print(cost_table(rows))
