"""What manifests said, remembered: a lake of 100,000 of them is not parsed again by every process that asks.

The folders are the truth. An artifact is there when its folder and its manifest are, and what a manifest says is used
without reading it again only while its time of change and its size are as they were. Even these are not looked at
where the folder of a kind says, by its inode and its time of change, that nothing came or went since they were: what
then happens within the folder of an artifact is damage, which `verify` finds, because it reads from the disk.

Two files for each kind of which there are many, below `.cache/manifests`:
    <kind>.rows     one row per manifest, as Parquet; written again when enough manifests are new or any is gone
    <kind>.names    what is new since, and the state of the kind's folder that both of them describe
Both are written whole beside and renamed, and begin with the digest of the rest: one that is absent, of another
version, cut or damaged remembers nothing. They may be deleted at any time, no process waits for another, and of two
that write at once one is right and the other, at worst, of no use.
"""

from __future__ import annotations

import gc
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from operator import attrgetter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.artifact import MANIFEST, Artifact, read_artifact
from warehouse.errors import UnreadableManifest
from warehouse.in_progress import disk_ns
from warehouse.manifest_rows import COLUMNS, STAMPED, Remembered, Rows, Stamp, row_of, table_of, unsealed, write_sealed
from warehouse.merged import Pieces

MANY = 64
"""Manifests of a kind that are parsed as fast as files of their own are looked into."""

SETTLED_NS = 2_000_000_000
"""A folder that changed more recently may change again without another time of change."""

_age = attrgetter("created_at", "key")


class ManifestIndex:
    """The artifacts of a lake by key, digest and age.

    Args:
        root: of the lake.
        unfinished: gives a name to what is being written; `.scratch` is swept of what a killed process left.
        pull: brings into a copy what the store has of a kind, or of all; of a lake in a folder there is none.
    """

    def __init__(
        self, root: Path, unfinished: Callable[[], str], pull: Callable[[str | None], None] | None = None
    ) -> None:
        self._root = root
        self.beside = lambda: root / ".scratch" / unfinished()
        self._kinds: dict[Path, _Kind] = {}
        self._all: tuple[list[_State], list[Artifact]] = ([], [])
        self._pull = pull

    def pull(self, kind: str | None) -> None:
        """Has what a store lists of a kind, or of all, in the copy."""
        if self._pull is not None:
            self._pull(kind)

    def at(self, folder: Path) -> Artifact:
        """The artifact of a folder.

        Raises:
            UnreadableManifest: also where there is none.
        """
        return self._kind(folder.parent).at(folder.name)

    def artifacts(self, kind: str | None = None) -> list[Artifact]:
        """All, or those of one kind, oldest first.

        Raises:
            UnreadableManifest.
        """
        states = self._states(kind)
        if len(states) == 1:
            return list(states[0].oldest_first)
        before, found = self._all
        if len(before) != len(states) or any(a is not b for a, b in zip(before, states, strict=True)):
            with uncollected():
                found = sorted(chain.from_iterable(state.oldest_first for state in states), key=_age)
            self._all = states, found
        return list(found)

    def with_digest(self, digest: str) -> list[Artifact]:
        """Every artifact with these bytes, by key; where there is none, the pieces that had them."""
        return self.as_of_now()(digest)

    def as_of_now(self) -> Callable[[str], list[Artifact]]:
        """`with_digest` for many digests: whatever comes and goes meanwhile, it answers as the lake is now."""
        states = self._states()

        def found(digest: str) -> list[Artifact]:
            those = [a for s in states if digest in s.key_of for a in s.with_digest(digest)]
            those = those or [p for s in states for p in s.pieces.with_digest(digest)]
            return sorted(those, key=attrgetter("key")) if len(those) > 1 else those

        return found

    def by_digest(self, kind: str) -> dict[str, Artifact]:
        """Digest -> the artifact of one kind with these bytes; of several the one whose key is first."""
        return {digest: artifact for state in self._states(kind) for digest, artifact in state.by_digest().items()}

    def starting_with(self, beginning: str) -> list[Artifact]:
        """Those whose key or digest begins so, oldest first."""
        return sorted((a for state in self._states() for a in state.starting_with(beginning)), key=_age)

    def table(self, *columns: str) -> pa.Table:
        """Some `COLUMNS` of all manifests."""
        wanted = pa.schema([COLUMNS.field(name) for name in columns])
        return pa.concat_tables([table_of([], wanted), *(state.table(wanted) for state in self._states())])

    def _states(self, kind: str | None = None) -> list[_State]:
        self.pull(kind)
        artifacts = self._root / "artifacts"
        try:
            names = sorted(os.listdir(artifacts)) if kind is None else [kind]
        except FileNotFoundError:
            return []
        return [self._kind(artifacts / name).state() for name in names]

    def _kind(self, folder: Path) -> _Kind:
        if folder not in self._kinds:
            self._kinds[folder] = _Kind(folder, self._root / ".cache" / "manifests", self.beside)
        return self._kinds[folder]


