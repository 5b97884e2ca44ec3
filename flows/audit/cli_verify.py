"""Whether the lake is sound, and making damaged artifacts again."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer
from rich.console import Console

from flows import show
from flows.app import Json, Lake, Workers, command, console_for, print_json, setup_of, warehouse_of
from warehouse import Warehouse
from warehouse.audit import verify as checks
from warehouse.audit.aside import ASIDE, Fate
from warehouse.audit.verify import Fault


@command("emolake verify --deep")
def verify(
    deep: Annotated[bool, typer.Option("--deep", help="Also hash every file again.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="After a deep look, make again what is damaged, from what is sound.")
    ] = False,
    recipe: Annotated[
        list[str] | None,
        typer.Option("--recipe", help="With --repair: a recipe that the lake has no report of, by name or path."),
    ] = None,
    workers: Workers = None, lake: Lake = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Look at every manifest, name and file of the lake, and say what is not as it was made; exit 1 then."""
    if recipe and not repair:
        raise typer.BadParameter("is for --repair", param_hint="--recipe")
    warehouse, console = warehouse_of(lake), console_for(as_json)
    faults = _looked(warehouse, deep or repair, console)
    fates = _repaired(warehouse, faults, recipe or [], workers, console) if repair else []
    if repair:
        faults = _looked(warehouse, False, console)
    if as_json:
        told = [vars(fault) for fault in faults]
        print_json({"repair": [vars(fate) for fate in fates], "faults": told} if repair else told)
    else:
        for fate in fates:
            console.print(f"{fate.key[:12] if fate.kind else fate.key}  {fate.outcome}: {_told(fate)}", soft_wrap=True)
        for fault in faults:
            console.print(show.fault_line(fault), soft_wrap=True)
        console.print(_sentence(warehouse, faults, deep or repair), soft_wrap=True)
    if faults or any(fate.outcome == "not repaired" for fate in fates):
        raise typer.Exit(1)


def _looked(warehouse: Warehouse, deep: bool, console: Console) -> list[Fault]:
    with show.counting(console, "hashing" if deep else "looking at artifacts", are_bytes=deep) as progress:
        return checks.verify(warehouse, progress, deep)


def _repaired(
    warehouse: Warehouse, faults: list[Fault], recipes: list[str], workers: int | None, console: Console
) -> list[Fate]:
    from flows.audit.repair import repair, with_workers  # knows the whole line, which a look does not need

    setup = setup_of((), warehouse.root, None, workers=workers)
    with with_workers(warehouse.root, setup.n_workers, setup.device) as answer:
        return repair(setup, faults, answer, recipes, show.Terminal(console), partial(show.counting, console))


def _told(fate: Fate) -> str:
    return f"{fate.told}; taints {len(fate.taints)} artifacts" if fate.outcome == "not repaired" else fate.told


def _sentence(warehouse: Warehouse, faults: list[Fault], deep: bool) -> str:
    aside = sorted((warehouse.root / ASIDE).glob("*/*"))
    more = f"; {warehouse.root / ASIDE} holds what could not be repaired, or belonged nowhere" if aside else ""
    if faults:
        n = len({fault.folder or fault.key for fault in faults})
        return f"not sound: {len(faults)} faults of {n} artifacts or names{more}"
    n = len(warehouse.artifacts())
    what = "every file has the bytes it was made with"
    if not deep:
        what = "with their manifests, inputs and names, and every file's size; --deep reads the bytes"
    return f"sound: {n} artifacts, {what}{more}"
