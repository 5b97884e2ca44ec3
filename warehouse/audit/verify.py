"""Whether a lake is sound: every manifest, every file, every name; and, looked at deep, every byte.

Quick, from manifests, the files' sizes and names: a manifest that was edited or cannot be read, a file that is missing,
too long, too short, one more, or no file any more; a folder without a manifest, under another name or of another kind;
an input or a name that points at nothing. Deep, also that every file has the bytes it was made with.

Two things cannot be told from an honest change: a name that was edited into another well-formed one, for names move;
and an artifact whose bytes and manifest were forged together, unless another artifact cites it: then its digest is
missed. What an environment said, and when an artifact was made, is in no digest; manifests since they are sealed
(`warehouse.artifact.commit`) hold theirs, and of older ones an edit of these two that leaves them well-formed is not
seen.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple, Protocol

from warehouse.artifact import MANIFEST, Artifact, content_digest, read_artifact
from warehouse.audit.lineage import edges
from warehouse.audit.on_store import Shadow
from warehouse.audit.sound import is_as_written, is_misplaced, sound
from warehouse.audit.tombstones import purged_digests
from warehouse.errors import EmolakeError
from warehouse.hashing import file_digest
from warehouse.manifest_index import uncollected
from warehouse.merged import entries
from warehouse.refs import ref_faults
from warehouse.schema import FORMAT
from warehouse.store import Warehouse

Progress = Callable[[int, int], None]
Known = Callable[[str], tuple[Artifact | None, bool]]
What = Literal["bytes", "manifest", "place", "remains", "extra", "input", "name"]

_GROUP_FILES, _GROUP_BYTES = 64, 2**23  # what a thread is given at once: one file that is large, or some small ones


@dataclass(frozen=True)
class Fault:
    """Something wrong in a lake: the artifact's key, what, and the keys of everything made from it. The key of a name
    is its own, such as 'refs/corpora/iemocap', and nothing is made from it.

    Args:
        what: 'bytes' (of its files), 'manifest', 'place' (where its folder lies), 'remains' (a folder without a
            manifest), 'extra' (what is in a folder and should not be), 'input', 'name'.
        folder: where it lies, relative to the lake.
        file: the one of its files, where it is that.
    """

    key: str
    problem: str
    taints: Sequence[str]
    what: What = "bytes"
    folder: str = ""
    file: str = ""


class _Found(NamedTuple):
    """A fault before it is known what it taints."""

    folder: Path
    what: What
    problem: str
    file: str = ""


class _Place(Protocol):
    """Where a lake is looked at: its folder, or the shadow of what is on a store."""

    root: Path

    def look(self) -> None:
        """Has what came since."""

    def listing(self, artifact: Artifact) -> tuple[Mapping[str, int], Mapping[str, str]]:
        """The files of an artifact with their sizes, and what is none: folders, links, devices."""

    def is_same(self, artifact: Artifact, name: str) -> bool:
        """Whether a file has the bytes that its manifest says."""


class _Folder:
    """A lake in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def look(self) -> None:
        """It is there."""

    def listing(self, artifact: Artifact) -> tuple[Mapping[str, int], Mapping[str, str]]:
        return _listing(artifact)

    def is_same(self, artifact: Artifact, name: str) -> bool:
        return file_digest(artifact.path(name)) == artifact.files[name]["sha256"]


@dataclass(frozen=True)
class _Look:
    """What a walk through folders of artifacts came upon: those that can be read, their files that seem whole, and what
    is wrong."""

    readable: list[Artifact] = field(default_factory=list)
    whole: list[tuple[Artifact, str]] = field(default_factory=list)
    faults: list[_Found] = field(default_factory=list)


def _sound(place: str) -> tuple[Artifact | None, bool]:
    return sound(Path(place)), False


def verify(
    warehouse: Warehouse, progress: Progress = lambda done, total: None, deep: bool = True, known: Known = _sound
) -> list[Fault]:
    """What is wrong in a lake; an empty list means that it is sound, wherever its corpora are.

    Others may commit meanwhile: what points at an artifact that was not there when the walk began is asked again. Of a
    lake on a store, what is there is looked at and not this host's copy.

    Args:
        progress: told artifacts looked at and their number; deep, bytes hashed and their number.
        deep: hash every file again.
        known: says of the folder of an artifact whose manifest needs no closer look which it is, and whether its files
            are as they were listed before; of a lake in a folder, not deep.
    """
    if warehouse.store is None:
        with uncollected():
            return _verify(_Folder(warehouse.root), progress, deep, known)
    with warehouse.scratch("verify") as shadow:
        faults = _verify(Shadow(warehouse.store, shadow), progress, deep)
    return [replace(one, problem=one.problem.replace(str(shadow), warehouse.name)) for one in faults]


