"""`emolake demo`, `plan`, and the verbs of a recipe: ingest, align, extract, pack, run."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from flows import run as runs
from flows import show
from flows.app import (
    Device,
    Json,
    Lake,
    RecipeName,
    Roots,
    TrustRaw,
    Workers,
    command,
    console_for,
    print_json,
    setup_of,
)  # fmt: skip
from flows.plan import plan as make_plan
from flows.recipe import read_recipe, recipe_path
from infra.runtime import read_runtime
from warehouse import Warehouse
from warehouse.operating_errors import NoLakeYet


def _verb(
    verb: str, recipe: str, lake: Path | None, roots: list[str] | None, workers: int | None, device: str | None,
    trust_raw: bool, as_json: bool,
) -> None:  # fmt: skip
    path = recipe_path(recipe)
    setup = setup_of(read_recipe(path).corpora, lake, roots, device, workers, trust_raw)
    console = console_for(as_json)
    outcome = runs.run(path, setup, verb, console)
    if as_json:
        print_json(outcome.as_json())
    else:
        runs.print_outcome(outcome, console)
    if any(step.unmade for step in outcome.steps):
        raise typer.Exit(1)


@contextmanager
def _lake_or_none(lake: Path) -> Iterator[Warehouse]:
    """The lake; where there is none yet, an empty one elsewhere that is gone afterwards."""
    with ExitStack() as stack:
        try:
            warehouse = Warehouse(lake)
        except NoLakeYet:
            if lake.is_file():  # where a run could begin none
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(lake)) from None
            folder = stack.enter_context(TemporaryDirectory(prefix="emolake-"))
            warehouse = Warehouse(Path(folder), create=True)
        yield warehouse


@command("emolake demo")
def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Where the sandbox and the lake are put.")] = Path(),
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Make miniature corpora, run the whole MCED line on them, and trace one number to its bytes."""
    console = console_for(as_json)
    outcome = runs.demo(folder, workers or read_runtime().workers, console)
    if as_json:
        print_json(outcome.as_json())
    else:
        runs.print_outcome(outcome, console)
        runs.print_trace(outcome, console)


@command("emolake ingest my.toml --root iemocap=/corpora/IEMOCAP_full_release")
def ingest(
    recipe: RecipeName, lake: Lake = None, root: Roots = None, workers: Workers = None, device: Device = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Read the recipe's corpora: hash raw files, write utterances and labels."""
    _verb("ingest", recipe, lake, root, workers, device, False, as_json)


@command("emolake align demo")
def align(
    recipe: RecipeName, lake: Lake = None, root: Roots = None, workers: Workers = None, device: Device = None,
    trust_raw: TrustRaw = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Align words and phones with the recipe's aligners."""
    _verb("align", recipe, lake, root, workers, device, trust_raw, as_json)


@command("emolake extract demo")
def extract(
    recipe: RecipeName, lake: Lake = None, root: Roots = None, workers: Workers = None, device: Device = None,
    trust_raw: TrustRaw = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Extract every feature of the recipe (and fit the teachers that some of them need); tell corpora again."""
    _verb("extract", recipe, lake, root, workers, device, trust_raw, as_json)


@command("emolake pack demo")
def pack(
    recipe: RecipeName, lake: Lake = None, root: Roots = None, workers: Workers = None, device: Device = None,
    trust_raw: TrustRaw = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Pack the training shards of every model of the recipe."""
    _verb("pack", recipe, lake, root, workers, device, trust_raw, as_json)


@command("emolake run emodb --root emodb=/corpora/emodb")
def run(
    recipe: RecipeName, lake: Lake = None, root: Roots = None, workers: Workers = None, device: Device = None,
    trust_raw: TrustRaw = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Run a recipe from raw files to its report. What the lake has is not made again."""
    _verb("run", recipe, lake, root, workers, device, trust_raw, as_json)


@command("emolake plan demo")
def plan(
    recipe: RecipeName, lake: Lake = None, root: Roots = None, trust_raw: TrustRaw = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Show what a run would make, and why what is in the lake does not serve. Where there is no lake, makes none."""
    declared = read_recipe(recipe_path(recipe))
    setup = setup_of(declared.corpora, lake, root, None, None)
    with _lake_or_none(setup.lake) as warehouse:
        roots = runs.roots_of(declared, warehouse, setup.roots, setup.weights)
        steps = make_plan(declared, warehouse, roots, device=setup.device, trust_raw=trust_raw)
    if as_json:
        print_json([step.as_json() for step in steps])
        return
    console = console_for(False)
    console.print(show.steps_table(steps, planned=True))
    console.print(runs.plan_sentence(steps))
