"""Where a number comes from, what used a byte, and why two artifacts differ."""

from __future__ import annotations

from typing import Annotated

import typer

from flows import run as runs
from flows import show
from flows.app import Json, Lake, Reference, command, console_for, print_json, print_rows, warehouse_of
from warehouse.audit import lineage
from warehouse.audit.trace import is_utterance, uses
from warehouse.audit.why import differences, nearest


@command("emolake lineage reports/demo")
def lineage_(
    reference: Annotated[
        str, typer.Argument(help="An artifact (key, digest, name), or an utterance id.", metavar="REFERENCE")
    ],
    down: Annotated[bool, typer.Option("--down", help="What was made from it, not what it was made from.")] = False,
    utterance: Annotated[
        str | None, typer.Option("--utterance", help="Trace the prediction of this utterance to its bytes.")
    ] = None,
    lake: Lake = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Trace an artifact up to raw files, or down to everything made from it; a report also one number to its bytes."""
    warehouse = warehouse_of(lake)
    console = console_for(as_json)
    hops = uses(warehouse, reference) if is_utterance(warehouse, reference) else None
    if hops is not None:
        print_rows([vars(hop) for hop in hops], ["what", "key", "note"], as_json)
        return
    artifact = warehouse.resolve(reference)
    tree = lineage.down(warehouse, artifact) if down else lineage.up(warehouse, artifact)
    number = None if down else runs.trace_number(warehouse, artifact, utterance)
    if utterance and number is None:
        raise typer.BadParameter(f"no prediction of '{utterance}' is under {reference}", param_hint="--utterance")
    if as_json:
        trace = [vars(hop) for hop in number.hops] if number else []
        print_json({"tree": tree.as_json(), "trace": trace})
        return
    console.print(show.lineage_tree(tree))
    if number:
        runs.print_number(number, console)


@command("emolake why 3f2a81 --than 90bc17")
def why(
    reference: Reference,
    than: Annotated[
        str | None, typer.Option("--than", help="The artifact to compare with (default: the nearest).")
    ] = None,
    lake: Lake = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Say which field, version or input makes two artifacts differ."""
    warehouse = warehouse_of(lake)
    artifact = warehouse.resolve(reference)
    other = warehouse.resolve(than) if than else nearest(warehouse, artifact.request)
    found = differences(artifact.request, other.request) if other else []
    if as_json:
        there = other.key if other else None
        rows = [{"where": d.where, "asked": d.asked, "there": d.there} for d in found]
        print_json({"key": artifact.key, "than": there, "differences": rows})
    elif other is None:
        console_for(False).print(f"the lake holds no other artifact of '{artifact.request.step}' to compare with")
    else:
        console_for(False).print(show.differences_table(found, artifact.key, other.key))
