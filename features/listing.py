"""Which files lie in a folder of a corpus: names as texts, from one pass that asks nothing of each file by itself."""

from __future__ import annotations

import os
from bisect import bisect_left
from itertools import chain
from pathlib import Path


def files_below(root: Path, folder: str, endings: str | tuple[str, ...], depth: int = 0) -> list[str]:
    """The files that lie this many folders below a folder and whose names end so, as paths below the root, in order,
    without the AppleDouble twins (`._name`) that archives made on a Mac carry.

    As texts, and by what the folders say of them: corpora have hundreds of thousands of files, and a `Path` of each, or
    a question about each, takes longer than finding them all.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    folders = [folder]
    for _ in range(depth):
        folders = [path for one in folders for path in _folders(root, one)]
    folders.sort(key=lambda one: f"{one}/")  # none is in another, so what lies in each in order is all in order
    return list(chain.from_iterable(_files(root, one, endings) for one in folders))


def _folders(root: Path, folder: str) -> list[str]:
    with os.scandir(f"{root}/{folder}") as entries:
        return [f"{folder}/{one.name}" for one in entries if one.is_dir() and not one.name.startswith("._")]


def _files(root: Path, folder: str, endings: str | tuple[str, ...]) -> list[str]:
    handle = os.open(f"{root}/{folder}", os.O_RDONLY | os.O_DIRECTORY)
    try:
        with os.scandir(handle) as entries:  # of a handle: an entry of a path makes a path of its own, used by nobody
            found = [name for one in entries if (name := one.name).endswith(endings) and one.is_file()]
    except OSError as error:  # which knows the name alone
        raise OSError(error.errno, error.strerror, f"{root}/{folder}/{error.filename}") from error
    finally:
        os.close(handle)
    found.sort()  # nearly all is sorted so
    del found[bisect_left(found, "._") : bisect_left(found, ".`")]  # the twins lie together
    above = f"{folder}/"
    return [above + name for name in found]
