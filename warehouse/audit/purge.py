"""A person withdraws, or a licence ends: everything of it leaves the lake, and stays out.

`plan_purge` says what would happen, `purge` does it, in steps of which each may be done twice:

1. `.purge/<id>.json` says what goes, in clear. From here on the lake is unfinished, and nothing else is made in it. Of
   one on a store it lies there, and any host completes it (`warehouse.audit.purge_ground`).
2. The tombstone is set, so that no ingest brings it back (`warehouse.audit.tombstones`).
3. In the order in which they were made, artifacts are written again without it (`warehouse.audit.rewriting`), beside
   the old ones; then the journal has the digest and key of each before and after. Killed before that, all old ones
   still stand, and step 3 begins again and finds what it has made.
4. Tainted models are marked, names are pointed anew, what digests were and became is kept in `refs/purged`.
5. The old artifacts go, then what is remembered beside artifacts: caches, states and logs.
6. What is withdrawn is looked for in every file. Only if it is nowhere, the receipt is signed and the journal goes.

The id of a purge is that of its tombstone, hence of what is withdrawn: killed anywhere and completed it leaves the same
keys and digests. Raw trees, exported models, bundles and backups are not touched: the plan names what it knows of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.artifact import Artifact
from warehouse.audit import receipts
from warehouse.audit.aside import ASIDE
from warehouse.audit.errors import DamagedBefore, NothingNamed, StillThere
from warehouse.audit.holders import one_connection
from warehouse.audit.purge_ground import (
    drop_name,
    forget_all,
    held,
    outside,
    read,
    renew,
    take_away,
    unwrite,
    write,
)
from warehouse.audit.rewriting import Change, change_of, is_reading, renewed, rows_going, write_rest
from warehouse.audit.taints import Taint, taint, taints_of
from warehouse.audit.tombstones import JOURNALS, PURGED, TOMBSTONES, successors, unfinished
from warehouse.audit.withdrawal import Asked, Withdrawal, withdrawal_of
from warehouse.merged import live, pieces_lost, superseding
from warehouse.refs import corpus_root
from warehouse.store import Warehouse
from warehouse.tables import columns_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True)
class Plan:
    """What a purge will do.

    Args:
        withdrawal: what goes.
        changes: what becomes of artifacts, in the order in which it is done.
        taints: models that learned from it.
        files: raw files of which nothing stays: whoever keeps the corpora must remove these.
        shared: how many raw files hold something that goes beside something that stays.
        outside: what the purge will not reach.
    """

    withdrawal: Withdrawal
    changes: list[Change]
    taints: list[Taint]
    files: list[str] = field(default_factory=list)
    shared: int = 0
    outside: Sequence[str] = ()

    @property
    def id(self) -> str:
        return self.withdrawal.tombstone.id

    def rows(self) -> dict[str, int]:
        """Kind and table -> rows that go."""
        counted: Counter[str] = Counter()
        for change in self.changes:
            counted.update({f"{change.artifact.request.kind}/{name}": n for name, n in change.gone.items()})
        return dict(sorted(counted.items()))


@one_connection()
def plan_purge(warehouse: Warehouse, asked: Asked) -> Plan:
    """What it takes to purge a lake of these. Changes nothing.

    Raises:
        NothingNamed, NothingToPurge, NoPredicate, NothingFallsUnder. StoreFails: on a store.
    """
    if not any((asked.speakers, asked.recordings, asked.utterances, asked.where)):
        raise NothingNamed()
    withdrawal = withdrawal_of(warehouse, asked)
    refs = warehouse.refs("corpora")
    roots = {corpus: corpus_root(warehouse.root, refs[corpus]) for corpus in withdrawal.corpora if corpus in refs}
    files = (roots[corpus] / path for corpus, path in withdrawal.files if corpus in roots)
    elsewhere = sorted({str(path) for path in files if not path.is_relative_to(warehouse.root)})
    changes = [change for change, _ in _changes(warehouse, withdrawal)]
    taints = taints_of(warehouse, withdrawal)
    return Plan(withdrawal, changes, taints, elsewhere, len(withdrawal.shared), outside(warehouse))


def purge(
    warehouse: Warehouse, plan: Plan, key: Ed25519PrivateKey, progress: Callable[[int, int], None] = lambda n, of: None
) -> dict[str, Any]:
    """Does what a plan says, and returns the receipt.

    Raises:
        LakeAtWork: something is being made in the lake. LakeServed: `emolake serve` runs for it.
        StillThere: what is withdrawn stands where no step writes.
        DamagedBefore: what would be rewritten has other bytes than when it was made, which a rewriting would hide; or
            something merged has, whose rows lie elsewhere too and would go there.
        StoreAtWork, BeingTaken, UnfinishedPurge, StoreFails: on a store.
    """
    with held(warehouse, plan.id) as lake:
        merged = [a for found in superseding(lake.artifacts()).values() for a in found]
        _refuse_damage(lake, [*(change.artifact for change in plan.changes), *merged])
        content = {"withdrawal": plan.withdrawal.as_json(), "files": len(plan.files), "began_at": _now()}
        write(lake, f"{JOURNALS}/{plan.id}.json", content)
        return _complete(lake, plan.id, content, key, progress)


def resume(
    warehouse: Warehouse, key: Callable[[], Ed25519PrivateKey],
    progress: Callable[[int, int], None] = lambda n, of: None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Completes every purge that was ended half-way, and returns their receipts.

    Args:
        key: reads the key that signs; asked only where there is something to sign.

    Raises:
        As `purge`.
    """
    found = [complete(warehouse, purge_id, key(), progress) for purge_id in unfinished(warehouse.root)]
    return [receipt for receipt in found if receipt is not None]


