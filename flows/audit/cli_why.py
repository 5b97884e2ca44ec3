"""Why two artifacts differ, and why a recipe would compute something again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flows import show
from flows.app import Json, Lake, Roots, command, console_for, print_json, print_rows, setup_of, warehouse_of
from flows.audit.wherefore import why_apart, why_steps
from warehouse import Warehouse
from warehouse.audit.why import nearest
from warehouse.errors import ArtifactNotFound, UnknownName


@command("emolake why 3f2a81 --than 90bc17")
def why(
    reference: Annotated[
        str,
        typer.Argument(help="An artifact (key, digest, name), or a recipe (name, TOML file).", metavar="REFERENCE"),
    ],
    than: Annotated[
        str | None, typer.Option("--than", help="The artifact to compare with (default: the nearest).")
    ] = None,
    root: Roots = None, lake: Lake = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Say which field, version, input or environment makes two artifacts differ; of a recipe, why a run would not find
    what it asks for."""
    warehouse = warehouse_of(lake)
    path = None if than or _is_artifact(warehouse, reference) else _recipe(reference)
    if path is not None:
        _why_recipe(path, lake, root, as_json)
        return
    artifact = warehouse.resolve(reference)
    other = warehouse.resolve(than) if than else nearest(warehouse, artifact.request)
    found = why_apart(artifact, other) if other else []
    if as_json:
        rows = [{"where": d.where, "asked": d.asked, "there": d.there} for d in found]
        print_json({"key": artifact.key, "than": other.key if other else None, "differences": rows})
    elif other is None:
        console_for(False).print(f"the lake holds no other artifact of '{artifact.request.step}' to compare with")
    else:
        console_for(False).print(show.differences_table(found, artifact.key, other.key))


def _why_recipe(path: Path, lake: Path | None, root: list[str] | None, as_json: bool) -> None:
    from flows import run as runs  # knows the whole line, as a plan does; what artifacts differ in needs neither
    from flows.plan import plan
    from flows.recipe import read_recipe

    declared = read_recipe(path)
    setup = setup_of(declared.corpora, lake, root)
    warehouse = Warehouse(setup.lake)
    roots = runs.roots_of(declared, warehouse, setup.roots, setup.weights)
    with show.Terminal(console_for(True)).status("looking what is there"):
        steps = plan(declared, warehouse, roots, explain=False, device=setup.device)
    rows = why_steps(warehouse, steps)
    if as_json:
        print_json(rows)
        return
    told: list[dict[str, Any]] = [
        {**row, "asked": show.side(row["asked"]), "there": show.side(row["there"]), "than": row["than"][:12]}
        for row in rows
    ]
    columns = ["step", "new", "where", "asked", "there", "than"]
    print_rows(told, columns, False, none=f"a run of '{declared.name}' finds all there")


def _recipe(reference: str) -> Path | None:
    from flows.recipe import recipe_path

    try:
        return recipe_path(reference)
    except UnknownName:
        return None


def _is_artifact(warehouse: Warehouse, reference: str) -> bool:
    try:
        warehouse.resolve(reference)
    except ArtifactNotFound:
        return False
    return True
