"""`emolake …`: a thin skin over functions that work without it."""

from __future__ import annotations

import functools
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer
from rich.console import Console

from flows import run as runs
from flows import show
from flows.plan import plan as make_plan
from flows.recipe import Recipe, read_recipe, recipe_path
from infra.launch import JobError
from infra.runtime import BadSetting, read_runtime
from warehouse import Warehouse, lineage
from warehouse.errors import EmolakeError, UnknownName

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Feature store and experiment line for speech-and-text emotion recognition.",
)  # fmt: skip

INTERRUPTED = 130

Lake = Annotated[Path | None, typer.Option("--lake", help="Folder of the lake (default: $EMOLAKE_LAKE, or ./lake).")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines, and nothing else.")]
RecipeName = Annotated[str, typer.Argument(help="Name of a shipped recipe, or path of a TOML file.", metavar="RECIPE")]
Roots = Annotated[
    list[str] | None,
    typer.Option("--root", help="NAME=FOLDER: where the raw files of a corpus are (or $EMOLAKE_ROOT_<NAME>)."),
]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Works at once (default: CPU cores).")]
Device = Annotated[
    Literal["cpu", "cuda", "mps", "auto"] | None,
    typer.Option("--device", help="Where extractors and jobs compute (default: $EMOLAKE_DEVICE, or cpu)."),
]
Reference = Annotated[
    str,
    typer.Argument(
        help="A key, a digest, the beginning of either, or a name such as reports/demo.", metavar="REFERENCE"
    ),
]

F = TypeVar("F", bound=Callable[..., Any])


def command(example: str) -> Callable[[F], F]:
    """Registers a function as a command whose help ends with an example."""

    def register(function: F) -> F:
        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except KeyboardInterrupt:
                _complain("interrupted: what was finished is kept, and the same command continues there")
                raise typer.Exit(INTERRUPTED) from None

        name = function.__name__.rstrip("_")
        app.command(name, help=f"{function.__doc__}\n\nExample: {example}")(guarded)
        return function

    return register


def main() -> None:
    """The entry point: whatever goes wrong is one sentence on stderr and the exit code 1."""
    try:
        app()
    except (EmolakeError, JobError, BadSetting) as error:
        _complain(str(error))
    except OSError as error:
        _complain(f"{error.strerror}: {error.filename}" if error.filename else str(error))
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        _complain(f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno}): a fault of Emolake's own")
    sys.exit(1)


def _complain(sentence: str) -> None:
    Console(stderr=True, highlight=False, markup=False).print(f"emolake: {sentence}", soft_wrap=True)