def _verify(at: _Place, progress: Progress, deep: bool, known: Known = _sound) -> list[Fault]:
    folders = list(_folders(at.root / "artifacts"))
    look = _look(at, folders, known, (lambda done, total: None) if deep else progress)
    if deep:
        look.faults.extend(_other_bytes(at, look.whole, progress))
    missed, names = _missed(at.root, look.readable)
    if missed or names:
        begun = set(folders)
        at.look()
        later = _look(at, [one for one in _folders(at.root / "artifacts") if one not in begun], known)
        missed, names = _missed(at.root, look.readable, later.readable)
    wrong = [*look.faults, *missed]
    place = {artifact.folder: number for number, artifact in enumerate(look.readable if wrong else ())}
    found = sorted(wrong, key=lambda one: (place.get(one.folder, -1), one.folder))
    taints = _taints(look.readable, {one.folder.name for one in found})
    faults = [
        Fault(one.folder.name, one.problem, taints.get(one.folder.name, []), one.what,
              one.folder.relative_to(at.root).as_posix(), one.file)
        for one in found
    ]  # fmt: skip
    return faults + [Fault(name, problem, [], "name") for name, problem in [*_marker(at.root), *names]]


def _folders(root: Path) -> Iterator[str]:
    """Everything two levels below, which are the artifacts; of what is no folder, what is there."""
    for kind in sorted(os.scandir(root), key=lambda entry: entry.name) if root.is_dir() else ():
        if kind.is_dir():
            yield from (f"{kind.path}/{name}" for name in sorted(os.listdir(kind.path)))
        else:
            yield kind.path


def _look(at: _Place, folders: Sequence[str], known: Known, progress: Progress = lambda done, total: None) -> _Look:
    look = _Look()
    for number, folder in enumerate(folders, start=1):
        before = len(look.faults)
        artifact, is_listed = known(folder)
        artifact = artifact or _read(Path(folder), look.faults)
        if artifact is not None:
            look.readable.append(artifact)
            if not is_listed and len(look.faults) == before:
                _list_files(at, artifact, look)
        progress(number, len(folders))
    return look


def _read(folder: Path, faults: list[_Found]) -> Artifact | None:
    """The artifact of a folder, from the disk, whatever this process remembers; what is wrong with its manifest or its
    place is added to `faults`."""
    if not os.path.lexists(folder):
        return None  # taken away since it was listed
    if not folder.is_dir():
        faults.append(_Found(folder, "extra", f"'{folder.name}' in '{folder.parent.name}' is no folder of an artifact"))
        return None
    if folder.is_symlink():
        faults.append(_Found(folder, "bytes", f"its folder is a link now, to {os.readlink(folder)}"))
        return None
    path = folder / MANIFEST
    if not os.path.lexists(path):
        if not folder.exists():
            return None
        problem = "its folder has no manifest, so it does not exist: remains of what was deleted or damaged"
        faults.append(_Found(folder, "remains", problem))
        return None
    try:
        artifact = read_artifact(folder)
        text = path.read_bytes()
    except (EmolakeError, OSError) as error:
        if not folder.exists():
            return None
        faults.append(_Found(folder, "place" if is_misplaced(folder) else "manifest", str(error)))
        return None
    edited = "its manifest was edited: "
    if content_digest(artifact.files) != artifact.digest:
        faults.append(_Found(folder, "manifest", edited + "the digest is not that of its files"))
    elif path.is_symlink() or not is_as_written(text):
        faults.append(_Found(folder, "manifest", edited + "it is not what was written when the artifact was made"))
    elif artifact.request.kind != folder.parent.name:
        problem = f"it lies under '{folder.parent.name}', but is of kind '{artifact.request.kind}': nobody finds it"
        faults.append(_Found(folder, "place", problem))
    return artifact


def is_as_made(artifact: Artifact) -> bool:
    """Whether the manifest in an artifact's folder, read again, is the sound one that it was read from."""
    faults: list[_Found] = []
    return (sound(artifact.folder) or _read(artifact.folder, faults)) == artifact and not faults


def _list_files(at: _Place, artifact: Artifact, look: _Look) -> None:
    """What a listing can tell of the files of an artifact."""
    sizes, others = at.listing(artifact)
    made = {name: entry["n_bytes"] for name, entry in artifact.files.items()}
    if not others and {name: n for name, n in sizes.items() if name != MANIFEST} == made:
        look.whole.extend((artifact, name) for name in made)
        return
    problems = {}
    for name, entry in artifact.files.items():
        if name in others:
            problems[name] = f"file '{name}' is {others[name]} now"
        elif name not in sizes:
            problems[name] = f"file '{name}' is missing"
        elif sizes[name] != entry["n_bytes"]:
            problems[name] = f"file '{name}' has {sizes[name]} bytes, but had {entry['n_bytes']} when it was made"
        else:
            look.whole.append((artifact, name))
    look.faults.extend(_Found(artifact.folder, "bytes", problem, name) for name, problem in problems.items())
    for name in _more(artifact, sizes.keys() | others.keys()):
        problem = f"{others.get(name, 'file')} '{name}' is in its folder but not in its manifest"
        look.faults.append(_Found(artifact.folder, "extra", problem))


def unlisted(artifact: Artifact) -> list[str]:
    """The names of what is in an artifact's folder and should not be; of a folder before what is in it."""
    sizes, others = _listing(artifact)
    return _more(artifact, sizes.keys() | others.keys())


