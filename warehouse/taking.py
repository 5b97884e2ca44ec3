"""Taking something away from a lake on a store, where nothing is renamed and other hosts work and keep copies.

    .working/<name>     put by whoever begins to work and removed at the end, as is a folder in `.scratch`
    lake.json           "taking": who takes something away now, and the id that the lake gets with that
    .gone/<id>.json     what went when the lake got this id, and the id that it had before

Who begins to work puts a name and then reads the marker; who takes something away writes the marker and then lists the
names. So at least one of the two sees the other and does nothing. That rests on reads by name that see what was put,
and on a listing that is not behind; who works also reads the marker right before each commit, so that a late listing
leaves the time of one request.

What goes is written down first, then all manifests go, and with them the artifacts, then their files; then the lake
has its new id. What somebody began who was killed is ended by the next one who takes something away, such as `emolake
gc`; until then nobody works in the lake. A copy that has an earlier id drops what went since (`catch_up`), and brings
it again if it was made anew.

A purge takes more than once and writes in between (`alone`): its id stands in the marker and in `.gone` too, and its
journal, .purge/<id>.json, is on the store. While that stands nobody works in the lake but who completes the purge.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.artifact import MANIFEST
from warehouse.audit.errors import UnfinishedPurge
from warehouse.audit.tombstones import JOURNALS
from warehouse.copies import drop
from warehouse.hashing import canonical_json
from warehouse.in_progress import is_surely_left, owner, unfinished, write_atomically
from warehouse.marker import MARKER, new_id
from warehouse.objects import at_once
from warehouse.operating_errors import BeingTaken, OtherLake, StoreAtWork, StoreFails, TakenMeanwhile
from warehouse.schema import FORMAT

if TYPE_CHECKING:
    from warehouse.remote import Store

WORKING, GONE, STAGED = ".working", ".gone", ".staged"

Places = Mapping[str, Sequence[str]]
"""<kind>/<key> of artifacts -> the names of their files."""

_REMEMBERED = (".resume", ".cache", ".logs")
"""Folders of a copy that may be deleted."""


# -- who works ---------------------------------------------------------------------------------------------------------


@contextmanager
def announced(store: Store, name: str) -> Iterator[None]:
    """Within it nothing is taken away from a lake.

    Raises:
        BeingTaken: somebody does it, or was killed at it. UnfinishedPurge. OtherLake.
    """
    with _named(store, name):
        marker = _marker(store)
        _refuse_taking(store, marker)
        keep_up(store, marker)
        yield


def keep_up(store: Store, marker: Mapping[str, Any] | None = None) -> None:
    """Has a process that opened the lake earlier know of what went since.

    Raises:
        OtherLake.
    """
    if (now := str((marker or _marker(store)).get("id", ""))) != store.id:
        catch_up(store, now)
        store.id = now  # last: where the store fails before, the next one begins here again


def refuse_moved(store: Store) -> dict[str, Any]:
    """The marker. Raises BeingTaken, UnfinishedPurge or TakenMeanwhile where a commit might rest on what goes or went,
    or where who is `alone` is not any more."""
    marker = _marker(store)
    _refuse_taking(store, marker)
    if marker.get("id", "") != store.id or (store.taker and "taking" not in marker):
        raise TakenMeanwhile(store.url)
    return marker


def forget_left(store: Store, name: str) -> None:
    """Removes the name of one who worked here and was killed."""
    store.objects.remove(f"{WORKING}/{name}")


def catch_up(store: Store, now: str) -> None:
    """Has the copy, if there is one yet, drop what went since it last was what is on the store.

    Args:
        now: the id of the lake.

    Raises:
        OtherLake: it never was.
    """
    if not (store.root / MARKER).exists():
        return
    own = json.loads((store.root / MARKER).read_bytes())
    have, at, gone, is_purged = str(own.get("id", "")), now, list[str](), False
    while at != have:
        content = store.objects.get(f"{GONE}/{at}.json")
        if content is None:
            raise OtherLake(store.root, store.url)
        told = json.loads(content)
        gone += told["artifacts"]
        is_purged |= "purge" in told
        at = told["before"]
    store.known.clear()
    for place in gone:
        drop(store.root, store.root / "artifacts" / place)
    if is_purged:
        bring_names(store)
        _forget(store.root)
    if have != now:
        write_atomically(store.root / MARKER, own | {"id": now})


def bring_names(store: Store) -> None:
    """Has the copy have the names that are on the store, and no other."""
    store.bring_refs()
    refs = store.root / "refs"
    here = [path.relative_to(refs).with_suffix("").as_posix() for path in refs.rglob("[!.]*.json")]
    at_once(store.bring_ref, here)


# -- who takes away ----------------------------------------------------------------------------------------------------


def take(
    store: Store, who: str, choose: Callable[[], Places],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:  # fmt: skip
    """Takes artifacts away, and returns how many.

    Args:
        who: the name under which this process is `announced`.
        choose: says which, once nobody works any more.

    Raises:
        BeingTaken, StoreAtWork: somebody else is at it, or works. StoreFails: the next one goes on there.
    """
    finish(store)
    before, then, gone = str(_marker(store).get("id", "")), new_id(), dict[str, Sequence[str]]()
    _mark(store, before, {"who": who, "then": then})
    try:
        _refuse_others(store, who)
        gone = dict(choose())
    finally:
        if not gone:
            _mark(store, before)
    if gone:
        told = {"before": before, "artifacts": gone}
        store.objects.put(f"{GONE}/{then}.json", canonical_json(told))
        _remove(store, gone, progress)
        _end(store, then, told)
    return len(gone)


def finish(store: Store) -> bool:
    """Ends what somebody began to take away who was killed. Whether that took anything away.

    Raises:
        BeingTaken: as far as can be told, that one lives. StoreAtWork. UnfinishedPurge: it is more than that.
    """
    if "taking" not in _marker(store):
        return False
    with _named(store, own := unfinished()):
        marker = _marker(store)  # as it is now that nobody else can miss this one
        if "taking" not in marker:
            return False
        if "purge" in marker["taking"]:
            raise UnfinishedPurge(marker["taking"]["purge"])
        who, then = marker["taking"]["who"], marker["taking"]["then"]
        _refuse_living(store, who)
        _mark(store, str(marker.get("id", "")), {"who": own, "then": then})
        _refuse_others(store, own)
        content = store.objects.get(f"{GONE}/{then}.json")
        if content is None:
            _mark(store, str(marker.get("id", "")))
        else:
            told = json.loads(content)
            _remove(store, told["artifacts"], lambda done, total: None)
            _end(store, then, told)
        return content is not None


# -- who purges --------------------------------------------------------------------------------------------------------


def purging(store: Store) -> str:
    """The id of the purge that is not done, or ''."""
    return str(_marker(store).get("taking", {}).get("purge", ""))


@contextmanager
def alone(store: Store, who: str, purge: str) -> Iterator[None]:
    """Within it nobody else begins anything in a lake, and afterwards neither, as long as the journal of the purge
    stands: whoever is alone for the same purge then goes on with it.

    Args:
        who: a name of this process, as for `announced`.

    Raises:
        BeingTaken, StoreAtWork: somebody else is at it, or works. UnfinishedPurge: of another purge.
    """
    if not purging(store):
        finish(store)
    with _named(store, who):
        marker = _marker(store)
        before, taking = str(marker.get("id", "")), marker.get("taking", {"then": new_id(), "purge": purge})
        if taking.get("purge") != purge:
            _refuse_taking(store, marker)
        if "who" in taking:
            _refuse_living(store, taking["who"])
        keep_up(store, marker)
        _mark(store, before, taking | {"who": who})
        try:
            _refuse_others(store, who)
            store.taker = who
            yield
        finally:
            store.taker = ""
            is_own = _marker(store).get("taking", {}).get("who") == who  # else another goes on with it, or did
            if is_own and not store.objects.is_there(f"{JOURNALS}/{purge}.json"):
                content = store.objects.get(f"{GONE}/{taking['then']}.json")
                if content is None:
                    _mark(store, before)
                else:
                    _end(store, taking["then"], json.loads(content))


def take_alone(store: Store, gone: Places) -> None:
    """Takes artifacts away within `alone`, and with them what an earlier call was killed at. A name of a file, which
    may be that of an utterance, stays written only until it is done.

    Raises:
        UnfinishedPurge, BeingTaken, TakenMeanwhile: another was told to go on with it.
    """
    marker = refuse_moved(store)
    taking, name = marker["taking"], f"{GONE}/{marker['taking']['then']}.json"
    content = store.objects.get(name)
    told = json.loads(content or b"{}") | {"before": marker.get("id", ""), "purge": taking["purge"]}
    told["artifacts"] = told.get("artifacts", {}) | gone
    store.objects.put(name, canonical_json(told))
    _remove(store, told["artifacts"], lambda done, total: None)
    for place in gone:
        drop(store.root, store.root / "artifacts" / place)
    store.objects.put(name, canonical_json(_nameless(told)))


# -- what commits left -------------------------------------------------------------------------------------------------


def strays(store: Store) -> list[str]:
    """The files below `artifacts` that belong to no manifest, as paths on the store: of commits that were killed, or
    are under way."""
    found = {path: _place(path) for path in store.objects.sizes("artifacts") if path.count("/") > 1}
    there = {place for path, place in found.items() if path == f"{place}/{MANIFEST}"}
    return [f"artifacts/{path}" for path, place in found.items() if place not in there]


def sweep(store: Store, paths: Sequence[str]) -> int:
    """Removes strays, and returns how many; to be called where nobody works (`choose` of `take`). One whose manifest
    stands, which a listing may lack, is none."""
    places = sorted({_place(path.removeprefix("artifacts/")) for path in paths})
    stand = at_once(lambda place: store.objects.is_there(f"artifacts/{place}/{MANIFEST}"), places)
    standing = {place for place, stands in zip(places, stand, strict=True) if stands}
    gone = [path for path in paths if _place(path.removeprefix("artifacts/")) not in standing]
    at_once(store.objects.remove, gone)
    return len(gone)


def sweep_staged(store: Store) -> None:
    """Removes what commits that were killed had staged for manifests that never came; as `sweep`."""
    store.settle()  # brings the manifest of each that stands
    left = [path for path in store.objects.sizes(STAGED) if not _stands(store, path.partition("/")[0])]
    at_once(store.objects.remove, [f"{STAGED}/{path}" for path in left])


# -- inside ------------------------------------------------------------------------------------------------------------


@contextmanager
def _named(store: Store, name: str) -> Iterator[None]:
    """Within it a name stands among those who work."""
    store.objects.put(f"{WORKING}/{name}", canonical_json({}))
    try:
        yield
    finally:
        with suppress(StoreFails):  # what was done is done, and a name of a process that ended is passed over
            store.objects.remove(f"{WORKING}/{name}")


def _marker(store: Store) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(store.objects.present(MARKER))
    return found


def _mark(store: Store, own_id: str, taking: Mapping[str, str] | None = None) -> None:
    told = {"format": FORMAT, "id": own_id} | ({"taking": taking} if taking else {})
    store.objects.put(MARKER, canonical_json(told))


def _place(path: str) -> str:
    """<kind>/<key> of a path below `artifacts`."""
    return "/".join(path.split("/", 2)[:2])


def _stands(store: Store, key: str) -> bool:
    return any(store.root.glob(f"artifacts/*/{key}/{MANIFEST}"))


def _refuse_taking(store: Store, marker: Mapping[str, Any]) -> None:
    taking = marker.get("taking")
    if taking is None or taking["who"] == store.taker:
        return
    if "purge" in taking:
        raise UnfinishedPurge(taking["purge"])
    raise BeingTaken(store.url, taking["who"])


def _refuse_living(store: Store, who: str) -> None:
    """Raises BeingTaken where one who takes away is not known to be gone."""
    if not is_surely_left(Path(who)) and store.objects.is_there(f"{WORKING}/{who}"):
        raise BeingTaken(store.url, who)


def _refuse_others(store: Store, who: str) -> None:
    """Raises StoreAtWork where another process works in the lake, or BeingTaken where one takes away; passes over those
    of this host that were killed."""
    others = [name for name in store.objects.names(WORKING) if not name.startswith(owner())]
    left = [name for name in others if is_surely_left(Path(name))]
    at_once(lambda name: forget_left(store, name), left)
    if working := sorted(set(others) - set(left)):
        raise StoreAtWork(store.url, working)
    taking = _marker(store).get("taking", {})  # of two who begin at once, one may have written over the other
    if taking.get("who") != who:
        raise BeingTaken(store.url, taking.get("who", "somebody"))


def _remove(store: Store, gone: Places, progress: Callable[[int, int], None]) -> None:
    """Manifests first: what has none is not there."""
    at_once(store.objects.remove, [f"artifacts/{place}/{MANIFEST}" for place in gone])
    for number, (place, names) in enumerate(gone.items(), start=1):
        at_once(store.objects.remove, [f"artifacts/{place}/{name}" for name in names])
        progress(number, len(gone))


def _end(store: Store, then: str, told: Mapping[str, Any]) -> None:
    """The lake has its new id. What stays written is which artifacts went, and no name of a file, which may be that of
    an utterance."""
    store.objects.put(f"{GONE}/{then}.json", canonical_json(_nameless(told)))
    _mark(store, then)
    catch_up(store, then)
    store.id = then


def _nameless(told: Mapping[str, Any]) -> dict[str, Any]:
    return {**told, "artifacts": {place: [] for place in told["artifacts"]}}


def _forget(root: Path) -> None:
    """Takes out of a copy all that it remembers beside artifacts: what a purge withdrew of it only the purger knew."""
    for folder in _REMEMBERED:
        shutil.rmtree(root / folder, ignore_errors=True)
    for path in root.glob("*.duckdb"):
        path.unlink(missing_ok=True)
