"""One artifact without what was withdrawn: which rows go, what becomes of its files, what its request is then.

Rows go by the ids in their columns, members of tars and waves by the utterance they are named after, and a file that is
no table (a report, a page, JSON) goes as a whole, with its artifact, where it names an utterance or quotes a text that
goes. What stays is written by the writer of every table and tar, so rows that stay are the same bits.

A reading (raw record, utterances, labels, the alignment that a corpus ships) gets the very request that the next ingest
will make, for it is what that would write; everything else gets its old request with the inputs of now and a mark
(`purged`): it is what was made then, less some rows, and no step that ran today would have to give the same.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.arrays import texts_of
from warehouse.artifact import Artifact, Request
from warehouse.audit.errors import DamagedBefore
from warehouse.audit.holders import one_connection, rows_about
from warehouse.audit.tombstones import WITHDRAWN
from warehouse.audit.withdrawal import Withdrawal
from warehouse.hashing import canonical_json, digest
from warehouse.schema import UTTERANCES
from warehouse.shards import INDEX, TAR, ShardReader, write_shard
from warehouse.tables import columns_of, write_table

PURGED = "purged"
"""The field of params that says which purges an artifact went through."""

MODELS = ("checkpoint", "acoustic_model", "weights", "canary", "first_canary")
"""Kinds that hold no row about anybody, only what was learned: they are marked where they must be, never rewritten
because a file of theirs has a word in it."""

_TOKEN = re.compile(rb"[A-Za-z0-9_-]{6,}")
_BLOCK = 1 << 22
_LONGEST = 512
_OPAQUE = (".parquet", ".tar", ".safetensors")

_IDS = frozenset({"utterance_id", "input_id"})
"""Columns of any table by which its rows go."""

How = Literal["rewritten", "renewed", "removed"]


@dataclass(frozen=True)
class Change:
    """What becomes of one artifact: 'rewritten' without some rows, 'renewed' with the same bytes under the request that
    holds from now on, or 'removed'. `gone` counts the rows that go by table."""

    artifact: Artifact
    how: How
    gone: Mapping[str, int] = field(default_factory=dict)
    n_left: int = 0
    why: str = ""


def is_reading(request: Request) -> bool:
    """Whether a request says all that its answer depends on, so that the next ingest makes the same one."""
    return "reader" in request.params or (request.kind == "raw" and "files" in request.params)


def rows_going(artifacts: Iterable[Artifact], withdrawal: Withdrawal) -> dict[Path, int]:
    """How many rows go from each table of some artifacts, asked of all at once: most of a lake is in them. Left out are
    those of which `_kept` decides by more than ids: failures, and what tells of raw files.

    Raises:
        DamagedBefore: a table is missing, or none.
    """
    tables: dict[tuple[str, tuple[str, ...]], list[Path]] = {}
    for artifact in artifacts:
        for name in artifact.files:
            if name.endswith(".parquet"):
                try:
                    keys = _keys(path := artifact.path(name))
                except (OSError, pa.ArrowInvalid) as error:
                    raise DamagedBefore([f"{artifact.request.kind}/{artifact.key[:12]}"]) from error
                if keys and keys <= _IDS and name != "failures.parquet":
                    tables.setdefault((name, tuple(sorted(keys))), []).append(path)
    ids = {"utterance_id": withdrawal.utterances, "input_id": withdrawal.inputs}
    found = dict.fromkeys((path for paths in tables.values() for path in paths), 0)
    with one_connection():
        for (_, columns), paths in tables.items():
            found |= rows_about(paths, {column: ids[column] for column in columns})
    return found


def change_of(
    artifact: Artifact, withdrawal: Withdrawal, changed: Collection[str], concerned: bool,
    going: Mapping[Path, int] = MappingProxyType({}),
) -> Change | None:  # fmt: skip
    """What must become of an artifact; None where nothing must.

    Args:
        changed: digests of the artifacts before it that are rewritten or removed.
        concerned: whether the tombstone concerns it, as one of a reader's utterances or labels.
        going: what is known already of how many rows go from its tables (`rows_going`).
    """
    gone: dict[str, int] = {}
    n_rows = 0
    for name in sorted(name for name in artifact.files if name.endswith(".parquet")):
        path = artifact.path(name)
        if path in going:
            n_gone, n_own = going[path], pq.read_metadata(path).num_rows
        elif (table := _ids(path)) is not None:
            n_gone, n_own = _goes(table, name, artifact, withdrawal), table.num_rows
        else:
            continue
        gone |= {name: n_gone} if n_gone else {}
        n_rows += n_own
    n_left = n_rows - sum(gone.values())
    reading = is_reading(artifact.request)
    if gone and not n_left and not reading and artifact.request.kind not in MODELS:
        return Change(artifact, "removed", gone, 0, "no row is left")
    if gone or _has_moved(artifact, changed):
        return Change(artifact, "rewritten", gone, n_left)
    if artifact.request.kind not in MODELS and (name := _naming(artifact, withdrawal)):
        return Change(artifact, "removed", {}, 0, f"{name} names what goes")
    left = without(artifact.request.params, withdrawal.utterances)
    if withdrawal.utterances & {word.decode() for word in _TOKEN.findall(canonical_json(left))}:
        return Change(artifact, "removed", {}, 0, "its request names what goes")
    if left != artifact.request.params:
        return Change(artifact, "renewed")
    cites = {one for digests in artifact.request.inputs.values() for one in digests}
    return Change(artifact, "renewed") if concerned or (reading and cites & set(changed)) else None


def renewed(
    artifact: Artifact, withdrawal: Withdrawal, resolve: Callable[[str], str], purge: str, concerned: bool
) -> Request:
    """The request of what stands in an artifact's place.

    Args:
        resolve: digest of an input -> that of what stands in its place, '' where nothing does.
        purge: id of the purge and of its tombstone.
        concerned: as in `change_of`.
    """
    request = artifact.request
    inputs = {role: tuple(filter(None, map(resolve, digests))) for role, digests in request.inputs.items()}
    inputs = {role: digests for role, digests in inputs.items() if digests or not request.inputs[role]}
    params = dict(without(request.params, withdrawal.utterances))
    if request.kind == "raw" and "files" in params:
        table = _kept(columns_of(artifact.path("files.parquet")), "files.parquet", artifact, withdrawal)
        params["files"] = digest([[row["path"], row["n_bytes"], row["sha256"]] for row in table.to_pylist()])
    elif concerned:
        params[WITHDRAWN] = sorted({*params.get(WITHDRAWN, ()), purge})
    made = Request(request.kind, request.step, request.version, params, inputs)
    if not is_reading(request) or made == request:  # an alignment may outlive the utterances that it was made for
        params[PURGED] = [*params.get(PURGED, ()), purge]
    return Request(request.kind, request.step, request.version, params, inputs)


def write_rest(folder: Path, artifact: Artifact, withdrawal: Withdrawal, moved: Mapping[str, str]) -> None:
    """Writes the files of an artifact without what goes.

    Args:
        moved: key of each record of sound that was made in the lake -> the key it has now; paths name it.
    """
    names = set(artifact.files)
    if {TAR, INDEX} <= names:
        _write_shard(folder, artifact, withdrawal)
        names -= {TAR, INDEX}
    for name in sorted(names):
        path, made = artifact.path(name), folder / name
        made.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".parquet"):
            table = columns_of(path)
            rest = _moved(_kept(table, name, artifact, withdrawal), moved)
            if rest.equals(table):
                _link(path, made)
            else:  # what Parquet gives back of a map calls its fields otherwise, which would be other bytes
                write_table(made, rest, UTTERANCES if name == "utterances.parquet" else pq.read_schema(path))
        elif not (path.suffix == ".wav" and path.stem in withdrawal.utterances):
            _link(path, made)


def without(value: Any, ids: Collection[str]) -> Any:
    """A JSON value without the ids, wherever a list or an object has one.

    Example:
        >>> without({"without": ["u1", "u2"], "fold": "1"}, {"u2"})
        {'without': ['u1'], 'fold': '1'}
    """
    if isinstance(value, Mapping):
        return {key: without(inner, ids) for key, inner in value.items() if key not in ids}
    if isinstance(value, (list, tuple)):
        return [without(inner, ids) for inner in value if not (isinstance(inner, str) and inner in ids)]
    return value


def words_of(path: Path) -> Iterator[str]:
    """Whatever in a file could be an id, some of it more than once; of a tar the names of its members."""
    if path.suffix == ".tar":
        with tarfile.open(path) as tar:
            for member in tar:
                yield from (word.decode() for word in _TOKEN.findall(member.name.encode()))
        return
    with open(path, "rb") as stream:
        rest = b""
        while block := stream.read(_BLOCK):
            words = _TOKEN.findall(rest + block)
            rest = (rest + block)[-_LONGEST:]
            yield from (word.decode() for word in words)


# -- inside ----------------------------------------------------------------------------------------------------------


def _ids(path: Path) -> pa.Table | None:
    """The columns by which rows may go; None where the table has none."""
    own = _keys(path)
    return columns_of(path, sorted(own)) if own else None


def _keys(path: Path) -> set[str]:
    names = set(pq.read_schema(path).names)
    return names & _IDS or ({"sha256", "path"} & names if "sha256" in names else set())


def _goes(table: pa.Table, name: str, artifact: Artifact, withdrawal: Withdrawal) -> int:
    """How many rows go."""
    return table.num_rows - _kept(table, name, artifact, withdrawal).num_rows


def _kept(table: pa.Table, name: str, artifact: Artifact, withdrawal: Withdrawal) -> pa.Table:
    """The rows that stay, in order."""
    columns = set(table.column_names)
    if name == "failures.parquet" and "input_id" in columns:
        return _kept_failures(table, withdrawal)
    import pyarrow.compute as pc  # takes as long to import as small questions to answer

    keyed = ("utterance_id", withdrawal.utterances), ("input_id", withdrawal.inputs)
    gone = [_among(table[column], ids) for column, ids in keyed if column in columns]
    if artifact.request.kind == "raw" and "sha256" in columns:
        gone.append(_among(table["sha256"], withdrawal.recordings))
        if not is_reading(artifact.request):  # sound that was made here has the name of its utterance
            stems = pa.chunked_array([texts_of([Path(path).stem for path in table["path"].to_pylist()])])
            gone.append(_among(stems, withdrawal.utterances))
    if not any(pc.any(one).as_py() for one in gone):
        return table
    return table.filter(pc.invert(reduce(pc.or_, gone)))


def _among(column: pa.ChunkedArray, ids: Collection[str]) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    return pc.is_in(column, value_set=texts_of(sorted(ids)))


def _kept_failures(table: pa.Table, withdrawal: Withdrawal) -> pa.Table:
    """A failure is told under the first utterance that has its input. Where that goes and another stays, the failure
    is told under the other: else the row would be wanted, and tried, again."""
    named = [name in withdrawal.utterances for name in table["utterance_id"].to_pylist()]
    if not any(named) and not withdrawal.inputs & set(table["input_id"].to_pylist()):
        return table
    rows = []
    for row, goes in zip(table.to_pylist(), named, strict=True):
        heir = withdrawal.heirs.get(row["input_id"])
        if goes and heir:
            rows.append(row | {"utterance_id": heir})
        elif not goes and row["input_id"] not in withdrawal.inputs:
            rows.append(row)
    return pa.Table.from_pylist(rows, schema=table.schema)


def _moved(table: pa.Table, moved: Mapping[str, str]) -> pa.Table:
    """The table with the paths of sound that was made here as they are now."""
    if not moved or "path" not in table.column_names:
        return table
    paths = [_moved_path(path, moved) for path in table["path"].to_pylist()]
    place = table.column_names.index("path")
    return table.set_column(place, table.schema.field(place), pa.chunked_array([pa.array(paths, pa.string())]))


def _moved_path(path: str, moved: Mapping[str, str]) -> str:
    kind, _, rest = path.partition("/")
    key, _, name = rest.partition("/")
    return f"raw/{moved[key]}/{name}" if kind == "raw" and key in moved else path


def _has_moved(artifact: Artifact, changed: Collection[str]) -> bool:
    """Whether utterances have sound that was made here and whose record is rewritten."""
    request = artifact.request
    told = request.kind == "utterances" and not is_reading(request)
    return told and bool(set(request.inputs.get("raw", ())) & set(changed))


def _naming(artifact: Artifact, withdrawal: Withdrawal) -> str:
    """A file of an artifact, no table, that has an id or a text of what goes; '' where none has."""
    for name in sorted(artifact.files):
        if not name.endswith((*_OPAQUE, ".wav")) and names_any(artifact.path(name), withdrawal):
            return name
    return ""


def names_any(path: Path, withdrawal: Withdrawal) -> bool:
    """Whether a file has an id of what goes or, if it is text, one of its texts, as it is or escaped for JSON or
    HTML."""
    ids = withdrawal.utterances | withdrawal.audio | withdrawal.pairs | withdrawal.recordings
    if any(word in ids for word in words_of(path)):
        return True
    if path.suffix not in (".json", ".html", ".md", ".csv", ".txt", ".svg") or not withdrawal.phrases:
        return False
    content = path.read_text(encoding="utf-8", errors="replace")
    return any(form in content for phrase in withdrawal.phrases for form in _forms(phrase))


def _forms(phrase: str) -> set[str]:
    escaped = html.escape(phrase)
    plain = {phrase, escaped, html.escape(phrase, quote=False), escaped.replace("&#x27;", "&#39;")}
    return plain | {json.dumps(phrase, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}


def _write_shard(folder: Path, artifact: Artifact, withdrawal: Withdrawal) -> None:
    index = columns_of(artifact.path(INDEX))
    rest = _kept(index, INDEX, artifact, withdrawal)
    if rest.num_rows == index.num_rows:
        for name in (TAR, INDEX):
            _link(artifact.path(name), folder / name)
        return
    with tarfile.open(artifact.path(TAR)) as tar:
        first = tar.next()
        field_name = first.name.rpartition(".")[0].partition(".")[2] if first else ""
    reader = ShardReader(artifact.folder)
    rows = rest.select(["utterance_id", "input_id"]).to_pylist()
    members = ((row["utterance_id"], row["input_id"], reader.read(row["utterance_id"])) for row in rows)
    write_shard(folder, field_name, members)


def _link(path: Path, made: Path) -> None:
    """The same bytes under another name: artifacts are never written again, so they may share them."""
    try:
        os.link(path, made)
    except OSError:
        shutil.copyfile(path, made)
