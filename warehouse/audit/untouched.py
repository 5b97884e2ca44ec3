"""Manifests that were found sound and that nobody has touched since, known without reading them again.

For who rests on what is remembered of manifests anyway, as `gc` does: it need only know that what lies on the disk is
that. `verify` reads them all, for a bit may turn where no time of change tells of it.

One file, `.cache/sound`, sealed like what is remembered of manifests. May be deleted.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from warehouse.artifact import MANIFEST, Artifact
from warehouse.audit.sound import sound
from warehouse.in_progress import disk_ns
from warehouse.manifest_index import SETTLED_NS
from warehouse.manifest_rows import unsealed_json, write_sealed
from warehouse.store import Warehouse


@contextmanager
def sound_if_untouched(warehouse: Warehouse) -> Iterator[Callable[[Path], Artifact | None]]:
    """A `warehouse.audit.sound.sound` that reads only manifests of which it is not known, or that are not as they were
    then: by inode, time of change and size. What it reads is remembered when the block ends.

    Raises:
        UnreadableManifest: what is remembered of a kind cannot be brought up to date.
    """
    path, beside = warehouse.root / ".cache" / "sound", warehouse.manifests.beside()
    there = {str(artifact.folder): artifact for artifact in warehouse.artifacts()}
    known = unsealed_json(path)
    settled_ns = disk_ns(beside.parent, time.time_ns()) - SETTLED_NS
    found: dict[str, list[int]] = {}

    def told(folder: Path) -> Artifact | None:
        place = str(folder)
        if (now := _stamp(place)) is None or place not in there:
            return sound(folder)
        name = place.removeprefix(f"{warehouse.root}/")
        artifact = there[place] if known.get(name) == now else sound(folder)
        # What changed just now may change again at the same time; and what is remembered of a kind may be of another
        # manifest than the one that lies there now.
        if now[1] < settled_ns and (artifact is there[place] or artifact == there[place]):
            found[name] = now
        return artifact

    yield told
    if found != known:
        with suppress(OSError):  # a lake that cannot be written to can be asked
            write_sealed(path, json.dumps(found).encode(), beside)


def _stamp(place: str) -> list[int] | None:
    """Inode, time of change and size of the manifest in a folder that is no link."""
    try:
        if not stat.S_ISDIR(os.lstat(place).st_mode):
            return None
        status = os.lstat(f"{place}/{MANIFEST}")
    except OSError:
        return None
    return [status.st_ino, status.st_ctime_ns, status.st_size]