def complete(
    warehouse: Warehouse, purge_id: str, key: Ed25519PrivateKey,
    progress: Callable[[int, int], None] = lambda n, of: None, boundary: Callable[[str], None] = lambda step: None,
) -> dict[str, Any] | None:  # fmt: skip
    """Takes a purge from wherever it stands to its end. None where its journal does not stand: on a store it was killed
    before it began, or after its receipt.

    Args:
        boundary: told after each thing that is done.

    Raises:
        As `purge`.
    """
    with held(warehouse, purge_id) as lake:
        content = read(lake, f"{JOURNALS}/{purge_id}.json")
        return None if content is None else _complete(lake, purge_id, content, key, progress, boundary)


# -- inside ----------------------------------------------------------------------------------------------------------


def _complete(
    warehouse: Warehouse, purge_id: str, content: dict[str, Any], key: Ed25519PrivateKey,
    progress: Callable[[int, int], None], boundary: Callable[[str], None] = lambda step: None,
) -> dict[str, Any]:  # fmt: skip
    journal = f"{JOURNALS}/{purge_id}.json"
    withdrawal = Withdrawal.from_json(content["withdrawal"])
    boundary("journal")
    warehouse.set_ref(f"{TOMBSTONES}/{purge_id}", withdrawal.tombstone.as_json())
    boundary("tombstone")
    copies = _copies_that_go(warehouse, withdrawal)
    if copies:
        told = [{"kind": a.request.kind, "step": a.request.step, "key": a.key, "digest": a.digest} for a in copies]
        known = content.get("copies", [])
        content["copies"] = [*known, *(one for one in told if one not in known)]
        write(warehouse, journal, content)
        for _ in take_away(warehouse, [f"{a.request.kind}/{a.key}" for a in copies]):
            boundary("copy")
    changes = list(_changes(warehouse, withdrawal))
    if "artifacts" in content:  # what has been made since from what goes
        done = {one["key"] for one in content["artifacts"]}
        changes = [one for one in changes if one[0].how != "renewed" and one[0].artifact.key not in done]
    if changes or "artifacts" not in content:
        taints = content.get("taints") or [asdict(one) for one in taints_of(warehouse, withdrawal)]
        rewritten = list(_rewrite(warehouse, purge_id, withdrawal, changes, progress, boundary))
        content |= {"taints": taints, "artifacts": [*content.get("artifacts", []), *rewritten]}
        write(warehouse, journal, content)
    boundary("rewritten")
    for one in content["taints"]:
        taint(warehouse, purge_id, Taint(**one))
        boundary("taint")
    _point_anew(warehouse, purge_id, withdrawal, content["artifacts"], boundary)
    renew(warehouse)
    for _ in take_away(warehouse, [f"{one['kind']}/{one['key']}" for one in content["artifacts"]]):
        boundary("removed")
    forget_all(warehouse, withdrawal, [one["key"] for one in content["taints"]])
    boundary("forgotten")
    places = _still_there(warehouse, withdrawal, progress)
    if places:
        raise StillThere(purge_id, places)
    receipt = receipts.signed(_said(warehouse, purge_id, withdrawal, content), key)
    write(warehouse, _place(warehouse, purge_id, content["began_at"]), receipt)
    boundary("receipt")
    unwrite(warehouse, journal)
    return receipt