@dataclass(frozen=True)
class _State:
    """The artifacts of a kind as they were seen at once; replaced by another, never changed.

    Args:
        found: key -> artifact.
        stored: the file of rows that this process read, if any.
        fresh: key -> stamp of what that file lacks.
        seen: what the folder of the kind said of itself, and
        is_settled: whether another change would have made it say another thing.
    """

    found: Mapping[str, Artifact] = field(default_factory=dict)
    stored: Rows | None = None
    fresh: Mapping[str, Stamp] = field(default_factory=dict)
    seen: tuple[int, int] | None = None
    is_settled: bool = False

    @cached_property
    def oldest_first(self) -> list[Artifact]:
        return sorted(self.found.values(), key=_age)

    @cached_property
    def digests(self) -> list[str]:
        """In the order of what was found."""
        if isinstance(self.found, Remembered):
            return self.found.rows.digests
        return [artifact.digest for artifact in self.found.values()]

    @cached_property
    def key_of(self) -> dict[str, str]:
        """Digest -> a key; where several artifacts have these bytes, `keys_of` has all."""
        return dict(zip(self.digests, self.found, strict=True))

    @cached_property
    def keys_of(self) -> dict[str, list[str]]:
        keys: dict[str, list[str]] = {}
        if len(self.key_of) < len(self.found):
            count = Counter(self.digests)
            for digest, key in zip(self.digests, self.found, strict=True):
                if count[digest] > 1:
                    keys.setdefault(digest, []).append(key)
        return {digest: sorted(several) for digest, several in keys.items()}

    @cached_property
    def pieces(self) -> Pieces:
        return Pieces(self.oldest_first)

    def with_digest(self, digest: str) -> list[Artifact]:
        if digest not in self.key_of:
            return []
        return [self.found[key] for key in self.keys_of.get(digest, [self.key_of[digest]])]

    def by_digest(self) -> dict[str, Artifact]:
        """Of several the one whose key is first."""
        first = self.key_of | {digest: keys[0] for digest, keys in self.keys_of.items()}
        return {digest: self.found[key] for digest, key in first.items()}

    def starting_with(self, beginning: str) -> list[Artifact]:
        found = zip(self.found, self.digests, strict=True)
        return [self.found[key] for key, digest in found if key.startswith(beginning) or digest.startswith(beginning)]

    def stamps(self) -> dict[str, Stamp]:
        """Of the manifests, when they were read."""
        return {**(self.stored.stamps if self.stored else {}), **self.fresh}

    def table(self, columns: pa.Schema) -> pa.Table:
        """Rows of what was found: of the file, then of what is fresh."""
        rows = [row_of(self.found[key], stamp) for key, stamp in self.fresh.items()]
        fresh = table_of(rows, columns)
        if self.stored is None:
            return fresh
        table = self.stored.file.read(columns.names).select(columns.names).cast(columns)
        if len(self.found) - len(rows) < table.num_rows:
            kept = [self.stored.row_of[key] for key in self.found if key not in self.fresh]
            table = table.take(pa.array(sorted(kept), pa.int64()))
        return pa.concat_tables([table, fresh])


