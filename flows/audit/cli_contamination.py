"""Whether what judges a model was met before."""

from __future__ import annotations

from typing import Annotated

import typer

from flows import show
from flows.app import Json, Lake, command, console_for, print_json, print_rows, warehouse_of
from flows.audit.contamination import contamination as known_of
from flows.audit.overlap import KINDS


@command("emolake contamination demo:distilled")
def contamination(
    model: Annotated[
        str,
        typer.Argument(
            help="RECIPE:MODEL of a report, a checkpoint's key or digest, or a protocol.", metavar="MODEL|PROTOCOL"
        ),
    ],
    fold: Annotated[str | None, typer.Option("--fold", help="Only the fits of this fold.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Only the fits of this seed.")] = None,
    lake: Lake = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Say what encoders and teachers learned from, as declared and as measured, against all that judges here."""
    console = console_for(as_json)
    with show.counting(console, "comparing what was learned from") as progress:
        found = known_of(warehouse_of(lake), model, fold, seed, progress)
    if as_json:
        print_json(found.as_json())
        return
    columns = ["encoder", "trained on", "said by", "test corpus", "so"]
    none = "no checkpoint from outside this lake had a part in it"
    console.print("declared of what comes from outside this lake:")
    print_rows(found.declared_rows(), columns, False, none=none)
    console.print("\nmeasured in this lake, as the number of test utterances that share it with what was learned from:")
    columns = ["learner", "learned from", "protocol", "judges it", "test utterances", *KINDS]
    print_rows(found.measured_rows(), columns, False, none="no evaluation of this lake has a test part")