def _copies_that_go(warehouse: Warehouse, withdrawal: Withdrawal) -> list[Artifact]:
    """Those whose rows lie in a merged artifact: there they are rewritten. While that one is damaged, as it may be
    since a purge began, they are all that is left of their rows and stay, unless some of these must go.

    Raises:
        DamagedBefore.
    """
    artifacts = warehouse.artifacts()
    read = superseding(artifacts)
    damaged = {a.key for a in {a.key: a for found in read.values() for a in found}.values() if a.damaged()}
    unsure = [a for a in artifacts if any(one.key in damaged for one in read.get(a.key, ()))]
    if any(change_of(a, withdrawal, (), False) for a in unsure):
        raise DamagedBefore([f"{a.request.kind}/{a.key[:12]}" for a in artifacts if a.key in damaged])
    return [a for a in artifacts if a.key in read.keys() - {a.key for a in unsure}]


def _changes(warehouse: Warehouse, withdrawal: Withdrawal) -> Iterator[tuple[Change, bool]]:
    """What becomes of each artifact, and whether the tombstone concerns it; what is made from others after these."""
    tombstone, changed = withdrawal.tombstone, set[str]()
    artifacts = _in_order(warehouse)
    records = {a.digest: a for a in artifacts if a.request.kind == "raw"}
    going = rows_going(artifacts, withdrawal)
    for artifact in artifacts:
        request, concerned = artifact.request, False
        if request.kind in ("utterances", "labels") and is_reading(request):
            raw = [records[digest] for digest in request.inputs.get("raw", ()) if digest in records]
            files = [one for a in raw for one in columns_of(a.path("files.parquet"))["sha256"].to_pylist()]
            concerned = tombstone.concerns(request.params.get("corpus", ""), files)
            concerned = concerned and tombstone.id not in request.params.get("withdrawn", ())
        change = change_of(artifact, withdrawal, changed, concerned, going)
        if change is not None:
            if change.how != "renewed":
                changed.add(artifact.digest)
            yield change, concerned


def _in_order(warehouse: Warehouse) -> list[Artifact]:
    """All artifacts, each after what it was made from, what stands in place of that included."""
    artifacts, now = live(warehouse.artifacts()), successors(warehouse.root)
    keys: dict[str, list[str]] = {}
    for artifact in artifacts:
        keys.setdefault(artifact.digest, []).append(artifact.key)
    order: TopologicalSorter[str] = TopologicalSorter()
    for artifact in artifacts:
        cited = {now.get(digest, digest) for digests in artifact.request.inputs.values() for digest in digests}
        sources = (key for digest in sorted(cited) for key in keys.get(digest, ()))
        order.add(artifact.key, *(key for key in sources if key != artifact.key))
    by_key = {artifact.key: artifact for artifact in artifacts}
    return [by_key[key] for key in order.static_order()]


