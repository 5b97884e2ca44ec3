"""The commands that let recipes run by themselves, and say what became of it."""

from __future__ import annotations

import threading
from typing import Annotated

import typer

from flows import run as runs
from flows.app import (
    Device,
    Json,
    Lake,
    Roots,
    Workers,
    command,
    console_for,
    print_json,
    print_rows,
    setup_of,
    warehouse_of,
)
from flows.operate.deployments import Deployed, deployments_of
from flows.operate.serving import PORT
from flows.operate.serving import serve as serve_deployments
from flows.recipe import read_recipe, recipe_path
from warehouse import Warehouse


@command("emolake serve my.toml --root films=/films")
def serve(
    recipes: Annotated[
        list[str], typer.Argument(help="Names of shipped recipes, or paths of TOML files.", metavar="RECIPE")
    ],
    lake: Lake = None, root: Roots = None, workers: Workers = None, device: Device = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65_535, help="Of Prefect's UI and API on this machine (0: any).")
    ] = PORT,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would run, and when.")] = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Run recipes at the times that their [schedule] names, until Ctrl-C; with a Prefect server where none is set."""
    deployed: list[Deployed] = []
    declared = {path: read_recipe(path) for path in map(recipe_path, recipes)}
    corpora = {name for recipe in declared.values() for name in recipe.corpora}
    setup = setup_of(corpora, lake, root, device, workers)
    warehouse = Warehouse(setup.lake, create=True)
    for path, recipe in declared.items():
        runs.roots_of(recipe, warehouse, setup.roots, setup.weights)  # what is not known is said now, and not at night
        given = {name: folder for name, folder in setup.roots.items() if name in recipe.corpora}
        deployed += deployments_of(path, recipe, setup, given)
    if as_json:
        print_json([one.as_json() for one in deployed])
    else:
        rows = [{"deployment": one.name, "schedule": one.cron, "timezone": one.timezone} for one in deployed]
        print_rows(rows, ["deployment", "schedule", "timezone"], False)
    if dry_run:
        return
    console = console_for(as_json)

    def told(url: str) -> None:
        console.print(f"\nserving {warehouse.root}\nPrefect: {url.removesuffix('/api')}", soft_wrap=True)

    serve_deployments(deployed, warehouse.root / ".prefect", port, told, threading.Event())


@command("emolake status")
def status(lake: Lake = None, as_json: Json = False) -> None:
    """Say what is scheduled, running, late and failed, with the last run of each and the next."""
    from flows.operate.status import runs_table, status_of, status_table  # knows HTTP, which takes a while to import

    warehouse = warehouse_of(lake)
    found = status_of(warehouse)
    if as_json:
        print_json(found.as_json())
        return
    console = console_for(False)
    if not found.server:
        console.print(f"no server answers for the lake {warehouse.root}: `emolake serve RECIPE` starts one")
        for report in found.reports:
            console.print(f"the last report of {report['recipe']} is of {report['made'][:19]}: {report['report']}")
    elif not found.deployments:
        console.print(f"nothing of ours is scheduled at {found.server}: `emolake serve RECIPE` does that")
    else:
        console.print(status_table(found.deployments))
        if found.runs:
            console.print()
            console.print(runs_table(found.runs))
        console.print(f"\nPrefect: {found.server.removesuffix('/api')}")
