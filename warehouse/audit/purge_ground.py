"""What a purge does otherwise in a lake in a folder and in one on a store: how it is alone, where its journal and its
receipt are written, how artifacts and names go.

On a store it works in this host's copy, which is made the same as the store first, and what it writes is put on the
store. Nobody else begins anything there until it is done, whichever host completes it (`warehouse.taking.alone`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from warehouse.artifact import read_artifact
from warehouse.audit.aside import remove
from warehouse.audit.aside_on_store import clean_copy
from warehouse.audit.at_work import IDLE, abandoned, put_away, refuse_work, unserved
from warehouse.audit.forgetting import forget
from warehouse.audit.receipts import FOLDER
from warehouse.audit.withdrawal import Withdrawal
from warehouse.hashing import canonical_json
from warehouse.in_progress import forget_replacements, replace_with, write_atomically
from warehouse.marker import renew_id
from warehouse.objects import at_once
from warehouse.store import Warehouse
from warehouse.stored_states import FOLDER as STATES
from warehouse.taking import alone, bring_names, refuse_moved, strays, sweep, sweep_staged, take_alone

_OUTSIDE = (
    "what was exported, shared or copied out of the lake: models, bundles, reports, cards",
    "backups and snapshots of the disk, and blocks that a file left on it",
    "the raw files, for Emolake writes to none: those named, and what else of a corpus has lines about it",
    "a Prefect server of your own and its database, such as PostgreSQL: they keep states, logs and artifacts of runs",
)
_OUTSIDE_OF_STORE = (
    "earlier versions of objects, this purge's journal among them, where the store keeps any: delete them there",
    "other hosts' copies of the lake, until they open it again: then artifacts, names, caches, states and logs go from "
    "them, but not what their `emolake serve` keeps in .prefect, nor what a repair moved into .damaged",
)

_REMEMBERED = (STATES, ".cache", ".logs", ".prefect", ".scratch")
"""Folders that may be deleted from a store: all but the first are there only where a lake in a folder was put as it
lay."""


def outside(warehouse: Warehouse) -> tuple[str, ...]:
    """What no purge reaches."""
    return (*_OUTSIDE, *(_OUTSIDE_OF_STORE if warehouse.store is not None else ()))


@contextmanager
def held(warehouse: Warehouse, purge_id: str) -> Iterator[Warehouse]:
    """Within it nobody makes anything in a lake: the lake, as it is now.

    Raises:
        LakeAtWork, LakeServed. StoreAtWork, BeingTaken, UnfinishedPurge, StoreFails: on a store.
    """
    now = Warehouse(warehouse.root)  # which has listed nothing yet
    if now.store is None:
        _refuse_others(now)
        yield now
        return
    with now.scratch("purge") as scratch:
        put_away(scratch, abandoned(now.root, datetime.now(UTC) - IDLE))
        _refuse_others(now)
        with alone(now.store, scratch.name, purge_id):
            bring_names(now.store)
            sweep(now.store, strays(now.store))
            sweep_staged(now.store)
            clean_copy(now, now.store)
            yield now


def write(warehouse: Warehouse, name: str, value: Mapping[str, Any]) -> None:
    """Writes a journal or a receipt, within `held`."""
    if warehouse.store is None:
        write_atomically(warehouse.root / name, value)
    else:
        refuse_moved(warehouse.store)  # a journal that no marker tells of would never go
        warehouse.store.objects.put(name, canonical_json(value))


def read(warehouse: Warehouse, name: str) -> dict[str, Any] | None:
    """What was written; None where nothing was."""
    content: bytes | None = None
    if warehouse.store is not None:
        content = warehouse.store.objects.get(name)
    else:
        with suppress(FileNotFoundError):
            content = (warehouse.root / name).read_bytes()
    return None if content is None else dict(json.loads(content))


def unwrite(warehouse: Warehouse, name: str) -> None:
    """Takes away what was written, and what a kill left of its writing."""
    if warehouse.store is None:
        (warehouse.root / name).unlink(missing_ok=True)
        forget_replacements(warehouse.root / name)
    else:
        warehouse.store.objects.remove(name)


def bring_receipts(warehouse: Warehouse) -> Path:
    """The folder of a lake's receipts; in a copy with all that are on the store."""
    folder = warehouse.root / FOLDER
    if warehouse.store is not None:
        for name in warehouse.store.objects.names(FOLDER):  # one may have been written again
            replace_with(folder / name, warehouse.store.objects.present(f"{FOLDER}/{name}"))
    return folder


def take_away(warehouse: Warehouse, places: Collection[str]) -> Iterator[str]:
    """Takes artifacts away, those of <kind>/<key> that are there, and yields after each step."""
    folders = {place: warehouse.root / "artifacts" / place for place in places}
    if warehouse.store is None:
        for place, folder in folders.items():
            if folder.exists():
                remove(warehouse, folder)
            yield place
    else:
        there = [(place, folder) for place, folder in folders.items() if warehouse.store.bring_manifest(folder)]
        take_alone(warehouse.store, {place: sorted(read_artifact(folder).files) for place, folder in there})
        yield from folders


def drop_name(warehouse: Warehouse, name: str) -> None:
    """Takes a name away."""
    if warehouse.store is not None:
        warehouse.store.objects.remove(f"refs/{name}.json")
    (warehouse.root / "refs" / f"{name}.json").unlink(missing_ok=True)


def renew(warehouse: Warehouse) -> None:
    """Has copies of what the lake was know that they are old; one on a store has its new id when all is done."""
    if warehouse.store is None:
        renew_id(warehouse.root)


def forget_all(warehouse: Warehouse, withdrawal: Withdrawal, tainted: Sequence[str]) -> None:
    """`forget`, and what a store remembers beside artifacts.

    Raises:
        LakeServed.
    """
    if warehouse.store is not None:
        objects = warehouse.store.objects
        names = [f"{folder}/{path}" for folder in _REMEMBERED for path in objects.sizes(folder)]
        at_once(objects.remove, [*names, *(name for name in objects.names("") if name.endswith(".duckdb"))])
    forget(warehouse.root, withdrawal, tainted)


def _refuse_others(warehouse: Warehouse) -> None:
    refuse_work(warehouse.root)
    with unserved(warehouse.root):
        pass
