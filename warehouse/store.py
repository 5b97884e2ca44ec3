"""The lake: a folder of immutable artifacts, found by request, and the questions asked of it through DuckDB. One on an
object store is a folder too, the copy of it that this host has (`warehouse.remote`).

Layout:
    lake.json                         {"format": 1}, "id" (`warehouse.marker`); of a copy also "store", its URL
    artifacts/<kind>/<key>/           files and manifest.json; a folder without a manifest does not exist
    .cache/manifests/                 what manifests said, remembered (`warehouse.manifest_index`); may be deleted
    refs/<name>.json                  the few names that move: the current reading of a corpus, the last run of a recipe
    .resume/<key>/                    states of fits that were ended before their artifact was there (`models.resume`);
                                      of a lake on a store there too (`warehouse.stored_states`)
    .logs/<key>/                      what a fit told TensorBoard (`models.logs`); no artifact
    .damaged/                         what `emolake verify --repair` moved aside (`warehouse.audit.aside`)
    .scratch/                         work in progress; swept, like files half-written, when its process is gone
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.artifact import MANIFEST, Artifact, Request, Work, commit
from warehouse.audit.tombstones import successors, with_purged
from warehouse.errors import (
    AmbiguousReference,
    ArtifactNotFound,
    EmolakeError,
    NameTooLong,
    NewerFormat,
    NotALake,
    QueryFailed,
)
from warehouse.hashing import canonical_json
from warehouse.in_progress import is_left, is_surely_left, saying_disk_full, unfinished, write_atomically
from warehouse.manifest_index import MANY, ManifestIndex
from warehouse.merged import pieces_called
from warehouse.migrations import migrate
from warehouse.operating_errors import NoLakeYet
from warehouse.refs import read_ref
from warehouse.remote import Store, attached, folder_of, url_of
from warehouse.schema import FORMAT, check_id
from warehouse.secrets import refuse_secrets
from warehouse.taking import announced, forget_left

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_RECORDED = (
    "av", "duckdb", "lightning-fabric", "numpy", "opensmile", "pocketsphinx", "prefect", "pyarrow", "scikit-learn",
    "soundfile", "soxr", "tokenizers", "torch", "transformers", "webdataset",
)  # fmt: skip
_LONGEST_NAME = 250  # bytes of a part of a ref's name: a file's has 255, with its '.json'


@cache
def environment() -> dict[str, Any]:
    """What is recorded beside every artifact and never hashed: interpreter, machine type, library versions; to which
    `materialize` adds the seconds of work."""
    packages = {}
    for name in _RECORDED:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # the image of a GPU host or of a worker holds fewer
    return {"python": platform.python_version(), "machine": platform.platform(), "packages": packages}


class Warehouse:
    """One lake.

    Args:
        root: its folder, or the URL of a lake on a store, such as s3://bucket/lake.
        create: make it when it is absent.

    Raises:
        NotALake: the folder is no lake and `create` is false.
        NewerFormat: a newer Emolake wrote it.
        NoLakeUrl: it looks like a URL and is none. SecretToldOn: a password is in the URL.
        OtherLake: the folder is a copy of what is not on the store any more.
    """

    def __init__(self, root: Path | str, create: bool = False) -> None:
        self.root = (folder_of(root) if isinstance(root, str) else root).absolute()
        url = url_of(self.root)
        self.store: Store | None = attached(self.root, url, create) if url else None
        marker = self.root / "lake.json"
        if not marker.exists():
            if not create:
                raise NoLakeYet(self.root)
            with saying_disk_full(self.root, marker.name):
                write_atomically(marker, {"format": FORMAT})
        found = _format(marker)
        if found > FORMAT:
            raise NewerFormat(self.root, found, FORMAT)
        if found < FORMAT:
            migrate(self.root, found)
            write_atomically(marker, json.loads(marker.read_bytes()) | {"format": FORMAT})
        self.manifests = ManifestIndex(self.root, unfinished, self.store.puller() if self.store else None)
        self._sweep()

    @property
    def name(self) -> str:
        """As people call it: its folder, or its URL."""
        return self.store.url if self.store else str(self.root)

    @property
    def uri(self) -> str:
        """As other programs call it."""
        return self.store.url if self.store else self.root.as_uri()

    # -- artifacts ---------------------------------------------------------------------------------------------

    def folder_of(self, request: Request) -> Path:
        return self.root / "artifacts" / check_id("kind", request.kind) / request.key

    def find(self, request: Request) -> Artifact | None:
        """The answer to a request if it exists; on a store it is asked for by its name."""
        folder = self.folder_of(request)
        is_there = (folder / MANIFEST).exists() or (self.store is not None and self.store.bring_manifest(folder))
        return self.manifests.at(folder) if is_there else None

    def find_all(self, requests: Sequence[Request]) -> list[Artifact | None]:
        """The answers to several that there are. Many are looked up among all of their kind: to read one manifest after
        the other takes longer. What is remembered of a kind may outlive a manifest that somebody deleted, so whether
        each is there is asked, as of few. On a store all are looked up so, because its listing may miss the newest."""
        if len(requests) < MANY and self.store is None:
            return [self.find(request) for request in requests]
        kinds = {request.kind for request in requests}
        there = {kind: {one.key: one for one in self.artifacts(kind)} for kind in kinds}
        found = [there[request.kind].get(request.key) for request in requests]
        if self.store is not None:
            return found
        return [one if one and os.path.exists(f"{one.folder}/{MANIFEST}") else None for one in found]

    def adopt(self, artifacts: Iterable[Artifact]) -> None:
        """Makes artifacts known to listings that other hosts made in a lake on a store."""
        if self.store is not None:
            self.store.adopt(artifacts)

    def materialize(
        self, request: Request, write: Callable[[Path], None], beside: Mapping[str, Any] | None = None
    ) -> Artifact:
        """The answer to a request: the one that exists, or the one that `write(folder)` makes now.

        Whatever stops `write` leaves no artifact. Two processes that make the same one do no harm: the first to
        finish wins and both get its artifact.

        Args:
            beside: recorded with the environment, never hashed; `write` may fill it.

        Raises:
            DiskFull: the disk of the lake ran full; nothing half-written stays.
        """
        found = self.find(request)
        if found is not None:
            return found
        with self.scratch(request.step) as scratch:
            began = time.monotonic()
            write(scratch)
            recorded = environment() | {"work_s": round(time.monotonic() - began, 3)} | dict(beside or {})
            created_at = datetime.now(UTC).isoformat(timespec="milliseconds")
            publish = self.store.publish if self.store else None
            return commit(request, scratch, self.folder_of(request), recorded, created_at, publish)

    def perform(self, work: Work) -> Artifact:
        """`materialize` with the work's own function."""
        if work.function is None:
            raise TypeError(f"'{work.request.step}' is a job: launch it, it has no function")
        return self.materialize(work.request, partial(self._write, work.function, work.arguments))

    def _write(self, function: Callable[..., None], arguments: Mapping[str, Any], folder: Path) -> None:
        if self.store is not None:
            self.store.bring(arguments)
        function(folder, **arguments)

    def find_folder(self, folder: Path) -> Artifact:
        """The artifact of a folder; its manifest is read once.

        Raises:
            UnreadableManifest.
        """
        if self.store is not None:
            self.store.bring_manifest(folder)
        return self.manifests.at(folder)

    def artifacts(self, kind: str | None = None) -> list[Artifact]:
        """All artifacts, or those of one kind, oldest first."""
        return self.manifests.artifacts(kind)

    def with_digest(self, digest: str) -> list[Artifact]:
        """Every artifact with these bytes, by key: two requests may have had the same answer, and which was first must
        not decide what is said of it. Of bytes that a purge took, what stands in their place; of those that lie with
        others now, the piece."""
        found = self.manifests.with_digest(digest)
        return found or self.manifests.with_digest(successors(self.root).get(digest, digest))

    def by_digest(self, kind: str) -> dict[str, Artifact]:
        """Digest -> the artifact of one kind with these bytes; of several the first of `with_digest`."""
        return with_purged(self.root, self.manifests.by_digest(kind))

    def resolve(self, reference: str) -> Artifact:
        """The artifact that a person means: a key, a digest, the beginning of either, or the name of a ref.

        Raises:
            ArtifactNotFound, AmbiguousReference.
        """
        named = self.ref(reference)
        if named is not None and "artifact" in named:
            reference = named["artifact"]
        found = {a.digest: a for a in self.manifests.starting_with(reference)} if reference else {}
        if reference and not found:
            found = {p.digest: p for p in pieces_called(self, reference)}
        if not found:
            raise ArtifactNotFound(reference)
        if len(found) > 1:
            raise AmbiguousReference(reference, [a.key[:12] for a in found.values()])
        return next(iter(found.values()))

    @contextmanager
    def scratch(self, step: str, is_announced: bool = False) -> Iterator[Path]:
        """A folder below the lake that is gone afterwards, or, where this process was killed, when the lake is opened
        the next time.

        Args:
            is_announced: on a store, runs and jobs tell other hosts of it, and none takes anything away meanwhile.

        Raises:
            DiskFull: `step` needs more than there is. BeingTaken.
        """
        folder = self.root / ".scratch" / unfinished()
        is_told = announced(self.store, folder.name) if self.store is not None and is_announced else nullcontext()
        try:
            with saying_disk_full(self.root, step):
                folder.mkdir(parents=True)
                with is_told:
                    yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    # -- refs --------------------------------------------------------------------------------------------------

    def ref(self, name: str) -> dict[str, Any] | None:
        """What a name points at now; None when there is no such name.

        Raises:
            UnreadableRef: it is damaged. NameTooLong.
        """
        path = self._ref_path(name)
        if self.store is not None:
            self.store.bring_ref(name)
        return read_ref(path) if path.exists() else None

    def set_ref(self, name: str, value: Mapping[str, Any]) -> None:
        """Points a name at something else, atomically; writes nothing when it points there already.

        Raises:
            SecretToldOn: it would hold a password or a key. NameTooLong.
        """
        refuse_secrets(json.dumps(value, ensure_ascii=False, default=str), f"the name '{name}'")
        if self.ref(name) != json.loads(canonical_json(value)):
            if self.store is not None:
                self.store.objects.put(f"refs/{name}.json", canonical_json(value))
            with saying_disk_full(self.root, f"refs/{name}"):
                write_atomically(self._ref_path(name), value)

    def refs(self, group: str) -> dict[str, dict[str, Any]]:
        """The refs of one group, such as 'corpora', by their last name.

        Raises:
            UnreadableRef: one is damaged.
        """
        if self.store is not None:
            self.store.bring_refs()
        paths = sorted((self.root / "refs" / group).glob("*.json"))
        return {path.stem: read_ref(path) for path in paths}

    # -- questions ---------------------------------------------------------------------------------------------

    def connect(self, query: str | None = None, files: Any = None) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection (in memory) with one view per table of the lake as it is now; see `warehouse.views`.

        It reads files of the lake's artifacts only, reaches no network, and its settings are locked; see
        `warehouse.questions`.

        Args:
            query: to have those views only that it may read, which in a large lake is quicker.
            files: of a lake on a store what it is read through, for who wants to know what failed there.
        """
        from warehouse import views  # with DuckDB, which only questions need
        from warehouse.questions import closed_connection

        with suppress(OSError):  # a lake that cannot be written to can be asked
            (self.root / ".scratch").mkdir(exist_ok=True)
        files = files or self._files()
        connection = closed_connection([self.root / "artifacts"], self.root / ".scratch" / unfinished(), files=files)
        views.create(connection, self, query)
        return connection

    def sql(self, query: str, parameters: Mapping[str, Any] | None = None) -> duckdb.DuckDBPyRelation:
        """Answers one SELECT over the lake: call `.arrow()`, `.pl()`, `.df()`, `.fetchall()` or print it.

        Raises:
            QueryFailed: DuckDB's own words, or it is anything but one SELECT (COPY, ATTACH and the like could write).
            StoreFails, FileLost, OtherBytes: of a lake on a store.

        Example:
            ``wh.sql("SELECT corpus, count(*) FROM utterances GROUP BY ALL").pl()``
        """
        return self._answer(query, parameters, self._files())

    def _answer(self, query: str, parameters: Mapping[str, Any] | None, files: Any) -> duckdb.DuckDBPyRelation:
        import duckdb

        try:
            try:
                return self._ask(query, parameters, query, files)
            except duckdb.CatalogException:  # a wrong name: seeing all views, DuckDB says which was meant
                return self._ask(query, parameters, None, files)
        except duckdb.Error as error:
            raise _mistake(files, str(error)) from error

    def _ask(
        self, query: str, parameters: Mapping[str, Any] | None, named_in: str | None, files: Any
    ) -> duckdb.DuckDBPyRelation:
        import duckdb

        from warehouse.questions import refuse_unless_question

        try:
            connection = self.connect(named_in, files)
        except duckdb.Error as error:
            raise _mistake(files, f"the lake is damaged, see `emolake verify` ({error})") from error
        refuse_unless_question(connection, query, parameters)
        return connection.sql(query, params=parameters) if parameters else connection.sql(query)

    def table(self, query: str) -> pa.Table:
        """`sql` answered at once, as an Arrow table.

        Raises:
            QueryFailed, StoreFails, FileLost, OtherBytes: also for what only shows while the query runs.
        """
        import duckdb

        files = self._files()
        relation = self._answer(query, None, files)
        try:
            return relation.to_arrow_table()
        except duckdb.Error as error:
            raise _mistake(files, str(error)) from error

    # -- inside ------------------------------------------------------------------------------------------------

    def _files(self) -> Any:
        return self.store.files() if self.store is not None else None

    def _ref_path(self, name: str) -> Path:
        if max(map(len, os.fsencode(name).split(b"/"))) > _LONGEST_NAME:
            raise NameTooLong(name, _LONGEST_NAME)
        refs = (self.root / "refs").resolve()
        path = (refs / f"{name}.json").resolve()
        if not path.is_relative_to(refs):
            raise ArtifactNotFound(name)
        return path

    def _sweep(self) -> None:
        """Removes what processes of this host left when they were killed: scratch, and what was to replace a file."""
        replacing = (path for name in ("refs", "receipts", ".purge") for path in (self.root / name).rglob(".*"))
        for path in [*(self.root / ".scratch").glob("*"), *self.root.glob(".*"), *replacing]:
            if is_left(path):
                if path.is_dir():
                    if self.store is not None and is_surely_left(path):
                        forget_left(self.store, path.name)
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)


def _mistake(files: Any, why: str) -> EmolakeError:
    """What the store failed with, where it is that, for DuckDB words it as an error of the program."""
    return (files.failed() if files is not None else None) or QueryFailed(why)


def _format(marker: Path) -> int:
    try:
        found = json.loads(marker.read_bytes())["format"]
    except (ValueError, KeyError, TypeError):
        found = None
    if type(found) is not int or found < 1:
        raise NotALake(marker.parent, f"its {marker.name} does not state a format")
    return found
