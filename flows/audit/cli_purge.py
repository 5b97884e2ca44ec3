"""Everything of a person, a recording or an utterance leaves the lake, with a receipt."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from flows import show
from flows.app import Json, Lake, command, console_for, is_ctrl_c, print_json, warehouse_of
from infra.runtime import read_runtime
from warehouse import Warehouse
from warehouse.audit.errors import FoundAgain
from warehouse.audit.purge import Plan, plan_purge, purge, resume
from warehouse.audit.purge_ground import bring_receipts
from warehouse.audit.receipts import read_key, read_receipt, remains
from warehouse.audit.tombstones import Tombstone
from warehouse.audit.withdrawal import Asked
from warehouse.hashing import canonical_json

_SHOWN = 20


@command("emolake purge --speaker iemocap/Ses01F --delete")
def purge_(
    speaker: Annotated[
        list[str] | None, typer.Option("--speaker", help="CORPUS/SPEAKER; may be repeated, as the others.")
    ] = None,
    recording: Annotated[
        list[str] | None, typer.Option("--recording", help="SHA-256 of a raw file: all utterances of it.")
    ] = None,
    utterance: Annotated[list[str] | None, typer.Option("--utterance", help="An utterance id.")] = None,
    where: Annotated[
        list[str] | None, typer.Option("--where", help="A condition in SQL on a row of `utterances`.")
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Do it; without this it is only planned.")] = False,
    resume_only: Annotated[
        bool, typer.Option("--resume", help="Only complete what was ended half-way, as every call does first.")
    ] = False,
    check: Annotated[
        str | None, typer.Option("--check", help="A receipt (its id or file): does it hold, and is all of it gone?")
    ] = None,
    lake: Lake = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Remove what was withdrawn from every table, shard, prediction and cache; plan first, then a signed receipt."""
    warehouse, console = warehouse_of(lake), console_for(as_json)
    if check is not None:
        _check(warehouse, check, console, as_json)
        return
    key_file = read_runtime().signing_key
    with show.counting(console, "completing a purge") as progress:
        done = resume(warehouse, lambda: read_key(key_file), progress)
    for receipt in done:
        _print_receipt(warehouse, receipt, console)
    if done:
        _compare(warehouse, console)
    if resume_only:
        if as_json:
            print_json({"receipts": done})
        elif not done:
            console.print("no purge of this lake is unfinished")
        return
    named = Asked(*(tuple(given or ()) for given in (speaker, recording, utterance, where)))
    asked = named.without([Tombstone.from_json(receipt["withdrawn"]) for receipt in done])
    if asked != named and asked == Asked():  # the same command again, after it was killed
        if as_json:
            print_json(done[-1])
        return
    plan = plan_purge(warehouse, asked)
    if not as_json or delete:
        _print_plan(plan, console)
    if not delete:
        if as_json:
            print_json(_plan_json(plan))
        else:
            console.print("\nnothing was changed: `--delete` does it")
        return
    key = read_key(key_file)
    with show.counting(console, "purging") as progress:
        receipt = purge(warehouse, plan, key, progress)
    if as_json:
        print_json(receipt)
    else:
        _print_receipt(warehouse, receipt, console)
    _compare(warehouse, console)


def _compare(warehouse: Warehouse, console: Console) -> None:
    """Has it counted what models met before, for what was counted tells of what is gone. The purge is done, whatever
    comes of that."""
    from flows.audit.contamination import count_ahead  # which a plan does not need

    try:
        why = count_ahead(warehouse, console)
    except (KeyboardInterrupt, RuntimeError) as error:
        if not is_ctrl_c(error):
            raise
        why = "interrupted: the purge is done, and what models learned from was not compared with what judges them"
    if why:
        console.print(f"\n{why}", soft_wrap=True)


def _check(warehouse: Warehouse, name: str, console: Console, as_json: bool) -> None:
    """Exits 1 where something is still there."""
    path = Path(name) if Path(name).exists() else bring_receipts(warehouse) / f"{Path(name).stem}.json"
    receipt = read_receipt(path)
    with show.counting(console, "looking for what is withdrawn") as progress:
        found = remains(warehouse, Tombstone.from_json(receipt["withdrawn"]), progress)
    own = read_key_of(read_runtime().signing_key)
    signer = "the key of this machine" if own == receipt["public_key"] else f"the key {receipt['public_key']}"
    if as_json:
        print_json({"purge": receipt["purge"], "signed_by": receipt["public_key"], "is_own_key": own is not None and
                    own == receipt["public_key"], "found": found})  # fmt: skip
    else:
        console.print(f"purge {receipt['purge']} of {receipt['done_at']}: the signature holds, by {signer}")
        console.print(receipt["proof"]["query"].format(column="utterance_id"), soft_wrap=True)
        console.print(f"found: {len(found)}")
    if found:
        raise FoundAgain(receipt["purge"], found)


