"""A bundle: all that somebody with the same licensed copies needs to pack a recipe's shards again, byte for byte.

It holds ids, spans, digests, requests and the recipe; no sound, no text and no label. (A text's id is a digest: whoever
guesses a short text can tell that it is there.) It is one zip file, and the same lake and recipe give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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
from warehouse.audit.errors import BadBundle, DamagedFile, NotPacked
from warehouse.audit.lineage import closure_up
from warehouse.errors import InvalidField, NotCanonical
from warehouse.hashing import canonical_json, file_digest, recoded
from warehouse.in_progress import replace_with, saying_disk_full
from warehouse.merged import is_merged, with_pieces
from warehouse.schema import FILES, UTTERANCES
from warehouse.tables import check_files, check_table, groups_of, reading

FORMAT = 2
SPANS = ("utterance_id", "corpus", "unit", "path", "start_s", "end_s", "channel", "text_id")
"""What a bundle tells of an utterance, beside the key of the `reading` that has it. Its `recording_id` is the digest of
the file at `path` in the nearest record of raw files above that reading that has such a path, and its `audio_id`, where
it has sound, is made from that and the span (`warehouse.schema.audio_id`): half of the bytes of a table of spans."""

_SPANS = pa.schema([pa.field("reading", pa.string(), nullable=False), *(UTTERANCES.field(name) for name in SPANS)])
_FILES_OF_UNITS = pa.schema(
    [pa.field("record", pa.string(), nullable=False), UTTERANCES.field("corpus"), UTTERANCES.field("unit"), *FILES]
)
_FILES, _UTTERANCES = "files.parquet", "utterances.parquet"
_GROUP_ROWS = 65_536  # that are written at once: many small tables become few groups

_DAMAGE = (
    OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, EOFError, OverflowError, NotCanonical,
    zlib.error, zipfile.BadZipFile, pa.ArrowException,
)  # fmt: skip
"""What is raised of a file that is no bundle: RuntimeError where it is encrypted, or deeper than Python goes."""

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
        files: key of the record, corpus, unit and the columns of `warehouse.schema.FILES`.
        spans: `reading` and the columns SPANS.
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
    about = {"format": FORMAT, "name": recipe.name, "protocols": sorted(protocols)}
    written = io.BytesIO()  # and to the disk when it is whole: until then the one that was there stays
    with ThreadPoolExecutor(1) as threads, zipfile.ZipFile(written, "w") as bundle:

        def add(name: str, content: bytes | memoryview) -> None:
            how = zipfile.ZIP_STORED if name.endswith(".parquet") else zipfile.ZIP_DEFLATED  # Parquet is compressed
            bundle.writestr(zipfile.ZipInfo(name, _FIXED_TIME), content, how)

        likely = _likely_read(warehouse, recipe)
        spans = threads.submit(_spans, likely)  # which holds no lock, and goes on while it is asked what shards rest on
        shards = shards_of(recipe, warehouse, roots)
        known = warehouse.artifacts()
        keys = closure_up(known, [shard.key for shard in shards])
        artifacts = [a for a in with_pieces(known) if a.key in keys and not is_merged(a)]  # its pieces say the same
        read = [(a.key, a.path(_UTTERANCES)) for a in artifacts if a.request.kind == "utterances"]
        if read != likely:
            spans = threads.submit(_spans, read)
        add("bundle.json", canonical_json(about))
        add("recipe.toml", recipe.text.encode())
        for number, name in enumerate(sorted(protocols)):
            add(f"protocols/{number}.toml", protocols[name].encode())
        add("artifacts.jsonl", b"\n".join(_lines(artifacts)))
        for record in artifacts:
            if record.request.kind == "raw":
                add(_member_of(record.request), _record(record))
        add("spans.parquet", spans.result())
    content = written.getbuffer()
    with saying_disk_full(path.parent.absolute(), path.name):
        replace_with(path, content)
    digest = hashlib.sha256(content).hexdigest()
    warehouse.set_ref(f"bundles/{recipe.name}", {"digest": digest, "keys": sorted(keys)})
    return shards


def _likely_read(warehouse: Warehouse, recipe: Recipe) -> list[tuple[str, Path]]:
    """Key and table of the utterances that the names of a recipe's corpora point at, of those that are on this host."""
    own = {*recipe.corpora, *recipe.retold}
    refs = [ref for name, ref in warehouse.refs("corpora").items() if name in own]
    named = {digest for ref in refs for digest in ref.get("utterances", ())}
    found = [a for a in warehouse.artifacts("utterances") if a.digest in named and a.is_here(_UTTERANCES)]
    return [(a.key, a.path(_UTTERANCES)) for a in found]


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
    """Artifacts in canonical JSON."""
    environments: dict[int, str] = {}  # by identity: many small works have one in common
    for a in artifacts:
        try:
            if id(a.environment) not in environments:
                environments[id(a.environment)] = recoded(a.environment)
            told = f'{{"digest":{recoded(a.digest)},"environment":{environments[id(a.environment)]},"request":'
            yield f"{told}{a.request.told()}}}".encode()
        except ValueError:  # of a manifest that was edited: this says what is wrong
            about = {"request": a.request.as_json(), "digest": a.digest, "environment": a.environment}
            yield canonical_json(about)


