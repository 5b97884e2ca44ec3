"""Artifacts that were found whole and that nobody has touched since, known without reading or listing them again.

For who rests on what is remembered of manifests anyway, as `gc` does: it need only know that what lies on the disk is
that. `verify` reads and lists them all, for a bit may turn where no time of change tells of it.

One file, `.cache/sound`, sealed like what is remembered of manifests. May be deleted.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath

from warehouse.artifact import MANIFEST, Artifact
from warehouse.audit.sound import sound
from warehouse.audit.verify import Fault, verify
from warehouse.in_progress import disk_ns
from warehouse.manifest_index import SETTLED_NS, uncollected
from warehouse.manifest_rows import unsealed_json, write_sealed
from warehouse.store import Warehouse

_Stamps = dict[str, list[int]]
"""Inode, time of change and size of what an artifact is, by its path below the artifact's folder; that is ''."""


@uncollected()
def quick_faults(warehouse: Warehouse) -> list[Fault]:
    """What `verify`, not deep, finds in a lake; where that is nothing, what was looked at is remembered.

    An artifact is touched when its folder, one in it, its manifest or a file is another one than it was, or has another
    time of change or size.

    Raises:
        UnreadableManifest: what is remembered of a kind cannot be brought up to date.
    """
    path, beside = warehouse.root / ".cache" / "sound", warehouse.manifests.beside()
    artifacts = f"{warehouse.root}/artifacts/"
    there = {f"{artifact.request.kind}/{artifact.key}": artifact for artifact in warehouse.artifacts()}
    known = unsealed_json(path)
    settled_ns = disk_ns(beside.parent, time.time_ns()) - SETTLED_NS
    found: dict[str, _Stamps] = {}

    def told(place: str) -> tuple[Artifact | None, bool]:
        name = place.removeprefix(artifacts)
        if name not in there:
            return sound(Path(place)), False
        before = known.get(name)
        if isinstance(before, dict) and before.keys() >= {"", MANIFEST} and _stamps(place, before) == before:
            found[name] = before
            return there[name], True
        now = _stamps(place, _parts(there[name]))
        artifact = sound(Path(place))
        # What changed just now may change again at the same time; and what is remembered of a kind may be of another
        # manifest than the one that lies there now.
        if now and all(changed_ns < settled_ns for _, changed_ns, _ in now.values()) and artifact == there[name]:
            found[name] = now
        return artifact, False

    faults = verify(warehouse, deep=False, known=told)
    if not faults and found != known:
        with suppress(OSError):  # a lake that cannot be written to can be asked
            write_sealed(path, json.dumps(found).encode(), beside)
    return faults


def _parts(artifact: Artifact) -> set[str]:
    """All that an artifact is, and nothing else can be in its folders without changing one of them."""
    folders = {str(folder) for name in artifact.files for folder in PurePosixPath(name).parents} - {"."}
    return {"", MANIFEST, *artifact.files, *folders}


def _stamps(place: str, parts: Iterable[str]) -> _Stamps | None:
    """Of these parts of what lies there, if all are there."""
    try:
        found = {part: os.lstat(f"{place}/{part}" if part else place) for part in parts}
    except (OSError, ValueError):  # what no file can be called
        return None
    return {part: [status.st_ino, status.st_ctime_ns, status.st_size] for part, status in found.items()}
