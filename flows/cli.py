"""`emolake …`: a thin skin over functions that work without it."""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from flows import run as runs
from flows import show
from flows.app import (
    Device,
    Json,
    Lake,
    RecipeName,
    Reference,
    Roots,
    TrustRaw,
    Workers,
    app,
    command,
    complain,
    console_for,
    print_json,
    print_rows,
    setup_of,
    warehouse_of,
)  # fmt: skip
from flows.firewall import selected_on
from flows.plan import plan as make_plan
from flows.recipe import read_recipe, recipe_path
from infra.launch import JobError
from infra.runtime import BadSetting, read_runtime
from models.logs import log_folder
from warehouse import Warehouse
from warehouse.audit.tombstones import taint_of
from warehouse.errors import EmolakeError


def main() -> None:
    """The entry point: whatever goes wrong is one sentence on stderr and the exit code 1."""
    try:
        app()
    except (EmolakeError, JobError, BadSetting) as error:
        complain(str(error))
    except OSError as error:
        complain(f"{error.strerror}: {error.filename}" if error.filename else str(error))
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        complain(f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno}): a fault of Emolake's own")
    sys.exit(1)


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
    """Show what a run would make, and why what is in the lake does not serve. Makes nothing but the lake's marker."""
    declared = read_recipe(recipe_path(recipe))
    setup = setup_of(declared.corpora, lake, root, None, None)
    warehouse = Warehouse(setup.lake, create=True)
    roots = runs.roots_of(declared, warehouse, setup.roots, setup.weights)
    steps = make_plan(declared, warehouse, roots, device=setup.device, trust_raw=trust_raw)
    if as_json:
        print_json([step.as_json() for step in steps])
        return
    console = console_for(False)
    console.print(show.steps_table(steps, planned=True))
    console.print(runs.plan_sentence(steps))


@command("emolake ls features")
def ls(
    kind: Annotated[str | None, typer.Argument(help="Only artifacts of this kind.")] = None,
    lake: Lake = None, as_json: Json = False,
) -> None:  # fmt: skip
    """List artifacts, oldest first."""
    rows = [
        {
            "key": a.key, "digest": a.digest, "kind": a.request.kind, "step": a.request.step, "bytes": a.n_bytes,
            "made": a.created_at,
        }
        for a in warehouse_of(lake).artifacts(kind)
    ]  # fmt: skip
    if not as_json:
        rows = [row | {"key": str(row["key"])[:12], "made": str(row["made"])[:19]} for row in rows]
    print_rows(rows, ["key", "kind", "step", "bytes", "made"], as_json)


@command("emolake show reports/demo")
def show_(reference: Reference, lake: Lake = None, as_json: Json = False) -> None:
    """Show one artifact: its request, files, digest, environment, whether it is test-selected, a fit's log."""
    warehouse = warehouse_of(lake)
    artifact = warehouse.resolve(reference)
    value = {
        "key": artifact.key, "digest": artifact.digest, "created_at": artifact.created_at,
        "folder": str(artifact.folder), "request": artifact.request.as_json(), "files": dict(artifact.files),
        "environment": dict(artifact.environment),
    }  # fmt: skip
    if selected_on(warehouse, artifact) == "test":
        value["stamp"] = "test-selected"
    if tainted := taint_of(warehouse.root, artifact.key):
        value["tainted"] = tainted
    log = log_folder(warehouse.root, artifact.key)
    if log.is_dir():
        value["log"] = str(log)
    if as_json:
        print_json(value)
    else:
        console_for(False).print_json(json.dumps(value, ensure_ascii=False))


# These register their commands, after those above.
from flows import cli_corpora, cli_features, cli_operate, cli_papers, cli_reports, cli_trained, cli_watch  # noqa: E402, F401
from flows.audit import (  # noqa: E402
    cli_bundle,  # noqa: F401
    cli_catalog,  # noqa: F401
    cli_contamination,  # noqa: F401
    cli_diff,  # noqa: F401
    cli_gc,  # noqa: F401
    cli_licence,  # noqa: F401
    cli_lineage,  # noqa: F401
    cli_pages,  # noqa: F401
    cli_purge,  # noqa: F401
    cli_verify,  # noqa: F401
    cli_why,  # noqa: F401
)
