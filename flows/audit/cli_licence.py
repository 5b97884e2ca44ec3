"""Whose terms hold for what is in a lake."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.app import Json, Lake, command, console_for, print_json, print_rows, warehouse_of
from flows.audit.licence import FILE, FORBIDS, derived, licences


@command("emolake licence demo:distilled")
def licence(
    name: Annotated[
        str,
        typer.Argument(
            help="RECIPE:MODEL of a report, a corpus, a report, a recipe, or an artifact's key, digest or name.",
            metavar="X",
        ),
    ],
    lake: Lake = None, as_json: Json = False,
) -> None:  # fmt: skip
    """List the corpora, checkpoints and programs whose terms hold for something, and by which way they reach it."""
    warehouse = warehouse_of(lake)
    found = licences(warehouse, name)
    terms = derived(found)
    forbidden = [purpose for purpose, forbidding in FORBIDS.items() if set(forbidding) & set(terms)]
    if as_json:
        sources = [source.as_json() for source in found]
        print_json({"subject": name, "terms": terms, "forbidden": forbidden, "sources": sources})
        return
    rows = [
        {"source": one.what, "is": one.is_a, "licence": one.licence, "terms": ", ".join(one.terms) or "none",
         "by way of": " → ".join(one.path[1:])}
        for one in found
    ]  # fmt: skip
    print_rows(rows, ["source", "is", "licence", "terms", "by way of"], False, none="nothing from outside is in it")
    console = console_for(False)
    console.print(f"terms that hold for {name}: {', '.join(terms) or 'none'}", soft_wrap=True)
    if forbidden:
        console.print(f"it cannot be exported for: {', '.join(forbidden)}", soft_wrap=True)
    if "unknown" in terms:
        console.print(f"what is unknown here can be stated in {warehouse.root / FILE}.toml", soft_wrap=True)
