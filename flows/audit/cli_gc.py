"""What nothing reaches any more, and taking it away."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from flows import show
from flows.app import Json, Lake, command, console_for, print_json, print_rows, setup_of, warehouse_of
from warehouse.artifact import Artifact


@command("emolake gc --keep reports/demo")
def gc(
    delete: Annotated[bool, typer.Option("--delete", help="Take it away; without this it is only listed.")] = False,
    older_than: Annotated[
        float, typer.Option("--older-than", min=0, metavar="HOURS", help="What is younger stays: a run may need it.")
    ] = 24.0,
    keep: Annotated[
        list[str] | None, typer.Option("--keep", help="An artifact (key, digest, name) that stays.")
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option("--recipe", help="A recipe without a report in the lake, by name or path, whose work stays."),
    ] = None,
    lake: Lake = None, as_json: Json = False,
) -> None:  # fmt: skip
    """List the artifacts that no recipe's plan or last report, no name and no bundle reaches; --delete removes them."""
    from flows.audit import collect as collecting  # knows the whole line

    warehouse, console = warehouse_of(lake), console_for(as_json)
    found = collecting.garbage(setup_of((), warehouse.root, None), keep or [], recipe or [], older_than)
    n_gone, n_bytes, kept = 0, found.n_bytes, list[str]()
    if delete:
        with show.counting(console, "taking away") as progress:
            n_gone = collecting.collect(warehouse, found, progress, kept.append)
    if as_json:
        rows = [
            {"key": a.key, "kind": a.request.kind, "step": a.request.step, "bytes": a.n_bytes, "made": a.created_at}
            for a in found.artifacts
        ]
        told = {"artifacts": rows, "leftovers": [str(path) for path in found.leftovers], "bytes": n_bytes}
        print_json(told | {"deleted": n_gone, "remarks": [*found.remarks, *kept]})
        return
    for remark in (*found.remarks, *kept):
        console.print(remark, soft_wrap=True)
    if found.artifacts:
        print_rows(_by_step(found.artifacts), ["kind", "step", "artifacts", "MiB", "oldest", "newest"], False)
    for path in found.leftovers:
        console.print(f"left over: {path}", soft_wrap=True)
    n, mib = len(found.artifacts), n_bytes / 2**20
    if not (found.artifacts or found.leftovers):
        console.print("everything is reached, or too young to tell: nothing to take away")
    elif delete:
        console.print(f"taken away: {n_gone} artifacts and {len(found.leftovers)} leftovers")
    else:
        console.print(f"nothing reaches {n} artifacts and {len(found.leftovers)} leftovers, {mib:.1f} MiB: --delete")


def _by_step(artifacts: Iterable[Artifact]) -> list[dict[str, Any]]:
    own: dict[tuple[str, str], list[Artifact]] = {}
    for artifact in artifacts:
        own.setdefault((artifact.request.kind, artifact.request.step), []).append(artifact)
    return [
        {
            "kind": kind, "step": step, "artifacts": len(found), "MiB": round(sum(a.n_bytes for a in found) / 2**20, 1),
            "oldest": min(a.created_at for a in found)[:16], "newest": max(a.created_at for a in found)[:16],
        }
        for (kind, step), found in sorted(own.items())
    ]  # fmt: skip
