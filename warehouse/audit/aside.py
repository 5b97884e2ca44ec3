"""What is damaged moved aside, where nobody finds it, and what lies in the wrong place put back.

LAKE/.damaged/<kind>/<key>/           artifacts that `warehouse.audit.verify` found fault with
LAKE/.damaged/extra/<kind>/<key>/     what was in the folder of an artifact, or beside it, and should not be
LAKE/.damaged/refs/<group>/           names that cannot be read and that a recipe's line writes again

Each is one rename. What is aside is all that a repair remembers (`flows.audit.repair`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from warehouse.artifact import MANIFEST, Artifact, Request, content_digest, read_artifact
from warehouse.audit.tombstones import purged_digests
from warehouse.audit.verify import Fault, unlisted
from warehouse.errors import EmolakeError
from warehouse.merged import entries
from warehouse.refs import DIGESTS, read_ref
from warehouse.store import Warehouse

ASIDE = ".damaged"
EXTRA, REFS = "extra", "refs"
"""Folders of it that hold no artifact."""
REMEMBERED = ("aligners", "features", "reports", "weights")
"""Groups of names that a recipe's line writes again."""

Outcome = Literal["repaired", "moved aside", "not repaired"]


@dataclass(frozen=True)
class Fate:
    """What became of something damaged; of what is not repaired, `taints` are the keys of all that was made from it."""

    key: str
    kind: str
    outcome: Outcome
    told: str
    taints: Sequence[str] = ()


@dataclass(frozen=True)
class Damaged:
    """An artifact that was moved aside. `digests` are those its manifest may mean; none where it cannot be read."""

    kind: str
    key: str
    folder: Path
    artifact: Artifact | None
    digests: frozenset[str]


def put_back(warehouse: Warehouse, faults: Sequence[Fault]) -> Iterator[Fate]:
    """Artifacts that lie elsewhere go where their requests say, if nothing is there. Nobody has hashed them yet."""
    for fault in faults:
        folder = warehouse.root / fault.folder
        if fault.what != "place":
            continue
        request = Request.from_json(json.loads((folder / MANIFEST).read_bytes())["request"])
        there = warehouse.folder_of(request)
        if not there.exists():
            there.parent.mkdir(parents=True, exist_ok=True)
            os.rename(folder, there)
            with suppress(OSError):  # the folder of a kind that there is no other of
                folder.parent.rmdir()
            yield Fate(request.key, request.kind, "repaired", f"put back from {fault.folder}")


def set_aside(warehouse: Warehouse, fault: Fault) -> Iterator[Fate]:
    """Moves what a fault is about; nothing where it is only that something else is missing."""
    folder, aside = warehouse.root / fault.folder, warehouse.root / ASIDE
    if fault.what in ("bytes", "manifest", "remains", "place"):
        _move(warehouse, folder, aside / folder.parent.name / folder.name)
    elif fault.what == "extra":
        within = Path(fault.folder).relative_to("artifacts")
        names = unlisted(read_artifact(folder)) if (folder / MANIFEST).is_file() else [""]
        for name in names:  # of a folder before what is in it, which goes with it
            if _move(warehouse, folder / name, aside / EXTRA / within / name):
                told = f"'{within / name}' is now below {ASIDE}/{EXTRA}"
                yield Fate(fault.key, within.parts[0], "moved aside", told)
    elif fault.what == "name" and fault.key.startswith(tuple(f"refs/{group}/" for group in REMEMBERED)):
        path = warehouse.root / f"{fault.key}.json"
        try:
            read_ref(path)
        except EmolakeError:
            _move(warehouse, path, aside / Path(fault.key).with_name(path.name))


def _move(warehouse: Warehouse, path: Path, aside: Path) -> bool:
    """One rename; what an earlier repair put there goes. False where there is nothing to move."""
    if not os.path.lexists(path):
        return False
    if os.path.lexists(aside):
        remove(warehouse, aside)
    aside.parent.mkdir(parents=True, exist_ok=True)
    os.rename(path, aside)
    return True


def remove(warehouse: Warehouse, path: Path) -> None:
    """Takes something away at once, however much it is."""
    with warehouse.scratch("removal") as scratch:
        os.rename(path, scratch / path.name)


def names_aside(warehouse: Warehouse) -> list[Path]:
    """The names that lie aside, as paths relative to the lake's own."""
    return [path.relative_to(warehouse.root / ASIDE) for path in sorted((warehouse.root / ASIDE / REFS).glob("*/*"))]


def tidy(warehouse: Warehouse) -> None:
    """Takes away the folders that hold nothing aside any more."""
    aside = warehouse.root / ASIDE
    for folder in [*aside.glob(f"{REFS}/*"), *aside.glob("*"), aside]:
        with suppress(OSError):  # those that are not empty stay
            folder.rmdir()


def damaged_in(warehouse: Warehouse) -> Iterator[Damaged]:
    """All that lies aside, of this repair and of earlier ones."""
    for folder in sorted((warehouse.root / ASIDE).glob("*/*")):
        kind, key = folder.parent.name, folder.name
        if kind in (EXTRA, REFS):
            continue
        artifact, digests = None, frozenset[str]()
        with suppress(EmolakeError):
            artifact = read_artifact(folder)
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, EmolakeError):
            value = json.loads((folder / MANIFEST).read_bytes())
            digests = frozenset({str(value["digest"]), content_digest(value["files"])})
        yield Damaged(kind, key, folder, artifact, digests)


def lost_in(warehouse: Warehouse, damaged: Sequence[Damaged]) -> set[str]:
    """What is cited and not in the lake, and does not lie aside either: digests, and the keys of reports."""
    artifacts = warehouse.artifacts()
    cited = {digest for a in artifacts for digests in a.request.inputs.values() for digest in digests}
    for group in ("corpora", "weights", "reports"):
        for path in (warehouse.root / "refs" / group).glob("*.json"):
            with suppress(EmolakeError):
                ref = read_ref(path)
                cited |= {d for role in DIGESTS for d in ref.get(role, ())}
                cited |= {ref[name] for name in ("digest", "artifact", "metrics") if name in ref}
    there = {name for a in artifacts for name in (a.digest, a.key)}
    aside = {name for one in damaged for name in (*one.digests, one.key)}
    merged = [*artifacts, *(one.artifact for one in damaged if one.artifact)]
    there |= {piece["digest"] for a in merged for piece in entries(a)}
    missing = cited - there - aside - purged_digests(warehouse.root)
    return missing if len(missing) > sum(not one.digests for one in damaged) else set()