def _rewrite(
    warehouse: Warehouse, purge_id: str, withdrawal: Withdrawal, changes: Sequence[tuple[Change, bool]],
    progress: Callable[[int, int], None], boundary: Callable[[str], None],
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Makes what stands in the place of each artifact; the entries of the receipt."""
    now, moved = successors(warehouse.root), dict[str, str]()
    for number, (change, concerned) in enumerate(changes, start=1):
        old = change.artifact
        entry = {
            "kind": old.request.kind, "step": old.request.step, "key": old.key, "digest": old.digest, "how": change.how,
            "gone": dict(change.gone), "key_after": "", "digest_after": "",
        }  # fmt: skip
        if change.how != "removed":
            request = renewed(old, withdrawal, lambda digest: now.get(digest, digest), purge_id, concerned)
            if request.kind == "raw":
                moved[old.key] = request.key

            def write(folder: Path, old: Artifact = old) -> None:
                write_rest(folder, old, withdrawal, moved)

            beside = {**old.environment, "rewritten": {"purge": purge_id, "from": old.key}}
            made = warehouse.materialize(request, write, beside)
            entry |= {"key_after": made.key, "digest_after": made.digest}
        if entry["digest_after"] != old.digest:
            now[old.digest] = str(entry["digest_after"])
        progress(number, len(changes))
        boundary("made")
        yield entry


def _point_anew(
    warehouse: Warehouse, purge_id: str, withdrawal: Withdrawal, entries: list[dict[str, Any]],
    boundary: Callable[[str], None],
) -> None:  # fmt: skip
    """Names point at what stands in the place of what goes; a name of what has no successor goes."""
    lost = pieces_lost(warehouse, {one["key"] for one in entries if not one["digest_after"]})
    digests = {digest: "" for _, digest in lost}
    digests |= {one["digest"]: one["digest_after"] for one in entries if one["digest"] != one["digest_after"]}
    known = (warehouse.ref(f"{PURGED}/{purge_id}") or {}).get("digests", {})  # where a backup brought it all back
    warehouse.set_ref(f"{PURGED}/{purge_id}", {"digests": known | digests})
    boundary("purged")
    places = digests | {key: "" for key, _ in lost} | {one["key"]: one["key_after"] for one in entries}
    for path in sorted((warehouse.root / "refs").rglob("[!.]*.json")):
        name = path.relative_to(warehouse.root / "refs").with_suffix("").as_posix()
        group, _, own = name.partition("/")
        if group in (TOMBSTONES, PURGED):
            continue
        value = warehouse.ref(name) or {}
        told = _placed(value, places, withdrawal)
        if (group == "reports" and value.get("artifact") and not told["artifact"]) or places.get(own, own) == "":
            drop_name(warehouse, name)
        elif own in places:
            warehouse.set_ref(f"{group}/{places[own]}", told)
            drop_name(warehouse, name)
        else:
            warehouse.set_ref(name, told)
        boundary("pointed")


def _placed(value: Any, places: Mapping[str, str], withdrawal: Withdrawal) -> Any:
    """A JSON value with other digests and keys, and lists without what has no successor and without ids that go."""
    if isinstance(value, Mapping):
        return {name: _placed(inner, places, withdrawal) for name, inner in value.items()}
    if isinstance(value, list):
        gone = withdrawal.inputs | withdrawal.utterances
        told = (_placed(inner, places, withdrawal) for inner in value if not (isinstance(inner, str) and inner in gone))
        return [inner for inner in told if inner != ""]
    return places.get(value, value) if isinstance(value, str) else value


def _still_there(warehouse: Warehouse, withdrawal: Withdrawal, progress: Callable[[int, int], None]) -> list[str]:
    """The files that still hold what goes. Ids as `receipts.remains` finds them, and texts in what reports write."""
    places = set(receipts.remains(warehouse, withdrawal.tombstone, progress))
    places |= {
        f"artifacts/{change.artifact.request.kind}/{change.artifact.key}"
        for change, _ in _changes(warehouse, withdrawal) if change.how != "renewed"
    }  # fmt: skip
    return sorted(places)


def _place(warehouse: Warehouse, purge_id: str, began_at: str) -> str:
    """Where a receipt goes: beside an earlier one of the same, as where a backup had brought it back."""
    name, number = f"{receipts.FOLDER}/{purge_id}.json", 1
    while (found := read(warehouse, name)) is not None and found["began_at"] != began_at:
        number += 1
        name = f"{receipts.FOLDER}/{purge_id}-{number}.json"
    return name


def _said(warehouse: Warehouse, purge_id: str, withdrawal: Withdrawal, content: Mapping[str, Any]) -> dict[str, Any]:
    """What the receipt says: no name in clear."""
    rows: Counter[str] = Counter()
    for entry in content["artifacts"]:
        rows.update({f"{entry['kind']}/{name}": n for name, n in entry["gone"].items()})
    counts = {
        name: len(getattr(withdrawal, name))
        for name in ("corpora", "speakers", "utterances", "audio", "texts", "recordings", "shared")
    }
    return {
        "format": receipts.FORMAT,
        "purge": purge_id,
        "began_at": content["began_at"],
        "done_at": _now(),
        "what": counts,
        "hours": withdrawal.hours,
        "rows": dict(sorted(rows.items())),
        "artifacts": content["artifacts"],
        "copies": content.get("copies", []),
        "tainted": content["taints"],
        "raw_files_to_remove": content["files"],
        "outside": list(outside(warehouse)),
        "tombstone": f"{TOMBSTONES}/{purge_id}",
        "withdrawn": withdrawal.tombstone.as_json(),
        "proof": {"query": receipts.QUERY, "found": 0},
    }


def _refuse_damage(warehouse: Warehouse, artifacts: Sequence[Artifact]) -> None:
    """Raises DamagedBefore where what a purge would rewrite is not as it was made, or where things lie aside."""
    places = {a.key: f"{a.request.kind}/{a.key[:12]}" for a in artifacts}
    damaged = [places[a.key] for a in {a.key: a for a in artifacts}.values() if a.damaged()]
    aside = [path.name for path in (warehouse.root / ASIDE).glob("*")]
    if damaged or aside:
        raise DamagedBefore([*damaged, *(f"{ASIDE}/{name}" for name in aside)])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