def _member_of(record: Request) -> str:
    """The name of a member with the raw files of one unit, as they were recorded."""
    return f"files/{record.key}.parquet"


def _record(record: Artifact) -> bytes:
    """The bytes of a record of raw files.

    Raises:
        SchemaMismatch: it is gone.
        DamagedFile: it is not as it was made.
    """
    path = record.path(_FILES)
    with reading(path):
        content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != record.files[_FILES]["sha256"]:
        raise DamagedFile(path)
    return content


def _spans(read: Sequence[tuple[str, Path]]) -> memoryview:
    """Spans of tables of utterances as Parquet, some rows at a time: the memory that they take is used again for the
    next, and memory that is new takes longer to be given than to be filled.

    Args:
        read: keys and tables.
    """
    check_files([path for _, path in read], UTTERANCES)
    stream = io.BytesIO()
    # Most columns tell rows apart, which no dictionary makes shorter; what is repeated the compression finds.
    how = {"compression": "zstd", "use_dictionary": False, "write_statistics": False}
    with pq.ParquetWriter(stream, _SPANS, **how) as writer:
        waiting: list[pa.Table] = []
        n_rows = 0
        for key, path in read:
            for table in groups_of(path, SPANS):
                reading_of = pa.repeat(texts_of([key])[0], table.num_rows)
                table = pa.Table.from_arrays([reading_of, *table.columns], schema=_SPANS)
                check_table(table, _SPANS, str(path))
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
            if len({one.request.key for one in artifacts}) < len(artifacts):
                raise BadBundle(path, "it tells an artifact twice")
            files = [_files_of(bundle, one.request) for one in artifacts if one.request.kind == "raw"]
            tables = pa.concat_tables([_FILES_OF_UNITS.empty_table(), *files]), _table(bundle, "spans.parquet", _SPANS)
            text = _member(bundle, "recipe.toml").decode()
            found = Bundle(file_digest(path), str(about["name"]), text, protocols, artifacts, *tables)
    except _DAMAGE as error:
        raise BadBundle(path, f"{type(error).__name__}: {error}") from error
    if not found.shards:
        raise BadBundle(path, "it holds no shard")
    return found


def _files_of(bundle: zipfile.ZipFile, record: Request) -> pa.Table:
    """The raw files of a unit, and which it is of what."""
    table = _table(bundle, _member_of(record), FILES)
    about = record.key, record.params["corpus"], record.params["unit"]
    told = [pa.repeat(texts_of([one])[0], table.num_rows) for one in about]
    return pa.Table.from_arrays([*told, *table.columns], schema=_FILES_OF_UNITS)


def _table(bundle: zipfile.ZipFile, name: str, schema: pa.Schema) -> pa.Table:
    """A member with the columns of a schema; raises KeyError or ArrowInvalid where it is none."""
    return pq.read_table(io.BytesIO(_member(bundle, name))).select(schema.names).cast(schema)


def _member(bundle: zipfile.ZipFile, name: str) -> bytes:
    if bundle.getinfo(name).file_size > _MOST_BYTES:
        raise ValueError(f"'{name}' would take more than {_MOST_BYTES} bytes")
    return bundle.read(name)
