"""A bundle: all that somebody with the same licensed copies needs to pack a recipe's shards again, byte for byte.

It holds ids, spans, digests, requests and the recipe; no sound, no text and no label. (A text's id is a digest: whoever
guesses a short text can tell that it is there.) It is one zip file, and the same lake and recipe give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flows.doer import Waits
from flows.line import Line
from flows.plan import Planner
from flows.recipe import Recipe
from warehouse import Warehouse
from warehouse.arrays import texts_of
from warehouse.artifact import Artifact, Request
from warehouse.audit.errors import BadBundle, NotPacked
from warehouse.audit.lineage import closure_up
from warehouse.errors import InvalidField
from warehouse.hashing import canonical_json, file_digest
from warehouse.in_progress import replace_with, saying_disk_full
from warehouse.merged import is_merged, with_pieces
from warehouse.schema import FILES, UTTERANCES
from warehouse.tables import check_files, check_table, groups_of

FORMAT = 1
SPANS = ("utterance_id", "corpus", "unit", "path", "start_s", "end_s", "channel", "text_id")
"""What a bundle tells of an utterance. The digest of its recording is in the table of files, by path, and `audio_id` is
made from that and the span (`warehouse.schema.audio_id`): digests, which nothing makes shorter, are there once."""

_SPANS = pa.schema([UTTERANCES.field(name) for name in SPANS])
_FILES = pa.schema([UTTERANCES.field("corpus"), UTTERANCES.field("unit"), *FILES])
_TABLED = ("raw", "utterances")  # kinds whose rows are told, in this order
_GROUP_ROWS = 65_536  # that are written at once: many small tables become few groups

_REQUEST = [one.name for one in fields(Request)]
_encoded = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)  # the first that a zip file can state
_MOST_BYTES = 2**31  # of one member: what states more is no bundle of ours


@dataclass(frozen=True)
class Made:
    """An artifact as the sharing lake has it. `environment` is what it was made in."""

    request: Request
    digest: str
    environment: dict[str, Any]


@dataclass(frozen=True)
class Bundle:
    """A bundle as read.

    Args:
        digest: of the file.
        protocols: path relative to the recipe -> text, of those that are not shipped.
        artifacts: all that the shards rest on and the shards themselves, in the order in which they were made.
        files: corpus, unit and the columns of `warehouse.schema.FILES`.
        spans: the columns SPANS.
    """

    digest: str
    name: str
    recipe: str
    protocols: dict[str, str]
    artifacts: list[Made]
    files: pa.Table
    spans: pa.Table

    @property
    def shards(self) -> list[Made]:
        return [one for one in self.artifacts if one.request.kind == "shards"]


def shards_of(recipe: Recipe, warehouse: Warehouse, roots: dict[str, Path]) -> list[Artifact]:
    """Every training shard of a recipe's models, of raw files as the lake recorded them when they were read; where that
    is not enough (`features.ingest.trusted_works` says when) they are looked at.

    Raises:
        NotPacked: one of them is not there yet.
    """
    line = Line(recipe, warehouse, roots, Planner(warehouse), trust_raw=True)
    try:
        read = [line.shards(model) for model in recipe.models]
    except Waits as waits:
        raise NotPacked(recipe.name, waits.step) from waits
    return list({shard.key: shard for roles in read for own in roles.values() for shard in own}.values())


def write_bundle(path: Path, recipe: Recipe, warehouse: Warehouse, roots: dict[str, Path]) -> list[Artifact]:
    """Writes the bundle of a recipe's shards and lets `refs/bundles/<recipe>` keep what they rest on.

    Returns:
        The shards.

    Raises:
        NotPacked: a shard is missing.
        InvalidField: the recipe's protocol lies where no bundle can put it.
        DiskFull: there is no space for it.
    """
    protocols = _own_protocols(recipe)
    known = warehouse.artifacts()
    about = {"format": FORMAT, "name": recipe.name, "protocols": sorted(protocols)}
    written = io.BytesIO()  # and to the disk when it is whole: until then the one that was there stays
    with ThreadPoolExecutor(2) as threads, zipfile.ZipFile(written, "w") as bundle:

        def add(name: str, content: bytes | memoryview) -> None:
            how = zipfile.ZIP_STORED if name.endswith(".parquet") else zipfile.ZIP_DEFLATED  # Parquet is compressed
            bundle.writestr(zipfile.ZipInfo(name, _FIXED_TIME), content, how)

        def tables(own: Sequence[Artifact]) -> tuple[Future[memoryview], Future[memoryview]]:
            """Those of the members. What reads and writes columns holds no lock, so that both go on meanwhile."""
            recorded = [(a.path("files.parquet"), a.request.params) for a in own if a.request.kind == "raw"]
            read = [a.path("utterances.parquet") for a in own if a.request.kind == "utterances"]
            return (
                threads.submit(_parquet, _recordings(recorded), _FILES),
                threads.submit(_parquet, _utterances(read), _SPANS),
            )

        likely = _read_now(warehouse, recipe)
        recordings, utterances = tables(likely)  # begun while it is asked on what the shards rest
        shards = shards_of(recipe, warehouse, roots)
        keys = closure_up(known, [shard.key for shard in shards])
        artifacts = [a for a in with_pieces(known) if a.key in keys and not is_merged(a)]  # its pieces say the same
        rest_on = [a for kind in _TABLED for a in artifacts if a.request.kind == kind]
        if [a.key for a in rest_on] != [a.key for a in likely]:
            recordings, utterances = tables(rest_on)
        add("bundle.json", canonical_json(about))
        add("recipe.toml", recipe.text.encode())
        for number, name in enumerate(sorted(protocols)):
            add(f"protocols/{number}.toml", protocols[name].encode())
        add("artifacts.jsonl", b"\n".join(_lines(artifacts)))
        add("files.parquet", recordings.result())
        add("spans.parquet", utterances.result())
    content = written.getbuffer()
    with saying_disk_full(path.parent.absolute(), path.name):
        replace_with(path, content)
    digest = hashlib.sha256(content).hexdigest()
    warehouse.set_ref(f"bundles/{recipe.name}", {"digest": digest, "keys": sorted(keys)})
    return shards


def _read_now(warehouse: Warehouse, recipe: Recipe) -> list[Artifact]:
    """The records of raw files and the utterances that the names of a recipe's corpora point at."""
    refs = [ref for name, ref in warehouse.refs("corpora").items() if name in recipe.corpora]
    named = {digest for ref in refs for kind in _TABLED for digest in ref[kind]}
    return [a for kind in _TABLED for a in warehouse.artifacts(kind) if a.digest in named]


