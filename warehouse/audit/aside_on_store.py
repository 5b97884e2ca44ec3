"""What is damaged on a store, put again from this host's copy where that has the right bytes, or else moved aside into
the copy (`warehouse.audit.aside`) and taken away from the store, so that it can be made again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from warehouse.artifact import MANIFEST, Artifact, read_artifact
from warehouse.audit.aside import ASIDE, EXTRA, REMEMBERED, Fate
from warehouse.audit.at_work import IDLE, abandoned, put_away, refuse_work
from warehouse.audit.sound import is_as_written
from warehouse.audit.verify import Fault, verify
from warehouse.copies import drop
from warehouse.errors import EmolakeError
from warehouse.hashing import file_digest
from warehouse.refs import read_ref
from warehouse.remote import Store
from warehouse.store import Warehouse
from warehouse.taking import finish, take


def mend_store(
    warehouse: Warehouse, store: Store, faults: Sequence[Fault],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Fate]:  # fmt: skip
    """Puts again what the copy has, and moves the rest aside. Afterwards the copy holds nothing damaged, and nothing
    that is not on the store.

    Args:
        progress: told artifacts of the copy that were looked at, and their number.

    Raises:
        StoreAtWork, BeingTaken, LakeAtWork: somebody works in the lake; nothing was moved then. StoreFails.
    """
    if finish(store):  # what there was fault with may be gone
        faults = verify(warehouse)
    with warehouse.scratch("repair", is_announced=True) as scratch:
        put_away(scratch, abandoned(warehouse.root, datetime.now(UTC) - IDLE))
        refuse_work(warehouse.root)
        clean_copy(warehouse, store, progress)
        fates, left = list[Fate](), list[Fault]()
        for fault in faults:
            again = list(_put_again(warehouse, store, fault))
            fates += again
            left += [] if again else [fault]
        if any(fault.what == "manifest" for fault in faults if fault not in left):
            left = verify(warehouse)  # nobody has looked at its files yet

        def choose() -> dict[str, list[str]]:
            gone: dict[str, list[str]] = {}
            for fault in left:
                if fault.what in ("bytes", "manifest", "place") and _place(fault) not in gone:
                    gone |= _set_aside(warehouse, store, fault)
            for fault in left:
                if fault.what == "extra" and _place(fault) not in gone:
                    fates.extend(_set_extra_aside(warehouse, store, fault))
                elif fault.what == "name":
                    _set_name_aside(warehouse, store, fault)
            return gone

        if left:
            take(store, scratch.name, choose)
    return fates


def clean_copy(
    warehouse: Warehouse, store: Store, progress: Callable[[int, int], None] = lambda done, total: None
) -> None:
    """Drops from the copy what is not as it was made, and what is not on the store: what is made again must rest on
    neither, and what is there comes anew when somebody opens it."""
    store.known.clear()
    artifacts = dict[Path, Artifact]()
    for manifest in sorted((warehouse.root / "artifacts").glob(f"*/*/{MANIFEST}")):
        with suppress(EmolakeError):
            artifact = read_artifact(manifest.parent)
            if is_as_written(manifest.read_bytes()):
                artifacts[manifest.parent] = artifact
    for folder in (warehouse.root / "artifacts").glob("*/*"):  # among them those without a manifest
        if folder not in artifacts:
            drop(warehouse.root, folder)
    for number, (folder, artifact) in enumerate(artifacts.items(), start=1):
        for name in artifact.files:
            if (path := folder / name).is_file() and not _is_sound(artifact, name):
                path.unlink()
        progress(number, len(artifacts))
    there = {path.rpartition("/")[0] for path in store.objects.sizes("artifacts") if path.endswith(f"/{MANIFEST}")}
    for folder, artifact in artifacts.items():
        place = f"{artifact.request.kind}/{artifact.key}"
        if place not in there and not store.objects.is_there(f"artifacts/{place}/{MANIFEST}"):
            drop(warehouse.root, folder)


def _place(fault: Fault) -> str:
    """<kind>/<key>"""
    return fault.folder.removeprefix("artifacts/")


def _is_sound(artifact: Artifact, name: str) -> bool:
    """Whether a file is in the copy, with its bytes."""
    path, entry = artifact.folder / name, artifact.files[name]
    return path.is_file() and path.stat().st_size == entry["n_bytes"] and file_digest(path) == entry["sha256"]


def _put_again(warehouse: Warehouse, store: Store, fault: Fault) -> Iterator[Fate]:
    """Puts the manifest or the files of an artifact as the copy has them, which is clean."""
    folder = warehouse.root / fault.folder
    if fault.what not in ("bytes", "manifest") or not (folder / MANIFEST).is_file():
        return
    own, artifact = (folder / MANIFEST).read_bytes(), read_artifact(folder)
    if fault.what == "manifest":
        store.objects.put(f"{fault.folder}/{MANIFEST}", own)
        yield Fate(fault.key, artifact.request.kind, "repaired", "its manifest put again, from this host's copy")
        return
    is_here = fault.file in artifact.files and _is_sound(artifact, fault.file)
    if is_here and store.objects.get(f"{fault.folder}/{MANIFEST}") == own:
        store.objects.replace(folder / fault.file, f"{fault.folder}/{fault.file}")
        yield Fate(fault.key, artifact.request.kind, "repaired", f"'{fault.file}' put again, from this host's copy")


def _set_aside(warehouse: Warehouse, store: Store, fault: Fault) -> dict[str, list[str]]:
    """Brings what there is of an artifact into the copy, aside; its place, and all names it may have there."""
    place, names = _place(fault), list(store.objects.sizes(fault.folder))
    if not names:  # it went meanwhile; whoever took it away may have it aside
        return {}
    aside = warehouse.root / ASIDE / place
    shutil.rmtree(aside, ignore_errors=True)
    for name in names:
        _bring(store, f"{fault.folder}/{name}", aside / name)
    with suppress(EmolakeError):
        names += read_artifact(aside).files
    return {place: sorted({*names} - {MANIFEST})}


def _set_extra_aside(warehouse: Warehouse, store: Store, fault: Fault) -> Iterator[Fate]:
    within = _place(fault)
    content = store.objects.get(f"{fault.folder}/{MANIFEST}")
    if content is None:
        paths = [fault.folder]
    else:
        known = {*json.loads(content)["files"], MANIFEST}
        paths = [f"{fault.folder}/{name}" for name in store.objects.sizes(fault.folder) if name not in known]
    for path in paths:
        name = path.removeprefix("artifacts/")
        _bring(store, path, warehouse.root / ASIDE / EXTRA / name)
        store.objects.remove(path)
        yield Fate(fault.key, within.split("/")[0], "moved aside", f"'{name}' is now below {ASIDE}/{EXTRA}")


def _set_name_aside(warehouse: Warehouse, store: Store, fault: Fault) -> None:
    if fault.key.startswith(tuple(f"refs/{group}/" for group in REMEMBERED)):
        path = warehouse.root / ASIDE / f"{fault.key}.json"
        _bring(store, f"{fault.key}.json", path)
        try:
            read_ref(path)
            path.unlink()
        except EmolakeError:
            store.objects.remove(f"{fault.key}.json")
            store.bring_ref(fault.key.removeprefix("refs/"))


def _bring(store: Store, name: str, path: Path) -> None:
    """A file as it is on the store, whatever its bytes are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    store.objects.download(name, path, -1, "")