def _more(artifact: Artifact, names: Set[str]) -> list[str]:
    above = {str(folder) for name in artifact.files for folder in PurePosixPath(name).parents}
    return sorted(names - artifact.files.keys() - above - {MANIFEST})


def _listing(artifact: Artifact) -> tuple[dict[str, int], dict[str, str]]:
    """The files below an artifact's folder with their sizes, and what is none: folders, links, devices."""
    sizes: dict[str, int] = {}
    others: dict[str, str] = {}
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        with os.scandir(f"{artifact.folder}/{prefix}") as found:
            for entry in found:
                name = f"{prefix}{entry.name}"
                if entry.is_file(follow_symlinks=False):
                    if name != MANIFEST:  # which was read, and nothing says how long it should be
                        sizes[name] = entry.stat(follow_symlinks=False).st_size
                elif entry.is_dir(follow_symlinks=False):
                    others[name] = "a folder"
                    waiting.append(f"{name}/")
                else:
                    others[name] = "a link" if entry.is_symlink() else "no file"
    return sizes, others


def _other_bytes(at: _Place, files: Sequence[tuple[Artifact, str]], progress: Progress) -> Iterator[_Found]:
    """Hashes files again, several at once: what hashes holds no lock meanwhile."""
    groups: list[list[tuple[Artifact, str]]] = []
    n_bytes = _GROUP_BYTES
    for artifact, name in files:
        if n_bytes >= _GROUP_BYTES or len(groups[-1]) == _GROUP_FILES:
            groups.append([])
            n_bytes = 0
        groups[-1].append((artifact, name))
        n_bytes += _size(artifact, name)
    done, total = 0, sum(_size(artifact, name) for artifact, name in files)
    progress(0, total)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for group, problems in zip(groups, threads.map(partial(_hashed, at), groups), strict=True):
            yield from problems
            done += sum(_size(artifact, name) for artifact, name in group)
            progress(done, total)


def _size(artifact: Artifact, name: str) -> int:
    n_bytes: int = artifact.files[name]["n_bytes"]
    return n_bytes


def _hashed(at: _Place, group: Sequence[tuple[Artifact, str]]) -> list[_Found]:
    found = []
    for artifact, name in group:
        try:
            problem = "has other bytes than when it was made"
            is_same = at.is_same(artifact, name)
        except OSError as error:
            is_same, problem = False, f"cannot be read ({error.strerror})"
        if not is_same:
            found.append(_Found(artifact.folder, "bytes", f"file '{name}' {problem}", name))
    return found


def _missed(
    root: Path, readable: Sequence[Artifact], later: Sequence[Artifact] = ()
) -> tuple[list[_Found], list[tuple[str, str]]]:
    """The inputs, and the names, that point at nothing."""
    there = [*readable, *later]
    told = [one for artifact in there for one in entries(artifact)]
    digests = {artifact.digest for artifact in there} | {one["digest"] for one in told} | purged_digests(root)
    inputs = [
        _Found(artifact.folder, "input", f"its input '{role}' {digest[:12]} is not in the lake")
        for artifact in readable
        for role, cited in artifact.request.inputs.items()
        if not digests.issuperset(cited)
        for digest in dict.fromkeys(cited)
        if digest not in digests
    ]
    keys = {artifact.key for artifact in there} | {one["key"] for one in told}
    return inputs, list(ref_faults(root, digests, keys))


def _taints(artifacts: Sequence[Artifact], keys: Collection[str]) -> Mapping[str, list[str]]:
    """Key -> the keys of everything that was ever made from it, in the order of `artifacts`."""
    if not keys:
        return {}
    users: dict[str, set[str]] = {}
    for artifact, _, source in edges(artifacts):
        users.setdefault(source.key, set()).add(artifact.key)
    for artifact in (a for a in artifacts if a.key in keys):
        for one in entries(artifact):  # what was made from rows that lie in it
            users.setdefault(artifact.key, set()).update(users.get(one["key"], ()))
    order = {artifact.key: number for number, artifact in enumerate(artifacts)}
    return {key: sorted(_below(key, users) & order.keys(), key=order.__getitem__) for key in keys}


def _below(key: str, users: Mapping[str, Iterable[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [key]
    while waiting:
        new = set(users.get(waiting.pop(), ())) - found
        found |= new
        waiting += new
    return found - {key}


def _marker(root: Path) -> Iterator[tuple[str, str]]:
    """What is wrong with the lake's own marker."""
    try:
        found: Any = json.loads((root / "lake.json").read_bytes())
    except (OSError, ValueError) as error:
        found = f"{type(error).__name__}: {error}"
    if isinstance(found, dict) and isinstance(found.get("id"), str):
        del found["id"]
    if isinstance(found, dict) and isinstance(taking := found.pop("taking", None), dict):
        ends = "emolake purge --resume" if "purge" in taking else "emolake gc"
        yield "lake.json", f"{taking.get('who')} takes something away, or was killed at it: `{ends}` ends that"
    if found != {"format": FORMAT}:
        yield "lake.json", f'it must hold {{"format": {FORMAT}}}, but it does not ({found})'
