"""What lies in a folder that was unpacked from archives, some folders deep."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path


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
