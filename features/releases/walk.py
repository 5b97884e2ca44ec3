"""What lies in a folder that was unpacked from archives, some folders deep."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path

from features.check import Anomaly


def walk(root: Path, depth: int, closed: Collection[str] = ()) -> Iterator[Path]:
    """Files and folders at most `depth` folders down, nearest first, in order of name.

    What archives made on a Mac carry along (`._name`, `__MACOSX`) is passed over.

    Args:
        closed: names of folders that are not entered.
    """
    level = [root]
    for _ in range(depth):
        below = []
        for folder in level:
            for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
                if not entry.name.startswith(("._", "__MACOSX")):
                    yield folder / entry.name
                    if entry.is_dir() and entry.name not in closed:
                        below.append(folder / entry.name)
        level = below


def misnamed(root: Path) -> Iterator[str]:
    """Files and folders whose names are not UTF-8, so that no table can name them and no row can say where they are.

    The path below the root, as it can be printed; what lies in a folder that is named so is not told again.
    """
    for folder, folders, files in os.walk(os.fsencode(root)):
        bad = [name for name in (*folders, *files) if not _is_utf8(name)]
        for name in sorted(bad):
            yield os.path.relpath(os.path.join(folder, name), os.fsencode(root)).decode("utf-8", "replace")
        folders[:] = sorted(set(folders) - set(bad))


def misnamed_files(root: Path, known: bool = True) -> Iterator[Anomaly]:
    """What the check of every corpus says of `misnamed`. Only told, unless such a name keeps others from being read:
    what a corpus should have under it is missing in its counts."""
    return (Anomaly("misnamed_file", path, "its name is not UTF-8: rename it", known) for path in misnamed(root))


def dangling(root: Path, folder: str) -> Iterator[tuple[str, str]]:
    """Links whose target is gone, the folder itself or below it: the path below the root and the target, as they can
    be printed. Folders that are links are not entered, but for this one."""
    top = os.fsencode(root / folder)
    below = [[os.path.join(place, name) for name in files] for place, _, files in os.walk(top)]
    for path in sorted([top, *chain.from_iterable(below)]):
        if os.path.islink(path) and not os.path.exists(path):
            where = os.path.relpath(path, os.fsencode(root)).decode("utf-8", "replace")
            yield where, os.readlink(path).decode("utf-8", "replace")


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True
