"""A lake on an object store, worked on through a copy on this host's disk.

`Warehouse("s3://bucket/lake")` works in the folder `copy_of` that URL, whose name says what it is a copy of, so that
whoever is given the folder's path on another host has the same lake there. What is on the store is laid out as a lake
in a folder is, and is the truth. Manifests come into the copy when artifacts are listed or found, files when they are
opened (`warehouse.copies`). `.scratch`, `.cache`, `.logs` and Prefect's own stay in the copy, which may be
deleted whenever nobody works in it.

A commit needs no rename. Every file is put where nothing is; then the manifest is, and with it the artifact is there.
Nobody writes over what another put, so where a file has other bytes already, of a writer who was killed or who is as
far as this one, its own go below `.staged/<key>/<digest>/`, where only the same bytes can be, and are moved into place
once their manifest stands. Until then readers look there too, and finish what they find unfinished. So a kill at any
moment leaves a whole artifact or none, and of two writers the first manifest stands with its own bytes.

That rests on puts that are whole or not at all, as those of object stores are and those of `file://` or `sftp://` are
not, and on the store's conditional put. s3fs asks for it ("If-None-Match: *"); where fsspec looks and then puts, or a
store passes over the condition, two hosts that make the same artifact within one request and with other bytes may leave
files of one under the manifest of the other: whoever reads them is told, and `verify --deep`.

A listing that is behind only misses what others made just now. Then a work is asked for once more, and what exists is
found when it is about to be done, by its name and not by a listing, or at the latest when its manifest is put. Of two
hosts that set the same name, the last one stands, as in a folder.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from copy import copy
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, unquote

from warehouse.artifact import MANIFEST, Artifact, read_artifact
from warehouse.copies import REMOTES, name_file, take_in
from warehouse.errors import NewerFormat, NotALake, UnreadableManifest
from warehouse.hashing import canonical_json
from warehouse.in_progress import disk_ns, replace_with, saying_disk_full, unfinished, write_atomically
from warehouse.marker import MARKER, id_of, new_id
from warehouse.objects import Objects, at_once
from warehouse.operating_errors import FileLost, NoLakeUrl, NoLakeYet, NoSuchPlace, OtherBytes, TakenMeanwhile
from warehouse.ranges import Ranges
from warehouse.schema import FORMAT
from warehouse.secrets import refuse_in_url
from warehouse.taking import STAGED, catch_up, keep_up, purging, refuse_moved

_URL = re.compile(r"[a-z][a-z0-9+.-]+://.+", re.DOTALL)
_ESCAPE = "@"  # before the numbers of characters, where URLs have a % that some read on their own


def is_url(text: str) -> bool:
    """Whether the name of a lake is the URL of one on a store."""
    return _URL.fullmatch(text) is not None


def folder_of(text: str) -> Path:
    """The folder of a lake that is named by its folder or by its URL on a store.

    Raises:
        NoLakeUrl: it looks like a URL and is none of a lake. SecretToldOn.
    """
    if "://" not in text:
        return Path(text)
    refuse_in_url(text)
    if not is_url(text):
        raise NoLakeUrl(text)
    return copy_of(text)


def copy_of(url: str) -> Path:
    """The folder that a lake on a store is worked on in: below $EMOLAKE_COPIES, or ~/.cache/emolake/lakes, and called
    like the URL. All hosts that share works must have it at the same path."""
    copies = os.environ.get("EMOLAKE_COPIES") or "~/.cache/emolake/lakes"
    return Path(copies).expanduser().absolute() / quote(url.rstrip("/"), safe="").replace("%", _ESCAPE)


def url_of(root: Path) -> str:
    """The URL of the lake that a folder is a copy of; '' of one that is none."""
    with suppress(OSError, ValueError, AttributeError):
        if isinstance(url := json.loads((root / "lake.json").read_bytes()).get("store", ""), str) and url:
            return url
    return name if is_url(name := unquote(root.name.replace(_ESCAPE, "%"))) else ""


def attached(root: Path, url: str, create: bool) -> Store:
    """The store of a copy, which drops what went from the store since it was here.

    Raises:
        NotALake: there is none, and `create` is false. NewerFormat. StoreFails. MissingExtra: s3fs is not installed.
        OtherLake: the copy is of another one.
    """
    store, marker = REMOTES.get(root), root / MARKER
    is_new = not isinstance(store, Store) or store.url != url
    if not isinstance(store, Store) or is_new:
        store = Store(root, url)
        store.refuse_unless_lake(create)
        catch_up(store, store.id)
    else:
        store = copy(store)  # who opened the lake before goes by the id it had then (`refuse_moved`)
    if not marker.exists():
        with saying_disk_full(root, MARKER):
            write_atomically(marker, {"format": FORMAT, "store": url, "id": store.id})
    if is_new:
        store.bring_refs()  # for who looks at them in the folder, as at what was withdrawn
    else:
        keep_up(store)
    REMOTES[root] = store
    return store


class Store:
    """The store of a lake, and how what is there comes into the copy.

    Args:
        root: the copy.
        url: of the lake.
    """

    def __init__(self, root: Path, url: str) -> None:
        self.root, self.url, self.objects, self.id, self.taker = root, url, Objects(url), "", ""
        self._locks: dict[Path, threading.Lock] = defaultdict(threading.Lock)
        self.known: dict[Path, Artifact] = {}
        self._settled_ns = 0
        self._stamps: dict[str, str] = {}

    def refuse_unless_lake(self, create: bool) -> None:
        """Raises NotALake or NewerFormat; a lake that may be made is made."""
        content = self.objects.get("lake.json")
        if content is None and create:
            content = canonical_json({"format": FORMAT, "id": new_id()})
            try:
                content = content if self.objects.create(MARKER, content) else self.objects.present(MARKER)
            except FileNotFoundError as error:
                raise NoSuchPlace(self.url, str(error)) from error
        if content is None:
            raise NoLakeYet(self.url)
        try:
            found = int(json.loads(content)["format"])
        except (ValueError, KeyError, TypeError) as error:
            raise NotALake(self.url, "its lake.json does not state a format") from error
        if found != FORMAT:
            raise NewerFormat(self.url, found, FORMAT)
        self.id = id_of(content)

    def purging(self) -> str:
        """The purge of the lake that is not done, or ''."""
        return purging(self)

    # -- manifests ---------------------------------------------------------------------------------------------

    def bring_manifest(self, folder: Path) -> bool:
        """Has the manifest of an artifact's folder in the copy, if the store has it: one request, and none where it is
        here already."""
        if (folder / MANIFEST).exists():
            return True
        content = self.objects.get(self._name(folder / MANIFEST))
        if content is not None:
            self._take_in(folder, content)
        return content is not None

    def adopt(self, artifacts: Iterable[Artifact]) -> None:
        """Has the manifests of what other hosts made in the copy, so that listings know them."""
        at_once(self.bring_manifest, [a.folder for a in artifacts if not (a.folder / MANIFEST).exists()])

    def puller(self) -> Callable[[str | None], None]:
        """Brings the manifests of a kind, or of all, into the copy; of each kind once."""
        done: set[str | None] = set()

        def pull(kind: str | None) -> None:
            if done.isdisjoint({None, kind}):
                done.add(kind)
                kinds = self.objects.names("artifacts") if kind is None else [kind]
                folders = [self.root / "artifacts" / one / key for one in kinds for key in self._unknown(one)]
                at_once(self.bring_manifest, folders)

        return pull

    def _unknown(self, kind: str) -> list[str]:
        here, keys = f"{self.root}/artifacts/{kind}", self.objects.names(f"artifacts/{kind}")
        return [key for key in keys if not os.path.exists(f"{here}/{key}/{MANIFEST}")]

    def _take_in(self, folder: Path, manifest: bytes) -> None:
        """A folder with its manifest and no file yet comes by a rename, as whoever lists the copy expects."""
        scratch = self._beside()
        try:
            with saying_disk_full(self.root, self._name(folder)):
                scratch.mkdir(parents=True)
                (scratch / MANIFEST).write_bytes(manifest)
                take_in(self.root, scratch, folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    # -- names that move ---------------------------------------------------------------------------------------

    def bring_ref(self, name: str) -> None:
        """Has in the copy what a name points at on the store now."""
        path, content = self.root / "refs" / f"{name}.json", self.objects.get(f"refs/{name}.json")
        if content is None:
            path.unlink(missing_ok=True)
        elif not path.is_file() or path.read_bytes() != content:
            with saying_disk_full(self.root, f"refs/{name}"):
                replace_with(path, content)

    def bring_refs(self) -> None:
        """Has all names in the copy as they are now: one listing, and one request for each that moved. One that the
        listing lacks stays, because it may be behind."""
        found = self.objects.stamps("refs")
        moved = {
            name: stamp for name, stamp in found.items()
            if name.endswith(".json") and (self._stamps.get(name) != stamp or not (self.root / "refs" / name).exists())
        }  # fmt: skip
        at_once(self.bring_ref, [name.removesuffix(".json") for name in moved])
        self._stamps |= moved

    # -- commit ------------------------------------------------------------------------------------------------

    def publish(self, scratch: Path, folder: Path) -> None:
        """Puts a sealed artifact on the store. Afterwards `scratch` holds what stands there: this one, or only the
        manifest of whoever was first.

        Raises:
            StoreFails, BeingTaken, TakenMeanwhile: nothing of it counts.
        """
        manifest, place = (scratch / MANIFEST).read_bytes(), self._name(folder)
        sealed = json.loads(manifest)
        names, staged = list(sealed["files"]), f"{STAGED}/{folder.name}/{sealed['digest']}"
        are_put = at_once(lambda name: self._put(scratch / name, f"{place}/{name}", sealed["files"][name]), names)
        aside = [name for name, is_put in zip(names, are_put, strict=True) if not is_put]
        at_once(lambda name: self._stage(scratch / name, f"{staged}/{name}", sealed["files"][name]), aside)
        refuse_moved(self)
        self.objects.create(f"{place}/{MANIFEST}", manifest)
        stands = self.objects.present(f"{place}/{MANIFEST}")
        theirs = json.loads(stands)["files"]
        if theirs == sealed["files"]:  # it is this one, or one of the same bytes, whose writer needs them in place too
            self._settle(folder, sealed["digest"], {name: theirs[name] for name in aside}, scratch)
        else:
            extra = [f"{place}/{name}" for name in names if name not in theirs]
            at_once(self.objects.remove, [f"{staged}/{name}" for name in aside] + extra)
            shutil.rmtree(scratch)
            scratch.mkdir()
        (scratch / MANIFEST).write_bytes(stands)

    def _put(self, path: Path, name: str, entry: Mapping[str, Any]) -> bool:
        """Puts a file where nothing is. False where other bytes are."""
        return self.objects.upload(path, name) or self._is(name, entry)

    def _stage(self, path: Path, name: str, entry: Mapping[str, Any]) -> None:
        """The same, and over other bytes: at a name with a digest these are what a killed writer put there in part."""
        if not self._put(path, name, entry):
            self.objects.replace(path, name)

    def _is(self, name: str, entry: Mapping[str, Any]) -> bool:
        beside = self._beside()
        try:
            return self.objects.download(name, beside, entry["n_bytes"], entry["sha256"])
        finally:
            beside.unlink(missing_ok=True)

    def _settle(self, folder: Path, digest: str, files: Mapping[str, Any], own: Path | None = None) -> None:
        """Moves staged files of an artifact whose manifest stands into place; any who finds them may. What is staged
        goes only when the place has its bytes.

        Args:
            own: a folder that has the files too, for where another took away what was staged.
        """
        for name, entry in files.items():
            staged, place = f"{STAGED}/{folder.name}/{digest}/{name}", self._name(folder / name)
            if self._is(staged, entry):
                self.objects.copy(staged, place)
            if not self._is(place, entry):
                if own is None:
                    continue
                self.objects.replace(own / name, place)
            self.objects.remove(staged)

    def settle(self) -> None:
        """Finishes the commits of those who were killed between their manifest and the last move, and takes away what
        losers left: one listing, almost always of nothing."""
        waiting: dict[tuple[str, str], list[str]] = {}
        for path in self.objects.sizes(STAGED):
            key, digest, name = (*path.split("/", 2), "", "")[:3]
            if name:  # else no commit put it there
                waiting.setdefault((key, digest), []).append(name)
        for (key, digest), names in waiting.items():
            stands = self._with_key(key)
            if stands is not None and stands.digest == digest:
                self._settle(stands.folder, digest, {one: stands.files[one] for one in names if one in stands.files})
            elif stands is not None:
                at_once(self.objects.remove, [f"{STAGED}/{key}/{digest}/{name}" for name in names])

    def _with_key(self, key: str) -> Artifact | None:
        for kind in self.objects.names("artifacts"):
            if self.bring_manifest(folder := self.root / "artifacts" / kind / key):
                with suppress(UnreadableManifest):  # `verify` says so
                    return read_artifact(folder)
        return None

    # -- files -------------------------------------------------------------------------------------------------

    def fetch(self, path: Path) -> None:
        """Brings a file of an artifact into the copy, or, of its folder or of one in it, all files there. A file is
        hashed before it gets its name.

        Raises:
            OtherBytes, FileLost, StoreFails, DiskFull.
        """
        artifact, name = self._artifact_at(path)
        if artifact is not None:
            wanted = [one for one in artifact.files if not name or one == name or one.startswith(f"{name}/")]
            absent = [one for one in wanted if not (artifact.folder / one).exists()]
            with saying_disk_full(self.root, self._name(artifact.folder)):
                at_once(partial(self._fetch, artifact), absent)

    def open(self, path: Path) -> BinaryIO:
        """A file of an artifact, read in ranges from the store. What is read so is hashed by nobody.

        Raises:
            FileNotFoundError: no manifest has it. FileLost, OtherBytes, StoreFails: also while it is read.
        """
        artifact, name = self._artifact_at(path)
        if artifact is None or name not in artifact.files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        if (artifact.folder / MANIFEST).stat().st_mtime_ns >= self._settled_ns:
            now_ns = disk_ns(self.root / ".scratch", 0)
            self.settle()
            self._settled_ns = now_ns
        return Ranges(partial(self._part, artifact, name), artifact.files[name]["n_bytes"]).buffered()

    def _part(self, artifact: Artifact, name: str, start: int, end: int) -> bytes:
        try:
            content = self.objects.part(self._name(artifact.folder / name), start, end)
        except FileNotFoundError as error:
            raise FileLost(self.url, name, artifact.key) from error
        if len(content) != end - start:
            raise OtherBytes(self.url, name, artifact.key)
        return content

    def files(self) -> Any:
        """What DuckDB reads the artifacts through: `warehouse.remote_files`."""
        from warehouse.remote_files import LakeFiles  # which takes fsspec along

        return LakeFiles(self.root)

    def bring(self, value: Any) -> None:
        """Fetches every file of the lake that the arguments of a work name, however deep."""
        if isinstance(value, Path | str):
            if str(value).startswith(f"{self.root}/artifacts/"):
                self.fetch(Path(value))
        elif isinstance(value, Mapping):
            self.bring([*value.keys(), *value.values()])
        elif isinstance(value, list | tuple | set | frozenset):
            for one in value:
                self.bring(one)
        elif is_dataclass(value) and not isinstance(value, type | Artifact):
            self.bring([getattr(value, each.name) for each in fields(value)])

    def _artifact_at(self, path: Path) -> tuple[Artifact | None, str]:
        """The artifact whose folder a path lies in, and the path from there."""
        kind, key, *parts = (*path.relative_to(self.root / "artifacts").parts, "", "")
        folder = self.root / "artifacts" / kind / key
        if not key or not self.bring_manifest(folder):
            return None, ""
        if folder not in self.known:
            self.known[folder] = read_artifact(folder)
        return self.known[folder], "/".join(filter(None, parts))

    def _fetch(self, artifact: Artifact, name: str) -> None:
        path, entry = artifact.folder / name, artifact.files[name]
        place, beside = self._name(path), self._beside()
        staged = f"{STAGED}/{artifact.key}/{artifact.digest}/{name}"
        with self._locks[path]:
            if path.exists():
                return
            try:
                for at in (place, staged, place):  # meanwhile it may have been moved
                    if self.objects.download(at, beside, entry["n_bytes"], entry["sha256"]):
                        name_file(beside, artifact.folder, name)
                        if at == staged:
                            self._settle(artifact.folder, artifact.digest, {name: entry}, artifact.folder)
                        return
            except FileNotFoundError as error:  # the artifact went from the copy
                raise TakenMeanwhile(self.url) from error
            finally:
                beside.unlink(missing_ok=True)
        raise (OtherBytes if self.objects.is_there(place) else FileLost)(self.url, name, artifact.key)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _beside(self) -> Path:
        return self.root / ".scratch" / unfinished()