class _Kind:
    """One kind: its folder, and what is remembered of it."""

    def __init__(self, folder: Path, cache: Path, beside: Callable[[], Path]) -> None:
        self.folder, self._cache, self._beside = folder, cache, beside
        self._state = _State()
        self._is_loaded = False
        self._single: dict[str, tuple[Stamp, Artifact]] = {}

    def at(self, key: str) -> Artifact:
        """One artifact, without a look at the others."""
        try:
            stamp = _stamp(f"{self.folder}/{key}/{MANIFEST}")
        except OSError:
            return read_artifact(self.folder / key)  # which says why there is none
        if key not in self._single or self._single[key][0] != stamp:
            self._single[key] = stamp, read_artifact(self.folder / key)
        return self._single[key][1]

    def state(self) -> _State:
        """All artifacts as they are now."""
        try:
            status = os.stat(self.folder)
        except FileNotFoundError:
            return _State()
        now = status.st_ino, status.st_ctime_ns
        if not self._is_loaded:
            with uncollected():
                self._is_loaded, self._state = True, self._load(now)
        if self._state.seen != now or not self._state.is_settled:
            with uncollected():
                # By the clock of the disk, whose times folders bear; a lake that cannot be written to can be asked.
                self._state = self._look(now, now[1] < disk_ns(self._beside().parent, time.time_ns()) - SETTLED_NS)
        return self._state

    def _look(self, now: tuple[int, int], is_settled: bool) -> _State:
        """Lists the folder and looks at every manifest, or only at those of new folders where the kind's own says the
        same as before; reads those that are not known as they are."""
        before = self._state
        found: dict[str, Artifact] = {}
        fresh: dict[str, Stamp] = {}
        try:
            names = os.listdir(self.folder)
        except (FileNotFoundError, NotADirectoryError):
            return _State()
        n_old, known = 0, {} if before.seen == now else before.stamps()
        n_without = 0  # a manifest that comes later, as in a copy, does not touch the kind's own folder
        for key in names:
            if before.seen == now and key in before.found:
                found[key], stamp = before.found[key], before.fresh.get(key)
            else:
                try:
                    stamp = _stamp(f"{self.folder}/{key}/{MANIFEST}")
                except (FileNotFoundError, NotADirectoryError):
                    n_without += os.path.isdir(f"{self.folder}/{key}")
                    continue  # remains without a manifest do not exist
                if known.get(key) == stamp and key in before.found:
                    found[key], stamp = before.found[key], before.fresh.get(key)
                elif (artifact := self._read(key, stamp)) is not None:
                    found[key] = artifact
                else:
                    n_without += 1
                    continue
            if stamp is None:
                n_old += 1
            else:
                fresh[key] = stamp
        state = _State(found, before.stored, fresh, now, is_settled and not n_without)
        try:
            return self._save(state, len(state.stored.row_of) - n_old if state.stored else 0)
        except OSError:
            return state  # a lake that cannot be written to can be asked

    def _read(self, key: str, stamp: Stamp) -> Artifact | None:
        """A manifest; None where it went meanwhile."""
        if key not in self._single or self._single[key][0] != stamp:
            try:
                self._single[key] = stamp, read_artifact(self.folder / key)
            except UnreadableManifest as error:
                if isinstance(error.__cause__, FileNotFoundError):
                    return None
                raise
        return self._single[key][1]

    # -- the two files -----------------------------------------------------------------------------------------

    def _path(self, ending: str) -> Path:
        return self._cache / f"{self.folder.name}.{ending}"

    def _load(self, now: tuple[int, int]) -> _State:
        names, content = unsealed(self._path("names")), unsealed(self._path("rows"))
        if content is None:
            return _State()
        stored = Rows(content, self.folder)
        state = _State(stored.artifacts, stored)
        told = json.loads(names) if names else {}
        if told.get("rows") != stored.seal or tuple(told["seen"]) != now:
            return state
        fresh = {key: (mtime_ns, size) for key, mtime_ns, size in told["fresh"]}
        try:
            read = {key: self._read(key, stamp) for key, stamp in fresh.items()}
        except UnreadableManifest:
            return state
        there = {key: artifact for key, artifact in read.items() if artifact is not None}
        if len(there) < len(fresh):
            return state
        found = {**stored.artifacts, **there} if there else stored.artifacts
        return _State(found, stored, fresh, now, is_settled=True)

    def _save(self, state: _State, n_gone: int) -> _State:
        """Writes what spares later processes work: rows when many are new or any is gone, else what is new."""
        if len(state.found) < MANY:
            for ending in ("names", "rows") if state.stored else ():
                self._path(ending).unlink(missing_ok=True)
            return state
        if n_gone or len(state.fresh) >= max(MANY, len(state.found) // MANY):
            sink = pa.BufferOutputStream()
            rows = state.table(STAMPED).sort_by([("created_at", "ascending"), ("key", "ascending")])
            pq.write_table(rows, sink, compression="zstd", use_dictionary=["kind", "step", "plugin_key", "environment"])
            content = sink.getvalue().to_pybytes()
            self._write("rows", content)
            state = replace(state, stored=Rows(content, self.folder), fresh={})
        if state.is_settled and state.stored:
            fresh = [[key, *stamp] for key, stamp in state.fresh.items()]
            told = {"rows": state.stored.seal, "seen": state.seen, "fresh": fresh}
            self._write("names", json.dumps(told).encode())
        return state

    def _write(self, ending: str, content: bytes) -> None:
        write_sealed(self._path(ending), content, self._beside())


@contextmanager
def uncollected() -> Iterator[None]:
    """Python looks for what it may free each time that many objects are new; here all of them stay."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _stamp(path: str) -> Stamp:
    status = os.stat(path)
    return status.st_mtime_ns, status.st_size