def read_key_of(path: Path) -> str | None:
    """The public half of the key in a file, as hexadecimal digits; None where there is no such file."""
    return read_key(path).public_key().public_bytes_raw().hex() if path.exists() else None


def _plan_json(plan: Plan) -> dict[str, Any]:
    held = plan.withdrawal
    return {
        "purge": plan.id,
        "what": {
            "utterances": sorted(held.utterances), "corpora": sorted(held.corpora), "hours": held.hours,
            "recordings": len(held.recordings), "texts": len(held.texts),
        },
        "rows": plan.rows(),
        "artifacts": _rows(plan),
        "tainted": [vars(one) for one in plan.taints],
        "raw_files": plan.files,
        "shared_raw_files": plan.shared,
        "same_sound_stays": list(held.echoes),
        "outside": list(plan.outside),
    }  # fmt: skip


def _rows(plan: Plan) -> list[dict[str, Any]]:
    return [
        {
            "kind": change.artifact.request.kind, "key": change.artifact.key, "step": change.artifact.request.step,
            "becomes": change.how, "rows": sum(change.gone.values()), "left": change.n_left, "why": change.why,
        }
        for change in plan.changes
    ]  # fmt: skip


def _print_plan(plan: Plan, console: Console) -> None:
    held = plan.withdrawal
    corpora = ", ".join(sorted(held.corpora))
    console.print(
        f"purge {plan.id}: {len(held.utterances)} utterances of {corpora}, {held.hours * 60:.1f} minutes; "
        f"{len(held.recordings)} recordings and {len(held.texts)} texts that nobody else has"
    )
    rows = [{"table": name, "rows that go": n} for name, n in plan.rows().items()]
    print_rows_on(console, rows, ["table", "rows that go"])
    counted: dict[tuple[str, str], int] = {}
    for row in _rows(plan):
        counted[row["kind"], row["becomes"]] = counted.get((row["kind"], row["becomes"]), 0) + 1
    becoming = [{"artifacts": n, "kind": kind, "become": how} for (kind, how), n in sorted(counted.items())]
    print_rows_on(console, becoming, ["artifacts", "kind", "become"])
    if plan.taints:
        console.print("\ntainted, for a purge cannot un-train a model:")
        alike: dict[tuple[str, str, str], list[str]] = {}
        for one in plan.taints:
            alike.setdefault((one.step, one.why, one.retrain), []).append(one.key[:12])
        for (step, why, retrain), keys in alike.items():
            console.print(f"  {step} {', '.join(keys)}: {why}; {retrain}", soft_wrap=True)
    if plan.files:
        console.print(f"\nremove these {len(plan.files)} raw files yourself, for Emolake writes to none:")
        _print_some(plan.files, console)
    if plan.shared:
        console.print(f"{plan.shared} raw files hold something that goes beside something that stays")
    if held.echoes:
        console.print("\nthe very same sound stays, for these have it too (name them as well, or it is kept):")
        _print_some(held.echoes, console)
    console.print("\nwhat no purge reaches:")
    _print_some(plan.outside, console)


def print_rows_on(console: Console, rows: list[dict[str, Any]], columns: list[str]) -> None:
    """A table of rows, where there are any."""
    if rows:
        console.print()
        console.print(show.rows_table(rows, columns))


def _print_some(lines: Any, console: Console) -> None:
    for line in list(lines)[:_SHOWN]:
        console.print(f"  {line}", soft_wrap=True)
    if len(lines) > _SHOWN:
        console.print(f"  … and {len(lines) - _SHOWN} more (all with --json)")


def _print_receipt(warehouse: Warehouse, receipt: dict[str, Any], console: Console) -> None:
    n_rows, n_artifacts = sum(receipt["rows"].values()), len(receipt["artifacts"])
    console.print(
        f"\npurged: {n_rows} rows, {n_artifacts} artifacts; {len(receipt['tainted'])} models are tainted. "
        f"Looked for in every file: found {receipt['proof']['found']}"
    )
    folder, content = bring_receipts(warehouse), canonical_json(receipt)
    own = folder.glob(f"{receipt['purge']}*.json")  # an earlier one may stand beside it
    path = next((path for path in own if path.read_bytes() == content), folder / f"{receipt['purge']}.json")
    console.print(f"receipt: {path}", soft_wrap=True)
