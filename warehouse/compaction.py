"""Small artifacts of one plug-in merged into large ones; no row is changed, and no key or digest that anybody cites.

Each night's build leaves some artifacts of a few hundred rows. A thousand of them are a thousand manifests to read, and
as many files for DuckDB to open. Merged they are one artifact with the same rows, by piece in the order of their keys,
in groups of rows of some megabytes. Its request names the pieces, whichever way they came together: merged in one go or
night by night, the same pieces give the same key and the same bytes.

To merge only adds. The small ones are then reached by nothing, so that `emolake gc` takes them, when and where it takes
anything. Killed at any moment, or beside a build or another merge, nothing is lost: what is merged twice is read once.

Not merged are: what was tried again (its number of attempts is its own), the alignments that a corpus ships (they are
asked for by request), and artifacts that answer an input which another one of the plug-in answers too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.artifact import Artifact, Request
from warehouse.audit.errors import DamagedSource
from warehouse.audit.tombstones import refuse_unfinished
from warehouse.hashing import short_digest
from warehouse.merged import COLUMNS, KINDS, PIECES, STEP, VERSION, entries, is_merged, live, pieces
from warehouse.store import Warehouse
from warehouse.tables import write_table

TARGET = 256 * 2**20
"""Bytes of small artifacts that become one."""

MOST = 1000
"""Pieces of one artifact, for its manifest names them all."""

_GROUP = 8 * 2**20
"""Bytes of small artifacts whose rows are a group of rows, which is what a reader of few rows reads."""

_FAILURES = "failures.parquet"


@dataclass(frozen=True)
class Merge:
    """One artifact that is made of several, and these, by key."""

    request: Request
    sources: Sequence[Artifact]

    @property
    def n_bytes(self) -> int:
        """Of the sources as they lie on the disk."""
        return sum(a.n_bytes for a in self.sources)


def merges(
    warehouse: Warehouse, target: int = TARGET, progress: Callable[[int, int], None] = lambda done, of: None
) -> list[Merge]:
    """What there is to merge; nothing a second time. Changes nothing.

    Small is what has less than half of `target`, in bytes of what was there before anything was merged. In the order in
    which they were made small ones are put together until one more would be too much.

    Args:
        target: bytes.
        progress: told artifacts looked at, and their number.

    Raises:
        UnfinishedPurge. DamagedSource: a small one cannot be read.
    """
    refuse_unfinished(warehouse.root)
    found: dict[tuple[str, str], list[Artifact]] = {}
    for kind in KINDS:
        for a in live(warehouse.artifacts(kind)):
            if "plugin" in a.request.params:
                found.setdefault((kind, short_digest(a.request.params["plugin"])), []).append(a)
    small = {place: [a for a in own if _is_small(a, target)] for place, own in found.items()}
    several = [place for place, own in small.items() if len(own) > 1]
    merged: list[Merge] = []
    done, total = 0, sum(len(found[place]) for place in several)
    for place in several:
        alone = _answering_alone(found[place])
        merged += map(merge_of, _groups([a for a in small[place] if a.key in alone], target))
        done += len(found[place])
        progress(done, total)
    return merged


def merge(warehouse: Warehouse, one: Merge) -> Artifact:
    """Merges; what stands there already stays. Every byte that is merged is hashed before, or damage would be hidden.

    Raises:
        DamagedSource: a small one is not as it was made, or gone. DiskFull.
    """
    parts = sorted((p for a in one.sources for p in pieces(a)), key=_key)
    known: list[Mapping[str, Any]] = []
    made: dict[str, list[Any]] = {}
    for p in parts:
        own = {name: value for name, value in p.environment.items() if name != "work_s"}
        if own not in known:
            known.append(own)
        made[p.key] = [p.created_at, p.environment.get("work_s"), known.index(own)]
    work_s = round(sum(p.environment.get("work_s") or 0.0 for p in parts), 3)
    beside = {"work_s": work_s, "merged": made, "environments": known}
    return warehouse.materialize(one.request, partial(_write, sources=one.sources, request=one.request), beside)


# -- what goes together ----------------------------------------------------------------------------------------------


def _key(artifact: Artifact) -> str:
    return artifact.key


def _is_small(a: Artifact, target: int) -> bool:
    params = a.request.params
    if not is_merged(a):
        told = params["plugin"].get("step"), params["plugin"].get("version")
        by_row = "ids" in params and "attempt" not in params and told == (a.request.step, a.request.version)
        if not by_row or a.files.keys() != {f"{a.request.kind}.parquet", _FAILURES}:
            return False
    return 2 * _weight(a) < target and 2 * _n_pieces(a) < MOST


def _weight(a: Artifact) -> int:
    """Bytes of what was there before anything was merged, so that it adds up."""
    return sum(one["n_bytes"] for one in entries(a)) or a.n_bytes


def _n_pieces(a: Artifact) -> int:
    return len(entries(a)) or 1


def _answering_alone(artifacts: Sequence[Artifact]) -> set[str]:
    """The keys of those that answer inputs, and only such as no other of these answers."""
    first: dict[str, str] = {}
    shared: set[str] = set()
    for a in artifacts:
        answered = {one for file in (f"{a.request.kind}.parquet", _FAILURES) for one in _ids(a, file)}
        shared |= {a.key} if not answered else set()
        for one in answered:
            if first.setdefault(one, a.key) != a.key:
                shared |= {first[one], a.key}
    return {a.key for a in artifacts} - shared


def _ids(a: Artifact, file: str) -> list[str]:
    if file not in a.files:
        return []
    try:
        with pq.ParquetFile(a.part(file)) as table:
            ids: list[str] = table.read(["input_id"]).column(0).unique().to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise DamagedSource([_place(a)]) from error
    return ids


def _place(a: Artifact) -> str:
    return f"{a.request.kind}/{a.key[:12]}"


def _groups(small: Sequence[Artifact], target: int) -> Iterator[list[Artifact]]:
    group: list[Artifact] = []
    for a in sorted(small, key=lambda a: (a.created_at, a.key)):
        both = [*group, a]
        if sum(map(_weight, both)) > target or sum(map(_n_pieces, both)) > MOST:
            yield group
            both = [a]
        group = both
    if len(group) > 1:
        yield group


def merge_of(group: Sequence[Artifact]) -> Merge:
    """What makes one of several artifacts of a plug-in. Its request names the pieces and cites what they cite, so it
    stands on what they stood on."""
    told = sorted((one for a in group for one in _told(a)), key=lambda one: one["key"])
    inputs: dict[str, set[str]] = {}
    for one in told:
        for role, digests in one["inputs"].items():
            inputs.setdefault(role, set()).update(digests)
    cited = {role: tuple(sorted(digests)) for role, digests in inputs.items()}
    first = group[0].request
    request = Request(first.kind, STEP, VERSION, {"plugin": first.params["plugin"], "merged": told}, cited)
    return Merge(request, sorted(group, key=_key))


def _told(a: Artifact) -> Iterable[Mapping[str, Any]]:
    """What is said of the pieces of an artifact. Rows that a purge left are others than those that it took from."""
    if is_merged(a):
        purged = {"purged": a.request.params["purged"]} if "purged" in a.request.params else {}
        return [{**one, **purged} for one in entries(a)]
    params = {name: value for name, value in a.request.params.items() if name != "plugin"}
    inputs = {role: list(digests) for role, digests in a.request.inputs.items()}
    return [{"key": a.key, "digest": a.digest, "n_bytes": a.n_bytes, "params": params, "inputs": inputs}]


# -- rows ------------------------------------------------------------------------------------------------------------


def _write(folder: Path, sources: Sequence[Artifact], request: Request) -> None:
    """Writes the rows and the failures of all, by piece, and whose each is."""
    if damaged := [_place(a) for a in sources if a.damaged()]:
        raise DamagedSource(damaged)
    whose = {a.key: _whose(a) for a in sources}
    n_bytes = sum(one["n_bytes"] for one in request.params["merged"])
    answered: list[tuple[str, str]] = []
    for file in (f"{request.kind}.parquet", _FAILURES):
        tables = [(a, pq.read_table(a.path(file))) for a in sources]
        parts = [part for a, table in tables for part in _by_piece(table, whose[a.key])]
        parts.sort(key=lambda part: part[0])
        answered += [(key, one) for key, part in parts for one in part["input_id"].unique().to_pylist()]
        _write_groups(folder / file, [part for _, part in parts], pq.read_schema(sources[0].path(file)), n_bytes)
    rows = sorted(set(answered))
    columns = {"input_id": [one for _, one in rows], "piece": [key for key, _ in rows]}
    write_table(folder / PIECES, pa.table(columns, schema=COLUMNS), COLUMNS)


def _whose(a: Artifact) -> str | Mapping[str, str]:
    """The piece of all rows of an artifact, or of each by input id."""
    if not is_merged(a):
        return a.key
    table = pq.read_table(a.path(PIECES))
    return dict(zip(table["input_id"].to_pylist(), table["piece"].to_pylist(), strict=True))


def _by_piece(table: pa.Table, whose: str | Mapping[str, str]) -> Iterator[tuple[str, pa.Table]]:
    """Key of a piece -> its rows, which lie together."""
    if isinstance(whose, str):
        yield whose, table
        return
    start, keys = 0, [whose[one] for one in table["input_id"].to_pylist()]
    for end in range(1, len(keys) + 1):
        if end == len(keys) or keys[end] != keys[start]:
            yield keys[start], table.slice(start, end - start)
            start = end


def _write_groups(path: Path, parts: Sequence[pa.Table], schema: pa.Schema, n_bytes: int) -> None:
    """As `warehouse.tables.write_table`, in smaller groups where rows are large. How many rows a group has depends on
    the bytes of the pieces, which are the same however they came here."""
    table = pa.concat_tables([schema.empty_table(), *parts]).select(schema.names).cast(schema)
    n_rows = min(max(_GROUP * table.num_rows // max(n_bytes, 1), 1), 65_536)
    with pq.ParquetWriter(path, schema, compression="zstd", compression_level=3) as writer:
        for start in range(0, table.num_rows, n_rows):
            writer.write_table(table.slice(start, n_rows).combine_chunks(), row_group_size=n_rows)
