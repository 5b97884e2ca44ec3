"""A recipe's shards for others with the same licensed copies: share, and rebuild."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import run as runs
from flows.app import (
    Device,
    Json,
    Lake,
    RecipeName,
    Roots,
    Workers,
    command,
    console_for,
    print_json,
    print_rows,
    setup_of,
    warehouse_of,
)  # fmt: skip
from flows.audit.bundle import read_bundle, write_bundle
from flows.audit.rebuild import rebuild as rebuild_bundle
from flows.audit.rebuild import summary
from flows.recipe import read_recipe, recipe_path


@command("emolake share demo --out demo.bundle.zip")
def share(
    recipe: RecipeName,
    out: Annotated[Path | None, typer.Option("--out", help="The file (default: RECIPE.bundle.zip).")] = None,
    lake: Lake = None, root: Roots = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Write what others with the same licensed copies need to pack a recipe's shards again: no sound, text or label."""
    declared = read_recipe(recipe_path(recipe))
    warehouse = warehouse_of(lake)
    path = out or Path(f"{declared.name}.bundle.zip")
    setup = setup_of(declared.corpora, lake, root)
    roots = runs.roots_of(declared, warehouse, setup.roots, setup.weights)
    shards = write_bundle(path, declared, warehouse, roots)
    n_bytes = path.stat().st_size
    if as_json:
        print_json({"bundle": str(path), "shards": len(shards), "bytes": n_bytes})
        return
    console = console_for(False)
    console.print(f"bundle: {path}, {n_bytes / 2**20:.2f} MiB for {len(shards)} shards", soft_wrap=True)
    console.print(f"others: emolake rebuild {path.name} --lake EMPTY_FOLDER --root NAME=FOLDER …", soft_wrap=True)


@command("emolake rebuild demo.bundle.zip --lake mine --root iemocap=/corpora/IEMOCAP_full_release")
def rebuild(
    bundle: Annotated[Path, typer.Argument(help="A file that `emolake share` wrote.", metavar="BUNDLE")],
    lake: Lake = None, root: Roots = None, workers: Workers = None, device: Device = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Pack a bundle's shards from one's own copies, and say whether every byte is the same; exit 1 if not."""
    corpora = set(read_bundle(bundle).files["corpus"].to_pylist())
    console = console_for(as_json)
    found = rebuild_bundle(bundle, setup_of(corpora, lake, root, device, workers), console)
    n_same = sum(one.outcome == "same" for one in found)
    if as_json:
        print_json([vars(one) for one in found])
    else:
        print_rows(summary(found), ["shards of", "n", "outcome", "why"], False)
        console.print(f"\n{n_same} of {len(found)} shards have the same bytes", style="bold")
    if n_same < len(found):
        raise typer.Exit(1)
