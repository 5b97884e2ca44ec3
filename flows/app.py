"""What every command of `emolake` shares: how it is registered, what its options are called, how it prints."""

from __future__ import annotations

import functools
import json
import traceback
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer
from rich.console import Console

from flows import show
from flows.__main__ import hear_ctrl_c
from flows.commands import app
from infra.launch import JobError  # with the module, not where a mistake is told: Ctrl-C may come while one is
from infra.runtime import BadSetting, read_runtime
from warehouse import Warehouse
from warehouse.errors import EmolakeError, UnknownName
from warehouse.remote import folder_of

if TYPE_CHECKING:
    from flows.run import Setup

INTERRUPTED = 130


Lake = Annotated[
    Path | None,
    typer.Option(
        "--lake", parser=folder_of, metavar="FOLDER|URL",
        help="The lake: a folder, or a URL such as s3://bucket/lake (default: $EMOLAKE_LAKE, or ./lake).",
    ),
]  # fmt: skip
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines, and nothing else.")]
RecipeName = Annotated[str, typer.Argument(help="Name of a shipped recipe, or path of a TOML file.", metavar="RECIPE")]
Roots = Annotated[
    list[str] | None,
    typer.Option("--root", help="NAME=FOLDER: where the raw files of a corpus are (or $EMOLAKE_ROOT_<NAME>)."),
]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Works at once (default: CPU cores).")]
TrustRaw = Annotated[
    bool, typer.Option("--trust-raw", help="Take raw files as recorded: look at none, so that none is seen to change.")
]
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
                hear_ctrl_c()
                return function(*args, **kwargs)
            except (KeyboardInterrupt, RuntimeError) as error:
                if not is_ctrl_c(error):
                    raise
                complain("interrupted: what was finished is kept, and the same command continues there")
                raise typer.Exit(INTERRUPTED) from None

        name = function.__name__.rstrip("_")
        app.command(name, help=f"{function.__doc__}\n\nExample: {example}")(guarded)
        return function

    return register


def complain(sentence: str) -> None:
    """One sentence on stderr."""
    Console(stderr=True, highlight=False, markup=False, emoji=False).print(f"emolake: {sentence}", soft_wrap=True)


def sentence_of(error: Exception) -> str:
    """What is said of a mistake. A fault of our own is said with its place."""
    if isinstance(error, (EmolakeError, JobError, BadSetting)):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.strerror}: {error.filename}" if error.filename else str(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno}): a fault of Emolake's own"


def console_for(as_json: bool) -> Console:
    """What people read: stdout, or stderr where stdout is JSON. In a pipe or a file no line is wrapped."""
    console = Console(stderr=as_json, highlight=False, markup=False, emoji=False)  # a model may be called ':sound:'
    if not console.is_terminal:
        console.width = 10_000
    return console


def print_json(value: Any) -> None:
    """JSON on stdout, which holds nothing else then."""
    print(json.dumps(show.plain(value), ensure_ascii=False, indent=2, allow_nan=False))


def is_ctrl_c(error: BaseException) -> bool:
    """Whether somebody pressed it, also within a query of DuckDB, which has a word of its own for that."""
    return isinstance(error, KeyboardInterrupt) or str(error) == "Query interrupted"


def warehouse_of(lake: Path | None) -> Warehouse:
    """The lake that is named, or the environment's."""
    return Warehouse(lake or read_runtime().lake)


def print_rows(rows: list[dict[str, Any]], columns: list[str], as_json: bool, none: str = "no rows") -> None:
    """Rows as JSON or as an aligned table; `none` is said where there are none."""
    if as_json:
        print_json(rows)
    elif rows:
        console = console_for(False)
        text = None if console.is_terminal else show.rows_text(rows, columns, console.width)
        console.print(show.rows_table(rows, columns)) if text is None else console.out(text)
    else:
        console_for(False).print(none)


def setup_of(
    corpora: Collection[str], lake: Path | None, roots: list[str] | None, device: str | None = None,
    workers: int | None = None, trust_raw: bool = False,
) -> Setup:  # fmt: skip
    """Where and how fast, from options and, where these are silent, from the environment.

    Args:
        corpora: whose roots may be given.
        trust_raw: see `--trust-raw`.

    Raises:
        BadParameter: a root is not NAME=FOLDER. UnknownName: it is of another corpus.
    """
    from flows.run import Setup  # knows the whole line

    runtime = read_runtime()
    given = dict(runtime.roots)
    for root in roots or []:
        name, _, folder = root.partition("=")
        if not (name and folder):
            raise typer.BadParameter(f"'{root}' must be NAME=FOLDER", param_hint="--root")
        if name not in corpora:
            raise UnknownName("corpus", name, corpora)
        given[name] = Path(folder)
    how = device or runtime.device, workers or runtime.workers
    return Setup(lake or runtime.lake, given, *how, runtime.weights, trust_raw)
