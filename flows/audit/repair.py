"""Making damaged artifacts again from what is sound, or saying what cannot be.

1. What is damaged is moved aside to `LAKE/.damaged`, and what lies in the wrong place is put back
   (`warehouse.audit.aside`); on a store what this host's copy has is put again (`warehouse.audit.aside_on_store`).
2. The recipes that the lake remembers (`flows.audit.remembered`) are gone through again, over corpora as the lake has
   them. Only what is missing because of the damage is made, with the code and libraries that are here now: nothing new
   is ingested because a raw file changed, and nothing is fitted again because an extractor has another version.
3. What came out with the bytes that it had is repaired, and the damaged copy goes. What did not, or with other bytes,
   stays aside and is named, with the reason and with all that rests on it.

What is aside is the memory of it: a repair that was killed, or for which raw files were not mounted, goes on when it is
called again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from features.canary import verdict_of
from flows.audit.remembered import Remembered, known_products, remembered
from flows.doer import Unmade, Waits
from flows.line import Line
from flows.plan import Planner
from flows.recipe import read_recipe, recipe_path
from flows.run import Setup, roots_of
from flows.show import Silent, Watcher
from flows.workers import workers
from infra.launch import JobError
from warehouse import Warehouse
from warehouse.artifact import Artifact, Request, Work, content_digest
from warehouse.audit.aside import (
    ASIDE,
    Damaged,
    Fate,
    damaged_in,
    lost_in,
    names_aside,
    put_back,
    remove,
    set_aside,
    tidy,
)  # fmt: skip
from warehouse.audit.aside_on_store import mend_store
from warehouse.audit.lineage import closure_down
from warehouse.audit.rewriting import PURGED
from warehouse.audit.tombstones import refuse_unfinished
from warehouse.audit.verify import Fault, verify
from warehouse.compaction import Merge, merge
from warehouse.errors import EmolakeError
from warehouse.hashing import canonical_json, file_digest, short_digest
from warehouse.marker import renew_id
from warehouse.merged import entries

Answer = Callable[[Sequence[Work], Any], Iterable[tuple[str, str]]]
"""Makes works, telling a bar of `flows.show` how far they are; gives the key of each that was not made, and why."""

_JOBS = ("checkpoint", "predictions", "explanations")


@dataclass
class _Reasons:
    """Why things were not made: by the key of their request, by the corpus they are of, and in general."""

    of_key: dict[str, str] = field(default_factory=dict)
    of_corpus: dict[str, str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)


Counting = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
"""Shows how many of how many there are of something (`flows.show.counting`)."""


def repair(
    setup: Setup, faults: Sequence[Fault], answer: Answer, named: Sequence[str] = (), watcher: Watcher | None = None,
    counting: Counting = lambda what: nullcontext(lambda done, total: None),
) -> list[Fate]:  # fmt: skip
    """Repairs a lake as far as that can be done; see above.

    Args:
        setup: the lake, and where raw files and checkpoints are.
        faults: what `verify` has found in it, looking deep.
        answer: see `with_workers`.
        named: recipes that the lake does not remember because they have no report, or whose protocols are in files.

    Raises:
        UnknownName, MissingFolder, …: a recipe that is named cannot be read; nothing was touched.
        UnfinishedPurge. StoreAtWork, BeingTaken, StoreFails: on a store.
    """
    refuse_unfinished(setup.lake)
    for name in named:
        read_recipe(recipe_path(name))
    warehouse = Warehouse(setup.lake)
    if warehouse.store is not None:
        with counting("looking at this host's copy") as progress:
            fates = mend_store(warehouse, warehouse.store, faults, progress)
    else:
        if faults:
            renew_id(setup.lake)
        fates = list(put_back(warehouse, faults))
        for fault in verify(warehouse) if fates else faults:
            fates += set_aside(warehouse, fault)
    warehouse = Warehouse(setup.lake)  # which remembers nothing of before
    damaged = list(damaged_in(warehouse))
    names = names_aside(warehouse)
    lost = lost_in(warehouse, damaged)
    reasons = _Reasons()
    if damaged or lost or names:
        with warehouse.scratch("repair", is_announced=True):
            for one in damaged:
                _first_canary(warehouse, one)
            reports = [one.artifact for one in damaged if one.artifact and one.kind == "report"]
            mender = _Mender(warehouse, _wants(damaged, lost), answer, reasons, watcher or Silent())
            _make_again(warehouse, setup, remembered(warehouse, named, reports), mender)
            _merge_again(warehouse, damaged, reasons)
            _do_jobs(damaged, mender)
    return [*fates, *_settled(Warehouse(setup.lake), damaged, lost, names, reasons)]


@contextmanager
def with_workers(lake: Path, n_workers: int, device: str) -> Iterator[Answer]:
    """Makes works in processes, several at once, as a run does (`flows.workers`). One that fails stops no other."""
    with workers(lake, n_workers, device) as pool, ThreadPoolExecutor(n_workers) as threads:

        def answer(works: Sequence[Work], bar: Any) -> Iterator[tuple[str, str]]:
            batches = pool.batches(works)
            futures = [threads.submit(pool.answer, batch, bar.noter(batch)) for batch in batches]
            for batch, future in zip(batches, futures, strict=True):
                try:
                    yield from ((one.key, one.why) for one in future.result() if isinstance(one, Unmade))
                except (EmolakeError, JobError) as error:
                    yield from ((work.request.key, str(error)) for work in batch)

        yield answer


# -- again -----------------------------------------------------------------------------------------------------------


def _wants(damaged: Sequence[Damaged], lost: set[str]) -> Callable[[Request], bool]:
    """Whether a missing request may be missing because of the damage.

    What is damaged is known by its key. Rows are found by who made them, and what was lost with its folder is known by
    nothing: then all that is missing may be it. A canary is asked before rows of its extractor are.
    """
    keys = {one.key for one in damaged}
    requests = [one.artifact.request for one in damaged if one.artifact]
    makers = {_maker(request) for request in requests if "plugin" in request.params}
    return lambda request: (
        bool(lost) or request.key in keys or request.kind == "canary"
        or ("plugin" in request.params and _maker(request) in makers)
    )  # fmt: skip


def _maker(request: Request) -> tuple[str, str]:
    """Whose rows are asked for: the same of what was merged as of what it was merged from."""
    return request.kind, short_digest(request.params["plugin"])


class _Mender(Planner):
    """The doer that makes what is missing because of the damage, and plans the rest."""

    def __init__(
        self, warehouse: Warehouse, wants: Callable[[Request], bool], answer: Answer, reasons: _Reasons,
        watcher: Watcher,
    ) -> None:  # fmt: skip
        super().__init__(warehouse, remember=self._remember_lost)
        self.wants, self.answer, self.reasons, self.watcher = wants, answer, reasons, watcher

    def step(self, name: str, works: Sequence[Work], n_rows: int | None = None) -> list[Artifact]:
        missing = {work.request.key: work for work in works if self.warehouse.find(work.request) is None}
        wanted = [work for work in missing.values() if self.wants(work.request)]
        if wanted:
            with self.watcher.step(name, sum(work.n_rows for work in wanted)) as bar:
                self.reasons.of_key |= dict(self.answer(wanted, bar))
        if len(missing) > len(wanted):
            new = "would be made anew, which is no repair: a run of its recipe does that"
            self.reasons.others.append(f"{len(missing) - len(wanted)} works of step '{name}', on which it rests, {new}")
        return super().step(name, works, n_rows)

    def _remember_lost(self, ref: str, value: Mapping[str, Any]) -> None:
        """A name that points somewhere stays."""
        if self.warehouse.ref(ref) is None:
            self.warehouse.set_ref(ref, value)


def _make_again(warehouse: Warehouse, setup: Setup, recipes: Sequence[Remembered], mender: _Mender) -> None:
    """Goes through every product of each recipe; one that cannot be made keeps none of the others back."""
    reasons = mender.reasons
    for one in recipes:
        if one.recipe is None:
            reasons.others.append(one.problem)
            continue
        try:
            roots = roots_of(one.recipe, warehouse, setup.roots, setup.weights)
        except EmolakeError as error:
            reasons.others.append(str(error))
            continue
        known = known_products(warehouse, one.recipe, one.report, roots)
        line = Line(one.recipe, warehouse, roots, mender, setup.device, known)
        products: list[tuple[Callable[..., Any], tuple[str, ...]]] = [
            *((line.corpus, (name,)) for name in one.recipe.corpora),
            *((line.alignment, (name,)) for name in one.recipe.align),
            *((line.feature, (name,)) for name in one.recipe.features),
            *((line.corpus, (name,)) for name in one.recipe.retold),
            *((line.model, (name,)) for name in one.recipe.models),
            *([(line.report, ())] if one.recipe.report else []),
        ]
        for product, arguments in products:
            try:
                product(*arguments)
            except Waits:
                continue
            except (EmolakeError, OSError) as error:
                reasons.others.append(str(error))
                if product == line.corpus:
                    reasons.of_corpus[arguments[0]] = str(error)


def _merge_again(warehouse: Warehouse, damaged: Sequence[Damaged], reasons: _Reasons) -> None:
    """Merges what was made again of damaged merged artifacts, if it came out with the bytes that it had then."""
    for one in damaged:
        told = entries(one.artifact) if one.artifact else ()
        if one.artifact is None or not told:
            continue
        digests = {piece["key"]: piece["digest"] for piece in told}
        there = [a for a in warehouse.artifacts(one.kind) if digests.get(a.key) == a.digest]
        if len(there) == len(told):
            merge(warehouse, Merge(one.artifact.request, sorted(there, key=lambda a: a.key)))
        else:
            short = f"of the {len(told)} artifacts that it was merged from {len(there)} were made again"
            reasons.of_key.setdefault(one.key, f"{short}, with the bytes they had")


def _do_jobs(damaged: Sequence[Damaged], mender: _Mender) -> None:
    """Jobs need no recipe, only their request: they can be done again though what comes before their inputs cannot."""
    with suppress(Waits):
        for kind in _JOBS:
            digests = {artifact.digest for artifact in mender.warehouse.artifacts()}
            requests = [one.artifact.request for one in damaged if one.artifact and one.kind == kind]
            able = [one for one in requests if digests.issuperset(chain.from_iterable(one.inputs.values()))]
            mender.step(f"{kind} again", [Work(request) for request in able])


def _first_canary(warehouse: Warehouse, damaged: Damaged) -> None:
    """The first canary's numbers again, from the canary that they were the numbers of. No run makes them: to run an
    extractor now would be another first."""
    for canary in warehouse.artifacts("canary") if damaged.kind == "first_canary" else ():
        plugin = {"plugin": canary.request.params["plugin"]}
        request = replace(canary.request, kind="first_canary", params=plugin)
        if request.key != damaged.key or verdict_of(canary).reference:
            continue
        with warehouse.scratch("first canary") as scratch:
            for name in ("numbers.parquet", "verdict.json"):
                shutil.copyfile(canary.path(name), scratch / name)
            (scratch / "environment.json").write_bytes(canonical_json(canary.request.params["environment"]))
            files = {p.name: {"sha256": file_digest(p), "n_bytes": p.stat().st_size} for p in scratch.iterdir()}
            if damaged.digests and content_digest(files) not in damaged.digests:
                continue
            warehouse.materialize(request, partial(_copy, scratch))


def _copy(source: Path, folder: Path) -> None:
    shutil.copytree(source, folder, dirs_exist_ok=True)


# -- what came of it -------------------------------------------------------------------------------------------------


def _settled(
    warehouse: Warehouse, damaged: Sequence[Damaged], lost: set[str], names: Sequence[Path], reasons: _Reasons
) -> Iterator[Fate]:
    artifacts = warehouse.artifacts()
    cited = {digest for a in artifacts for digests in a.request.inputs.values() for digest in digests}
    by_key, by_digest = {(a.request.kind, a.key): a for a in artifacts}, {a.digest: a for a in artifacts}
    in_merged = {piece["digest"]: a for a in artifacts for piece in entries(a)}
    aside = [one.artifact for one in damaged if one.artifact]
    for one in damaged:
        now = by_key.get((one.kind, one.key))
        twin = next((by_digest[digest] for digest in sorted(one.digests) if digest in by_digest), None)
        if now and (not one.digests or now.digest in one.digests | cited):
            told = "made again, with the bytes it had" if one.digests else "made again"
        elif twin:
            told = f"its bytes are in the lake, as {twin.key[:12]}"
        elif holder := next((in_merged[digest] for digest in sorted(one.digests) if digest in in_merged), None):
            told = f"its rows lie in {holder.key[:12]}"
        else:
            as_it_was = {(a.request.kind, a.key): a for a in (*artifacts, *aside) if a is not now}
            taints = sorted(closure_down(list(as_it_was.values()), [one.key]) - {one.key})
            why = _other_bytes(one, now) if now else _why_not(one, reasons)
            yield Fate(one.key, one.kind, "not repaired", f"{why}; it lies in {ASIDE}", taints)
            continue
        remove(warehouse, one.folder)
        yield Fate(one.key, one.kind, "repaired", told)
    for name in sorted(lost & (by_digest.keys() | {a.key for a in artifacts})):
        yield Fate(name, "", "repaired", "what was cited and nowhere is in the lake again")
    for ref in names:
        name = ref.with_suffix("").as_posix()
        if (warehouse.root / ref).exists():
            remove(warehouse, warehouse.root / ASIDE / ref)
            yield Fate(name, "", "repaired", "written again")
        else:
            yield Fate(name, "", "not repaired", f"no recipe wrote it again; it lies in {ASIDE}")
    tidy(warehouse)


def _other_bytes(damaged: Damaged, now: Artifact) -> str:
    """That an artifact came out otherwise, with the libraries that are others now."""
    there = damaged.artifact.environment.get("packages", {}) if damaged.artifact else {}
    here = now.environment.get("packages", {})
    names = sorted(name for name in there.keys() & here if there[name] != here[name])
    moved = [f"{name} {there[name]} → {here[name]}" for name in names]
    return f"made again, but with other bytes ({', '.join(moved) or 'in an environment of the same libraries'})"


def _why_not(damaged: Damaged, reasons: _Reasons) -> str:
    request = damaged.artifact.request if damaged.artifact else None
    corpus = request.params.get("corpus") if request else None
    others = list(dict.fromkeys(reasons.others))
    if damaged.key in reasons.of_key:
        return reasons.of_key[damaged.key]
    if request and PURGED in request.params:
        return "a purge rewrote it and no step asks for this request: a run makes again what is missing of it"
    if corpus in reasons.of_corpus:
        return reasons.of_corpus[corpus]
    if others:
        return others[0]
    return "no recipe that the lake remembers asks for it (`--recipe` names one; `emolake gc` lists what none reaches)"