def _own_protocols(recipe: Recipe) -> dict[str, str]:
    """Path relative to the recipe -> text of the protocols that are not shipped."""
    stems = {model: entry.protocol.partition(":")[0] for model, entry in recipe.models.items()}
    found = {}
    for model, stem in stems.items():
        if stem.endswith(".toml"):
            if not _is_below(stem):
                problem = "has a protocol outside the recipe's folder: put it beside the recipe to share it"
                raise InvalidField(f"recipe '{recipe.name}'", f"models.{model}", problem)
            found[stem] = (recipe.folder / stem).read_text(encoding="utf-8")
    return found


def _is_below(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return bool(parts) and not PurePosixPath(path).is_absolute() and ".." not in parts and "\\" not in path


def _lines(artifacts: Sequence[Artifact]) -> Iterator[bytes]:
    """Artifacts in canonical JSON. They were read from such, which need not be looked through value by value again."""
    environments: dict[int, str] = {}  # by identity: many small works have one in common
    for a in artifacts:
        request = {name: getattr(a.request, name) for name in _REQUEST}
        try:
            if id(a.environment) not in environments:
                environments[id(a.environment)] = _encoded(a.environment)
            told = f'{{"digest":{_encoded(a.digest)},"environment":{environments[id(a.environment)]},"request":'
            yield f"{told}{_encoded(request)}}}".encode()
        except ValueError:  # of a manifest that was edited: this says what is wrong
            yield canonical_json({"request": request, "digest": a.digest, "environment": a.environment})


def _recordings(recorded: Iterable[tuple[Path, Mapping[str, Any]]]) -> Iterator[pa.Table]:
    """Raw files: of records and what their requests say of corpus and unit."""
    for path, params in recorded:
        for table in groups_of(path):
            check_table(table, FILES, str(path))
            told = [pa.repeat(texts_of([params[name]])[0], table.num_rows) for name in ("corpus", "unit")]
            columns = [*told, *table.select(FILES.names).columns]
            yield pa.Table.from_arrays(columns, schema=_FILES)


def _utterances(paths: Sequence[Path]) -> Iterator[pa.Table]:
    """Spans of tables of utterances."""
    check_files(paths, UTTERANCES)
    for path in paths:
        for table in groups_of(path, SPANS):
            check_table(table, _SPANS, str(path))
            yield pa.Table.from_arrays(table.columns, schema=_SPANS)


def _parquet(tables: Iterable[pa.Table], schema: pa.Schema) -> memoryview:
    """Tables as Parquet, some at a time: the memory that they take is used again for the next, and memory that is new
    takes longer to be given than to be filled."""
    stream = io.BytesIO()
    # Most columns tell rows apart, which no dictionary makes shorter; what is repeated the compression finds.
    how = {"compression": "zstd", "use_dictionary": False, "write_statistics": False}
    with pq.ParquetWriter(stream, schema, **how) as writer:
        waiting: list[pa.Table] = []
        n_rows = 0
        for table in tables:
            waiting.append(table)
            n_rows += table.num_rows
            if n_rows >= _GROUP_ROWS:
                writer.write_table(pa.concat_tables(waiting))
                waiting, n_rows = [], 0
        if waiting:
            writer.write_table(pa.concat_tables(waiting))
    return stream.getbuffer()


def read_bundle(path: Path) -> Bundle:
    """Reads a bundle; nothing is unpacked to the disk.

    Raises:
        BadBundle: it is none, it is damaged, or a newer Emolake wrote it.
    """
    if not path.is_file():
        raise BadBundle(path, "there is no such file")
    try:
        with zipfile.ZipFile(path) as bundle:
            about = json.loads(_member(bundle, "bundle.json"))
            if about["format"] != FORMAT:
                raise BadBundle(path, f"its format is {about['format']}, this version of Emolake reads {FORMAT}")
            if not all(_is_below(name) for name in about["protocols"]):
                raise BadBundle(path, "a protocol's path leads out of its folder")
            protocols = {
                name: _member(bundle, f"protocols/{number}.toml").decode()
                for number, name in enumerate(about["protocols"])
            }
            made = map(json.loads, _member(bundle, "artifacts.jsonl").splitlines())
            artifacts = [Made(Request.from_json(one["request"]), one["digest"], one["environment"]) for one in made]
            tables = [pq.read_table(io.BytesIO(_member(bundle, f"{name}.parquet"))) for name in ("files", "spans")]
            text = _member(bundle, "recipe.toml").decode()
            found = Bundle(file_digest(path), str(about["name"]), text, protocols, artifacts, *tables)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile, pa.ArrowException) as error:
        raise BadBundle(path, f"{type(error).__name__}: {error}") from error
    if not found.shards:
        raise BadBundle(path, "it holds no shard")
    return found


def _member(bundle: zipfile.ZipFile, name: str) -> bytes:
    if bundle.getinfo(name).file_size > _MOST_BYTES:
        raise ValueError(f"'{name}' would take more than {_MOST_BYTES} bytes")
    return bundle.read(name)
