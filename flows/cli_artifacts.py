"""`emolake ls` and `emolake show`: artifacts as they are."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from flows.app import Json, Lake, Reference, command, console_for, print_json, print_rows, warehouse_of
from flows.firewall import selected_on
from models.logs import log_folder
from warehouse.audit.tombstones import taint_of


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
