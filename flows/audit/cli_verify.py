"""Whether the lake is sound."""

from __future__ import annotations

import typer

from flows import show
from flows.app import Json, Lake, command, console_for, print_json, warehouse_of
from warehouse.audit import verify as checks


@command("emolake verify")
def verify(lake: Lake = None, as_json: Json = False) -> None:
    """Hash every file of the lake again, read its names, and say what is not as it was made; exit 1 then."""
    warehouse = warehouse_of(lake)
    console = console_for(as_json)
    with show.counting(console, "hashing artifacts") as progress:
        faults = checks.verify(warehouse, progress)
    if as_json:
        print_json([vars(fault) for fault in faults])
    elif faults:
        for fault in faults:
            console.print(show.fault_line(fault), soft_wrap=True)
    else:
        console.print(f"sound: {len(warehouse.artifacts())} artifacts, every file has the bytes it was made with")
    if faults:
        raise typer.Exit(1)
