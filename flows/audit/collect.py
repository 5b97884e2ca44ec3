"""What no recipe, report, name or bundle reaches: found, and taken away.

Beyond what names reach (`warehouse.audit.reach`) stays what the plan of a recipe would find: of each recipe that has a
report in the lake, and of those that are named. What recipes without a report made, or what made a report before the
last one, is reached by nothing unless it is named. Artifacts that are younger than a limit stay with all they rest on,
so that runs in progress lose nothing; and nothing is taken away while something is being made.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flows.audit.remembered import Remembered, known_products, remembered
from flows.doer import Waits
from flows.line import Alignment, Feature, Line
from flows.plan import Planner
from flows.run import Setup, roots_of
from flows.run_events import RUNS
from models import logs, resume
from warehouse import Warehouse
from warehouse.artifact import Artifact, Work
from warehouse.audit.aside import damaged_in
from warehouse.audit.at_work import IDLE, abandoned, put_away, refuse_work, stats, touched
from warehouse.audit.errors import ReachUnknown
from warehouse.audit.lineage import closure_up
from warehouse.audit.reach import reached
from warehouse.audit.tombstones import refuse_unfinished
from warehouse.audit.untouched import quick_faults
from warehouse.audit.verify import is_as_made
from warehouse.errors import EmolakeError
from warehouse.hashing import file_digest, short_digest
from warehouse.marker import renew_id
from warehouse.merged import superseding
from warehouse.remote import Store
from warehouse.stored_states import forget_done
from warehouse.stored_states import touched as stored_times
from warehouse.taking import finish, strays, sweep, sweep_staged, take

HOURS = 24.0
"""How old an artifact must be to go."""

_SCRATCH, _STATES = ".scratch", resume.FOLDER


@dataclass(frozen=True)
class Garbage:
    """What nothing reaches.

    Args:
        artifacts: newest first.
        leftovers: folders of work that nobody will go on with.
        seen: keys of all artifacts that were there when it was found.
        remarks: why it is not known for certain: recipes that could not be planned, damage.
        read: key of each of those that go and were merged -> the merged ones that are read in its place, and must be
            sound for that.
    """

    artifacts: Sequence[Artifact]
    leftovers: Sequence[Path]
    seen: frozenset[str]
    remarks: Sequence[str] = ()
    read: Mapping[str, Sequence[Artifact]] = field(default_factory=dict)

    @property
    def n_bytes(self) -> int:
        return sum(a.n_bytes for a in self.artifacts) + sum(_n_bytes(path) for path in self.leftovers)


@dataclass
class _Asked:
    """What plans of recipes ask for: keys of what they find and of what they lack, makers of rows that they lack."""

    found: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    makers: set[str] = field(default_factory=set)
    remarks: list[str] = field(default_factory=list)


def garbage(
    setup: Setup, keep: Sequence[str] = (), named: Sequence[str] = (), hours: float = HOURS,
    now: datetime | None = None,
) -> Garbage:  # fmt: skip
    """What can go.

    Args:
        setup: the lake, and where raw files and checkpoints are; they need not be there.
        keep: artifacts (keys, digests, names) that stay with all they rest on.
        named: recipes whose plans are kept too, by name or path.
        hours: nothing younger goes.

    Raises:
        UnreadableRef, UnreadableManifest: the lake is damaged, so what is reached cannot be known.
        ArtifactNotFound, AmbiguousReference: of `keep`. UnknownName, …: of `named`. UnfinishedPurge.
        BeingTaken, StoreAtWork: another host takes something away from the store.
    """
    refuse_unfinished(setup.lake)
    warehouse = Warehouse(setup.lake)
    if warehouse.store is not None:
        finish(warehouse.store)  # what an earlier one began to take away is no more to be asked for
    artifacts = warehouse.artifacts()
    since = (now or datetime.now(UTC)) - timedelta(hours=hours)
    asked = _Asked()
    for one in remembered(warehouse, named):
        _ask(warehouse, one, setup, asked)
    asked.remarks += _unsound(warehouse)
    young = {a.key for a in artifacts if _made_at(a) > since}
    merged = superseding(artifacts)
    young |= {key for key, found in merged.items() if not young.isdisjoint(a.key for a in found)}
    kept = {warehouse.resolve(reference).key for reference in keep}
    stays = reached(warehouse, artifacts, young | kept | asked.found, asked.makers)
    goes = [a for a in artifacts if a.key not in stays]
    seen = frozenset(a.key for a in artifacts)
    read = {a.key: [one for one in merged[a.key] if one.key in stays] for a in goes if a.key in merged}
    return Garbage(
        goes[::-1],
        list(_leftovers(warehouse, stays, seen, asked.missing, since)),
        seen,
        list(dict.fromkeys(asked.remarks)),
        read,
    )


def collect(
    warehouse: Warehouse, found: Garbage, progress: Callable[[int, int], None] = lambda done, total: None,
    told: Callable[[str], None] = lambda line: None,
) -> int:  # fmt: skip
    """Takes garbage away, and returns how many artifacts went.

    Small ones that were merged go only while every byte of what holds their rows now is as it was made. Each goes by
    one rename, dependents first, so that nothing is seen half there and a kill leaves a sound lake. What somebody has
    cited meanwhile is put back.

    On a store manifests go first, then files; see `warehouse.taking`.

    Args:
        told: given a sentence about each merged one that is damaged, or gone, and what is kept for that.

    Raises:
        ReachUnknown: what is wanted is not known for certain. LakeAtWork: something is being made in the lake.
        StoreAtWork, BeingTaken, StoreFails: on a store.
    """
    for remark in found.remarks:
        raise ReachUnknown(warehouse.root, remark)
    if warehouse.store is not None:
        return _collect_on_store(warehouse, warehouse.store, found, progress, told)
    with warehouse.scratch("gc") as scratch:
        put_away(scratch, [path for path in found.leftovers if path.parent.name == _SCRATCH])  # which nobody works in
        refuse_work(warehouse.root)
        goes = _going(warehouse, found, scratch, told)
        if goes:
            renew_id(warehouse.root)
        aside = {}
        for artifact in goes:
            place = scratch / artifact.key
            with suppress(FileNotFoundError):  # another gc was faster
                os.rename(artifact.folder, place)
                aside[artifact.key] = artifact
        back: Set[str] = set(aside)  # unless it can be told what is cited
        try:
            back = _cited_meanwhile(warehouse, found, list(aside.values())) & aside.keys()
        finally:
            for key in back:
                os.rename(scratch / key, aside.pop(key).folder)
        for number, key in enumerate(aside, start=1):
            shutil.rmtree(scratch / key)
            progress(number, len(aside))
        put_away(scratch, found.leftovers)
    for kind in (warehouse.root / "artifacts").glob("*"):
        with suppress(OSError):  # those that are not empty stay
            kind.rmdir()
    return len(aside)


def _collect_on_store(
    warehouse: Warehouse, store: Store, found: Garbage, progress: Callable[[int, int], None],
    told: Callable[[str], None],
) -> int:  # fmt: skip
    def choose() -> dict[str, list[str]]:
        goes = _going(warehouse, found, scratch, told)
        cited = _cited_meanwhile(warehouse, found, goes)
        sweep(store, strays(store))
        sweep_staged(store)
        forget_done(store.objects, found.seen | {path.name for path in found.leftovers if path.parent.name == _STATES})
        return {f"{a.request.kind}/{a.key}": sorted(a.files) for a in goes if a.key not in cited}

    with warehouse.scratch("gc", is_announced=True) as scratch:
        put_away(scratch, abandoned(warehouse.root, datetime.now(UTC) - IDLE))  # whatever age was asked for
        refuse_work(warehouse.root)
        n_gone = take(store, scratch.name, choose, progress)
        put_away(scratch, found.leftovers)
    return n_gone


def _going(warehouse: Warehouse, found: Garbage, scratch: Path, told: Callable[[str], None]) -> list[Artifact]:
    """What goes but for what may be the last copies of rows: those that a merged artifact was made of that is damaged,
    or gone. What these rest on stays by the merged one, which cites the same."""
    merged = {one.key: one for read in found.read.values() for one in read}
    damaged = {
        key for key, a in merged.items()
        if not (is_as_made(a) and all(_is_same(warehouse, a, name, scratch) for name in a.files))
    }  # fmt: skip
    kept = {key for key, read in found.read.items() if any(one.key in damaged for one in read)}
    for key in sorted(damaged):
        n = sum(any(one.key == key for one in read) for read in found.read.values())
        why = f"that merged {merged[key].request.kind}/{key} was made of are kept, for it is damaged"
        told(f"{n} small artifacts {why}: see `emolake verify`")
    return [a for a in found.artifacts if a.key not in kept]


def _is_same(warehouse: Warehouse, a: Artifact, name: str, scratch: Path) -> bool:
    entry, path = a.files[name], a.place(name)
    if warehouse.store is None:
        return path.is_file() and file_digest(path) == entry["sha256"]
    place, beside = path.relative_to(warehouse.root).as_posix(), scratch / "hashed"
    try:
        return warehouse.store.objects.download(place, beside, entry["n_bytes"], entry["sha256"])
    finally:
        beside.unlink(missing_ok=True)


def _cited_meanwhile(warehouse: Warehouse, found: Garbage, goes: Sequence[Artifact]) -> Set[str]:
    """The keys of what artifacts rest on, themselves included, that came since garbage was looked for."""
    new = [a for a in Warehouse(warehouse.root).artifacts() if a.key not in found.seen]
    return closure_up([*goes, *new], [a.key for a in new], whole=True)


# -- what recipes ask for --------------------------------------------------------------------------------------------


class _Listener(Planner):
    """The doer that does nothing and notes what it is asked for."""

    def __init__(self, warehouse: Warehouse, asked: _Asked) -> None:
        super().__init__(warehouse)
        self.asked = asked

    def look_up(self, works: Sequence[Work]) -> list[Artifact | None]:
        there = super().look_up(works)
        for work, found in zip(works, there, strict=True):
            (self.asked.missing if found is None else self.asked.found).add(work.request.key)
            if found is None and "plugin" in work.request.params:
                self.asked.makers.add(short_digest(work.request.params["plugin"]))
        return there


def _ask(warehouse: Warehouse, one: Remembered, setup: Setup, asked: _Asked) -> None:
    """Notes what the plan of a recipe asks for, each of its products by itself."""
    if one.recipe is None:
        asked.remarks.append(one.problem)
        return
    recipe = one.recipe
    try:
        roots = roots_of(recipe, warehouse, setup.roots, setup.weights)
    except EmolakeError as error:
        asked.remarks.append(str(error))
        return
    known = known_products(warehouse, recipe, one.report, roots)
    line = Line(recipe, warehouse, roots, _Listener(warehouse, asked), setup.device, known)
    products: list[tuple[Callable[..., Any], Sequence[str]]] = [
        (line.corpus, [*recipe.corpora, *recipe.retold]), (line.alignment, list(recipe.align)),
        (line.feature, list(recipe.features)), (line.model, list(recipe.models)),
    ]  # fmt: skip
    asking = [lambda p=product, n=name: p(n) for product, names in products for name in names]
    for ask in [*asking, *([line.report] if recipe.report else [])]:
        try:
            made = ask()
        except Waits:
            continue
        except EmolakeError as error:
            asked.remarks.append(f"recipe '{one.name}': {error}")
            continue
        if isinstance(made, (Feature, Alignment)):
            asked.found |= {a.folder.name for a in made.artifacts}  # of rows that were merged, where they lie


def _unsound(warehouse: Warehouse) -> Iterator[str]:
    """Why what is reached only by way of something damaged or lost would pass for garbage."""
    for fault in quick_faults(warehouse)[:1]:
        yield f"the lake is not sound, see `emolake verify`: {fault.key}: {fault.problem}"
    for one in list(damaged_in(warehouse))[:1]:
        yield f"damaged artifacts lie in {one.folder.parent.parent}: repair them or delete them"


# -- what is no artifact ---------------------------------------------------------------------------------------------


def _leftovers(
    warehouse: Warehouse, stays: Set[str], seen: Set[str], missing: Set[str], since: datetime
) -> Iterator[Path]:
    """States of fits that are done, that go now or that no recipe asks for, where they lie in a copy, though they be on
    the store alone; their logs, but none of a run's, of which few are kept; scratch of other hosts that nobody has
    touched since."""
    root, stored = warehouse.root, stored_times(warehouse.store.objects) if warehouse.store else {}
    here = {path.name: touched(path) for path in (root / _STATES).glob("*")}
    for key in sorted(here | stored):
        newest = max(times[key] for times in (here, stored) if key in times)
        if key in seen or (key not in missing and newest < since):
            yield root / _STATES / key
    for path in sorted((root / logs.FOLDER).glob("*")):
        if path.name not in stays | missing and path.name != RUNS and (path.name in seen or touched(path) < since):
            yield path
    yield from abandoned(root, since)


def _made_at(artifact: Artifact) -> datetime:
    try:
        made = datetime.fromisoformat(artifact.created_at)
    except ValueError:
        return datetime.max.replace(tzinfo=UTC)  # nobody knows: it stays
    return made if made.tzinfo else made.replace(tzinfo=UTC)


def _n_bytes(path: Path) -> int:
    return sum(one.st_size for one in stats(path) if not stat.S_ISDIR(one.st_mode))
