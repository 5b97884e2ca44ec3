"""Where a number comes from, and what used a byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from flows import show
from flows.app import Json, Lake, command, console_for, print_json, print_rows, warehouse_of
from flows.audit.lineage_shown import print_parts, rests_on, went_into
from flows.traced_number import print_number, trace_number
from warehouse import Warehouse
from warehouse.audit.drawn import drawing_of, mermaid, svg
from warehouse.audit.grounds import grounds
from warehouse.audit.holders import one_connection
from warehouse.audit.lineage import Graph, closure_down, closure_up, graph_among
from warehouse.audit.past import as_of
from warehouse.audit.subject import Subject, places_of, subject_of
from warehouse.audit.touched import Touched, touched

_TRACED = ("report", "metrics", "predictions")


@command("emolake lineage reports/demo#distilled/1/0/uar")
@one_connection()
def lineage_(
    reference: Annotated[
        str, typer.Argument(
            help="An artifact (key, digest, name); ARTIFACT#MODEL/FOLD/SEED/METRIC, a number; ARTIFACT#ID, a row; an "
            "utterance id; the path or sha256 of a raw file; with --column VIEW.COLUMN.", metavar="REFERENCE",
        ),
    ],
    down: Annotated[bool, typer.Option("--down", help="What it went into, not what it was made from.")] = False,
    utterance: Annotated[
        str | None, typer.Option("--utterance", help="Trace the prediction of this utterance to its bytes.")
    ] = None,
    column: Annotated[
        bool, typer.Option("--column", help="REFERENCE is a column of a view: which columns of which files it is of.")
    ] = False,
    as_of_: Annotated[
        str | None, typer.Option("--as-of", help="Only what had been made by then: a time, or an artifact made then.")
    ] = None,
    to: Annotated[
        Literal["tree", "json", "mermaid", "svg", "openlineage"], typer.Option("--to", help="In which form.")
    ] = "tree",
    out: Annotated[
        str | None, typer.Option("--out", help="Into a file; of openlineage also to https://…/api/v1/lineage.")
    ] = None,
    lake: Lake = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Trace anything up to raw files, or down to the numbers it went into: artifacts, numbers, rows, clips, files."""
    warehouse = warehouse_of(lake)
    warehouse = as_of(warehouse, as_of_) if as_of_ else warehouse
    as_json = as_json or to == "json"
    if out and to in ("tree", "json"):
        raise typer.BadParameter(f"{to} is for the terminal: direct it there with >", param_hint="--out")
    if column:
        from warehouse.audit.columns import sources_of  # with DuckDB, which nothing else here needs

        rows = [source.as_json() for source in sources_of(warehouse, reference)]
        print_rows(rows, ["kind", "file", "column", "role"], as_json, none="no column of any file: it is of manifests")
        return
    subject = subject_of(warehouse, reference)
    if to in ("mermaid", "svg", "openlineage"):
        _draw(warehouse, subject, down, to, out)
    elif down:
        if utterance:
            raise typer.BadParameter("it goes up, and --down down", param_hint="--utterance")
        _down(warehouse, subject, as_json)
    else:
        _up(warehouse, subject, utterance, as_json)


def _up(warehouse: Warehouse, subject: Subject, utterance: str | None, as_json: bool) -> None:
    artifacts = warehouse.artifacts()
    own = [a.key for a in subject.artifacts]
    start = subject.metrics or subject.artifacts[0]
    number = None
    if start.request.kind in _TRACED:
        id_of_row = subject.reference.partition("#")[2] if subject.what == "row" else None
        number = trace_number(warehouse, start, utterance or id_of_row, subject.numbers or None)
    if utterance and number is None:
        raise typer.BadParameter(f"no prediction of '{utterance}' is under {subject.reference}",
                                 param_hint="--utterance")  # fmt: skip
    rest, places = grounds(artifacts, own), places_of(warehouse, subject)
    if as_json:
        graph = graph_among(artifacts, closure_up(artifacts, own))
        trace = [vars(hop) for hop in number.hops] if number else []
        print_json(_subject_json(subject, places) | graph.as_json() | rest.as_json() | {"trace": trace})
        return
    console = console_for(False)
    print_parts(rests_on(subject, artifacts, rest, places), console)
    if number:
        print_number(number, console)


def _down(warehouse: Warehouse, subject: Subject, as_json: bool) -> None:
    with show.counting(console_for(True), "looking for its rows"):
        found = touched(warehouse, subject)
    places = places_of(warehouse, subject)
    if as_json:
        keys = _keys_below(warehouse, subject, found)
        graph = graph_among(warehouse.artifacts(), keys)
        print_json(_subject_json(subject, places) | graph.as_json() | _touched_json(found))
    else:
        print_parts(went_into(subject, warehouse.artifacts(), found, places), console_for(False))


def _draw(warehouse: Warehouse, subject: Subject, down: bool, to: str, out: str | None) -> None:
    artifacts = warehouse.artifacts()
    if down:
        keys = _keys_below(warehouse, subject, touched(warehouse, subject))
    else:
        keys = closure_up(artifacts, [a.key for a in subject.artifacts])
    graph = graph_among(artifacts, keys)
    if to == "openlineage":
        _tell(warehouse, graph, out)
        return
    text = mermaid(drawing_of(graph)) if to == "mermaid" else svg(drawing_of(graph))
    if out:
        Path(out).write_text(text, encoding="utf-8")
    else:
        print(text, end="")


def _tell(warehouse: Warehouse, graph: Graph, out: str | None) -> None:
    from flows.audit.openlineage_events import run_events, write_events

    console = console_for(True)
    with show.counting(console, "telling events") as progress:
        total = 2 * len(graph.artifacts)
        n = write_events(run_events(warehouse, graph.artifacts), out or "-", lambda done: progress(done, total))
    if out:
        console.print(f"{n} events of {len(graph.artifacts)} runs: {out.rpartition('@')[2]}", soft_wrap=True)


def _keys_below(warehouse: Warehouse, subject: Subject, found: Touched) -> set[str]:
    if not (subject.clips or subject.what == "row"):
        return closure_down(warehouse.artifacts(), [a.key for a in subject.artifacts])
    uses = (*found.holding, *found.learned, *found.heirs)
    return {use.artifact.key for use in uses} | {one.metrics.key for one in found.numbers}


def _subject_json(subject: Subject, places: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    own = {"what": subject.what, "reference": subject.reference, "artifacts": [a.key for a in subject.artifacts]}
    return {"subject": own | {"places": places, "numbers": subject.numbers}}


def _touched_json(found: Touched) -> dict[str, Any]:
    lists = {"holding": found.holding, "learned": found.learned, "heirs": found.heirs}
    told: dict[str, Any] = {
        name: [{"key": use.artifact.key, "how": use.how, "rows": use.n_rows} for use in uses]
        for name, uses in lists.items()
    }
    numbers = [{**one.row, "how": one.how, "metrics": one.metrics.key, "reports": one.reports} for one in found.numbers]
    return told | {"numbers": numbers}
