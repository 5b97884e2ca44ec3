"""Small artifacts merged into large ones."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Annotated, Any

import typer

from flows import show
from flows.app import Json, Lake, command, console_for, print_json, print_rows, warehouse_of
from warehouse import Warehouse
from warehouse.compaction import TARGET, Merge, merge, merges
from warehouse.hashing import short_digest
from warehouse.merged import copies_of

_MIB = 2**20


@command("emolake compact --apply")
def compact(
    apply: Annotated[bool, typer.Option("--apply", help="Merge; without this it is only listed.")] = False,
    target: Annotated[
        float, typer.Option("--target", min=0.001, metavar="MIB", help="How much becomes one; small is less than half.")
    ] = TARGET / _MIB,
    lake: Lake = None, as_json: Json = False,
) -> None:  # fmt: skip
    """List the small artifacts of extractors and aligners that can be merged; --apply merges them. No row changes."""
    warehouse, console = warehouse_of(lake), console_for(as_json)
    made = []
    # Also the look: nobody may take away, or purge, what is about to be merged.
    with warehouse.scratch("compact", is_announced=True) if apply else nullcontext():
        with show.counting(console, "looking at artifacts") as progress:
            found = merges(warehouse, int(target * _MIB), progress)
        with show.counting(console, "merging") as progress:
            for number, one in enumerate(found if apply else (), start=1):
                made.append(merge(warehouse, one))
                progress(number, len(found))
    copies = copies_of(warehouse)
    n_bytes = sum(a.n_bytes for a in copies)
    if as_json:
        told = [_told(one) | {"key": one.request.key, "from": [a.key for a in one.sources]} for one in found]
        print_json({"merged": apply, "artifacts": told, "to_take": {"artifacts": len(copies), "bytes": n_bytes}})
        return
    if found:
        print_rows(_by_plugin(warehouse, found), ["kind", "step", "name", "artifacts", "into", "MiB"], False)
    n = sum(len(one.sources) for one in found)
    if not found:
        console.print("nothing to merge")
    elif apply:
        mib = sum(a.n_bytes for a in made) / _MIB
        console.print(f"merged: {n} artifacts into {len(made)}, {mib:.1f} MiB")
    else:
        console.print(f"{n} artifacts can be merged into {len(found)}: --apply")
    if copies:
        console.print(f"{len(copies)} artifacts lie in merged ones, {n_bytes / _MIB:.1f} MiB: `emolake gc` takes them")


def _told(one: Merge) -> dict[str, Any]:
    plugin = one.request.params["plugin"]
    return {"kind": one.request.kind, "step": plugin["step"], "fields": plugin["fields"], "bytes": one.n_bytes,
            "pieces": len(one.request.params["merged"])}  # fmt: skip


def _by_plugin(warehouse: Warehouse, found: Sequence[Merge]) -> list[dict[str, Any]]:
    refs = [one for group in ("features", "aligners") for one in warehouse.refs(group).items()]
    rows: dict[str, dict[str, Any]] = {}
    for one in found:
        told, key = _told(one), short_digest(one.request.params["plugin"])
        names = ", ".join(name for name, ref in refs if ref["plugin_key"] == key)
        new = {"kind": told["kind"], "step": told["step"], "name": names, "artifacts": 0, "into": 0, "MiB": 0.0}
        row = rows.setdefault(key, new)
        row["artifacts"] += len(one.sources)
        row["into"] += 1
        row["MiB"] = round(row["MiB"] + one.n_bytes / _MIB, 1)
    return list(rows.values())
