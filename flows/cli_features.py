"""The commands about what extraction left in the lake: features, their canaries, and what could not be treated."""

from __future__ import annotations

from typing import Annotated

import typer

from features.retry import retry as make_retry
from flows.app import Json, Lake, command, console_for, print_json, print_rows, warehouse_of
from flows.canaries import COLUMNS as CANARY_COLUMNS
from flows.canaries import canary_list
from flows.feature_list import COLUMNS, failure_list, feature_list
from flows.transcripts import COLUMNS as TRANSCRIPT_COLUMNS
from flows.transcripts import transcript_rates


@command("emolake features")
def features(lake: Lake = None, as_json: Json = False) -> None:
    """List each extractor's rows, failures, hours of sound, hours treated in an hour, bytes, canary and licence."""
    rows = feature_list(warehouse_of(lake))
    print_rows(rows, [*COLUMNS, "key"] if as_json else list(COLUMNS), as_json, none="no feature was extracted yet")


@command("emolake canary")
def canary(lake: Lake = None, as_json: Json = False) -> None:
    """List which environments each extractor was tried in, what its numbers did there, and where its rows went."""
    rows = canary_list(warehouse_of(lake))
    if not as_json:
        rows = [row | {"when": str(row["when"])[:19]} for row in rows]
    print_rows(rows, list(CANARY_COLUMNS), as_json, none="no extractor was tried yet")


@command("emolake failures")
def failures(lake: Lake = None, as_json: Json = False) -> None:
    """List why utterances could not be treated: step, reason, how many, and the first of them."""
    rows = failure_list(warehouse_of(lake))
    print_rows(rows, ["step", "reason", "utterances", "first"], as_json, none="every utterance could be treated")


@command("emolake transcripts heard")
def transcripts(
    feature: Annotated[str, typer.Argument(help="Name of a feature of extractor 'asr'.", metavar="FEATURE")],
    lake: Lake = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Hold what a recogniser heard against what the corpora say was spoken: word and character error rates."""
    rows = transcript_rates(warehouse_of(lake), feature)
    print_rows(rows, list(TRANSCRIPT_COLUMNS), as_json, none="no current corpus was heard")


@command('emolake retry "the server is away"')
def retry(
    reason: Annotated[str, typer.Argument(help="Text of a reason that `emolake failures` lists.", metavar="REASON")],
    step: Annotated[str | None, typer.Option("--step", help="Only failures of this step.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many.")] = False,
    lake: Lake = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Let the next run try again what failed with a reason that contains this text (a number stands for any)."""
    found = make_retry(warehouse_of(lake), reason, step, dry_run)
    if as_json:
        print_json({"failures": found.failures, "fixed": found.fixed, "dry_run": dry_run})
        return
    console = console_for(False)
    for name, n in found.failures.items():
        told = "would be tried again" if dry_run else "to be tried again by the next run of a recipe that wants them"
        console.print(f"{name}: {n} {told}", soft_wrap=True)
    for name, n in found.fixed.items():
        told = "looked at again only when the files or rows that they were made from change"
        console.print(f"{name}: {n} {told}", soft_wrap=True)
