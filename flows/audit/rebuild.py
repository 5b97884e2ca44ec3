"""Packing a bundle's shards again from one's own copies of the corpora, and saying whether the bytes are the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.console import Console

from flows import run as runs
from flows.audit.bundle import Bundle, Made, read_bundle, shards_of
from flows.recipe import read_recipe
from warehouse import Warehouse
from warehouse.artifact import Artifact
from warehouse.audit.errors import OtherRawFiles, ShardsThere
from warehouse.hashing import short_digest


@dataclass(frozen=True)
class Rebuilt:
    """What came of one of the bundle's shards: 'same', 'other bytes' or 'not made'; of the latter two where they part
    first."""

    digest: str
    source: str
    outcome: str
    why: str = ""


def rebuild(path: Path, setup: runs.Setup, console: Console) -> list[Rebuilt]:
    """Reads the raw files, holds them against the bundle's, packs the recipe's shards, and compares these by digest.

    Shards are matched by bytes, not by request: how feature rows were cut into artifacts is in a shard's request and
    not in its bytes, and a lake that grew in another order cut them elsewhere.

    Args:
        setup: whose lake is empty, or one where the same bundle was begun.

    Raises:
        BadBundle: the file is none.
        ShardsThere: the lake holds other work, so that finding shards in it would prove nothing.
        OtherRawFiles: the copies of a corpus differ from those the bundle was made from.
    """
    bundle = read_bundle(path)
    warehouse = Warehouse(setup.lake, create=True)
    folder = warehouse.root / ".rebuild" / bundle.digest
    if warehouse.artifacts() and not folder.is_dir():
        raise ShardsThere(warehouse.root)
    recipe = folder / "recipe.toml"
    for name, text in {"recipe.toml": bundle.recipe, **bundle.protocols}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    runs.run(recipe, setup, "ingest", console)
    declared = read_recipe(recipe)
    for corpus in declared.corpora:  # the sound of one that is told again is made here, and not yet
        _check_raw(Warehouse(setup.lake), bundle, corpus)
    runs.run(recipe, setup, "pack", console)
    warehouse = Warehouse(setup.lake)
    roots = runs.roots_of(declared, warehouse, setup.roots, setup.weights)
    return list(compare(bundle, warehouse, shards_of(declared, warehouse, roots)))


def _check_raw(warehouse: Warehouse, bundle: Bundle, corpus: str) -> None:
    """Raises OtherRawFiles unless each unit of a corpus has the bundle's files."""
    rows = bundle.files.to_pylist()
    theirs = {(row["unit"], row["path"]): row["sha256"] for row in rows if row["corpus"] == corpus}
    ref = warehouse.ref(f"corpora/{corpus}") or {"raw": []}
    ours: dict[tuple[str, str], str] = {}
    for record in warehouse.artifacts("raw"):
        if record.digest in ref["raw"] and record.request.params["corpus"] == corpus:
            table = pq.read_table(record.path("files.parquet"), columns=["path", "sha256"])
            ours |= {(record.request.params["unit"], row["path"]): row["sha256"] for row in table.to_pylist()}
    units = {unit for unit, _ in theirs}
    missing = sorted(path for unit, path in theirs.keys() - ours.keys())
    extra = sorted(path for unit, path in ours.keys() - theirs.keys() if unit in units)
    other = sorted(path for unit, path in theirs.keys() & ours.keys() if theirs[unit, path] != ours[unit, path])
    if missing or extra or other:
        raise OtherRawFiles(corpus, missing, extra, other)


def compare(bundle: Bundle, warehouse: Warehouse, shards: list[Artifact]) -> Iterator[Rebuilt]:
    """Each shard of the bundle and what came of it."""
    ours = {shard.digest for shard in shards}
    by_params = {_asked(shard): shard for shard in shards}
    for made in bundle.shards:
        source = _source(made.request.params)
        if made.digest in ours:
            yield Rebuilt(made.digest, source, "same")
        elif (found := by_params.get(_asked(made))) is None:
            yield Rebuilt(made.digest, source, "not made", "this version of Emolake asks for other shards")
        else:
            yield Rebuilt(made.digest, source, "other bytes", _parting(bundle, warehouse, made, found))


def _asked(shard: Artifact | Made) -> str:
    """What identifies a shard apart from the artifacts it was read from."""
    request = shard.request
    return short_digest([request.step, request.version, request.params])


def _source(params: Mapping[str, Any]) -> str:
    """What a shard holds, in a word: the step and output of an extractor, or a table's column."""
    source = params.get("source", {})
    plugin = source.get("plugin", {})
    return " ".join(filter(None, [plugin.get("step"), source.get("output"), source.get("table"), source.get("column")]))


def _parting(bundle: Bundle, warehouse: Warehouse, theirs: Made, ours: Artifact) -> str:
    """The libraries in whose versions the two differ: what usually makes numbers others."""
    both = [one.environment.get("packages", {}) for one in (theirs, ours)]
    moved = [f"{name} {both[0][name]} → {both[1][name]}" for name in both[0].keys() & both[1].keys()
             if both[0][name] != both[1][name]]  # fmt: skip
    machines = {str(one.environment.get("machine")) for one in (theirs, ours)}
    told = sorted(moved) + ([" and ".join(sorted(machines))] if len(machines) > 1 else [])
    return ", ".join(told) or "the same libraries on the same machine type: its extractor is not deterministic"


def summary(found: list[Rebuilt]) -> list[dict[str, Any]]:
    """How many shards of each source came out how."""
    counted = Counter((one.source, one.outcome, one.why) for one in found)
    return [
        {"shards of": source, "n": n, "outcome": outcome, "why": why}
        for (source, outcome, why), n in sorted(counted.items())
    ]