def _console(as_json: bool) -> Console:
    """What people read: stdout, or stderr where stdout is JSON. In a pipe or a file no line is wrapped."""
    console = Console(stderr=as_json, highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 10_000
    return console


def _print_json(value: Any) -> None:
    print(json.dumps(show.plain(value), ensure_ascii=False, indent=2, allow_nan=False))


def _setup(
    recipe: Recipe, lake: Path | None, roots: list[str] | None, device: str | None, workers: int | None
) -> runs.Setup:
    runtime = read_runtime()
    given = dict(runtime.roots)
    for root in roots or []:
        name, _, folder = root.partition("=")
        if not (name and folder):
            raise typer.BadParameter(f"'{root}' must be NAME=FOLDER", param_hint="--root")
        if name not in recipe.corpora:
            raise UnknownName("corpus", name, recipe.corpora)
        given[name] = Path(folder)
    return runs.Setup(lake or runtime.lake, given, device or runtime.device, workers or runtime.workers)


def _verb(
    verb: str, recipe: str, lake: Path | None, roots: list[str] | None, workers: int | None, device: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    path = recipe_path(recipe)
    setup = _setup(read_recipe(path), lake, roots, device, workers)
    console = _console(as_json)
    outcome = runs.run(path, setup, verb, console)
    if as_json:
        _print_json(outcome.as_json())
    else:
        runs.print_outcome(outcome, console)


@command("emolake demo")
def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Where the sandbox and the lake are put.")] = Path(),
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Make miniature corpora, run the whole MCED line on them, and trace one number to its bytes."""
    console = _console(as_json)
    outcome = runs.demo(folder, workers or read_runtime().workers, console)
    if as_json:
        _print_json(outcome.as_json())
    else:
        runs.print_outcome(outcome, console)
        runs.print_trace(outcome, console)


@command("emolake ingest my.toml --root iemocap=/corpora/IEMOCAP_full_release")
def ingest(
    recipe: RecipeName, lake: Lake = None, root: Roots = None, workers: Workers = None, device: Device = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Read the recipe's corpora: hash raw files, write utterances and labels."""
    _verb("ingest", recipe, lake, root, workers, device, as_json)


@command("emolake align demo")
def align(
    recipe: RecipeName, lake: Lake = None, root: Roots = None, workers: Workers = None, device: Device = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Align words and phones with the recipe's aligner."""
    _verb("align", recipe, lake, root, workers, device, as_json)


@command("emolake extract demo")
def extract(
    recipe: RecipeName, lake: Lake = None, root: Roots = None, workers: Workers = None, device: Device = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Extract every feature of the recipe (and fit the teachers that some of them need)."""
    _verb("extract", recipe, lake, root, workers, device, as_json)


@command("emolake pack demo")
def pack(
    recipe: RecipeName, lake: Lake = None, root: Roots = None, workers: Workers = None, device: Device = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Pack the training shards of every model of the recipe."""
    _verb("pack", recipe, lake, root, workers, device, as_json)


@command("emolake run emodb --root emodb=/corpora/emodb")
def run(
    recipe: RecipeName, lake: Lake = None, root: Roots = None, workers: Workers = None, device: Device = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Run a recipe from raw files to its report. What the lake has is not made again."""
    _verb("run", recipe, lake, root, workers, device, as_json)


@command("emolake plan demo")
def plan(
    recipe: RecipeName, lake: Lake = None, root: Roots = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Show what a run would make, and why what is in the lake does not serve. Makes nothing but the lake's marker."""
    declared = read_recipe(recipe_path(recipe))
    setup = _setup(declared, lake, root, None, None)
    warehouse = Warehouse(setup.lake, create=True)
    steps = make_plan(declared, warehouse, runs.roots_of(declared, warehouse, setup.roots))
    if as_json:
        _print_json([step.as_json() for step in steps])
        return
    console = _console(False)
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
        for a in _warehouse(lake).artifacts(kind)
    ]  # fmt: skip
    if not as_json:
        rows = [row | {"key": str(row["key"])[:12], "made": str(row["made"])[:19]} for row in rows]
    _print_rows(rows, ["key", "kind", "step", "bytes", "made"], as_json)


@command("emolake show reports/demo")
def show_(reference: Reference, lake: Lake = None, as_json: Json = False) -> None:
    """Show one artifact: its request, files, digest and the environment it was made in."""
    artifact = _warehouse(lake).resolve(reference)
    value = {
        "key": artifact.key, "digest": artifact.digest, "created_at": artifact.created_at,
        "folder": str(artifact.folder), "request": artifact.request.as_json(), "files": dict(artifact.files),
        "environment": dict(artifact.environment),
    }  # fmt: skip
    if as_json:
        _print_json(value)
    else:
        _console(False).print_json(json.dumps(value, ensure_ascii=False))


@command('emolake sql "SELECT corpus, count(*) AS n FROM utterances GROUP BY ALL"')
def sql(
    query: Annotated[str, typer.Argument(help="A SELECT; `SHOW TABLES` lists the views.")],
    lake: Lake = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Ask the lake in SQL."""
    table = _warehouse(lake).table(query)
    table = table.rename_columns(show.numbered(table.column_names))
    _print_rows(table.to_pylist(), table.column_names, as_json)


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
    warehouse = _warehouse(lake)
    console = _console(as_json)
    hops = lineage.uses(warehouse, reference) if lineage.is_utterance(warehouse, reference) else None
    if hops is not None:
        _print_rows([vars(hop) for hop in hops], ["what", "key", "note"], as_json)
        return
    artifact = warehouse.resolve(reference)
    tree = lineage.down(warehouse, artifact) if down else lineage.up(warehouse, artifact)
    number = None if down else runs.trace_number(warehouse, artifact, utterance)
    if utterance and number is None:
        raise typer.BadParameter(f"no prediction of '{utterance}' is under {reference}", param_hint="--utterance")
    if as_json:
        trace = [vars(hop) for hop in number.hops] if number else []
        _print_json({"tree": tree.as_json(), "trace": trace})
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
    warehouse = _warehouse(lake)
    artifact = warehouse.resolve(reference)
    other = warehouse.resolve(than) if than else lineage.nearest(warehouse, artifact.request)
    found = lineage.differences(artifact.request, other.request) if other else []
    if as_json:
        there = other.key if other else None
        rows = [{"where": d.where, "asked": d.asked, "there": d.there} for d in found]
        _print_json({"key": artifact.key, "than": there, "differences": rows})
    elif other is None:
        _console(False).print(f"the lake holds no other artifact of '{artifact.request.step}' to compare with")
    else:
        _console(False).print(show.differences_table(found, artifact.key, other.key))


@command("emolake verify")
def verify(lake: Lake = None, as_json: Json = False) -> None:
    """Hash every file of the lake again and say what is not as it was made; exit 1 when something is not."""
    warehouse = _warehouse(lake)
    console = _console(as_json)
    with show.counting(console, "hashing artifacts") as progress:
        faults = lineage.verify(warehouse, progress)
    if as_json:
        _print_json([vars(fault) for fault in faults])
    elif faults:
        for fault in faults:
            console.print(f"{fault.key[:12]}  {fault.problem}; taints {len(fault.taints)} artifacts", soft_wrap=True)
    else:
        console.print(f"sound: {len(warehouse.artifacts())} artifacts, every file has the bytes it was made with")
    if faults:
        raise typer.Exit(1)


def _warehouse(lake: Path | None) -> Warehouse:
    return Warehouse(lake or read_runtime().lake)


def _print_rows(rows: list[dict[str, Any]], columns: list[str], as_json: bool) -> None:
    if as_json:
        _print_json(rows)
    elif rows:
        _console(False).print(show.rows_table(rows, columns))
    else:
        _console(False).print("no rows")


if __name__ == "__main__":
    main()
