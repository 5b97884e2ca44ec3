"""Failures that no longer count, so that the next run tries again what failed.

Artifacts are immutable: the failures row stays where it is, and a ref `retries/<artifact key>` lists the input ids
whose failures in that artifact are tried again. Each attempt is a request of its own, and the newest answer counts. Of
a merged artifact the ref is of the piece, which it stays however often it is merged.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from features.inventory import RETRIES, excused, piece_of_each
from warehouse import Warehouse
from warehouse.errors import NothingToRetry
from warehouse.merged import KINDS, is_merged, live

_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")

_TRIED = """
    SELECT step, reason, artifact, input_id, kind IN ('features', 'intervals') AND step <> 'aligners.provided' AS again
    FROM (SELECT failures.*, kind FROM failures JOIN artifacts ON artifact = key) ORDER BY ALL
"""
"""Readers and what takes over their words, and packing, would only say the same again of the same files and rows."""


@dataclass(frozen=True)
class Retry:
    """What is tried again.

    Args:
        failures: step -> how many failures.
        fixed: step -> how many that would be the same again, until what they were read from changes: of readers, of
            alignments that a corpus ships, of packing.
    """

    failures: Mapping[str, int] = field(default_factory=dict)
    fixed: Mapping[str, int] = field(default_factory=dict)


def retry(warehouse: Warehouse, reason: str, step: str | None = None, dry_run: bool = False) -> Retry:
    """Lets the next run try again what failed with a reason that contains this text.

    Numbers stand for any number, as in the list of reasons, where 'lasts 0.5 s' stands for 'lasts 0.02 s' too. Killed
    in between it leaves some of them to be tried again; asked again, it takes the rest.

    Args:
        step: only failures of this step ('extractors.opensmile'); all where none is given.
        dry_run: only count.

    Raises:
        NothingToRetry: no failure has such a reason.
    """
    rows = list(_of_pieces(warehouse, warehouse.table(_TRIED).to_pylist()))
    asked = [row for row in rows if step in (None, row["step"])]
    found = [row for row in asked if _without_numbers(reason) in _without_numbers(row["reason"])]
    if not found:
        raise NothingToRetry(reason, step or "", sorted({row["reason"] for row in asked}))
    tried = [row for row in found if row["again"]]
    if not dry_run:
        known = excused(warehouse)
        for artifact in sorted({row["artifact"] for row in tried}):
            ids = {row["input_id"] for row in tried if row["artifact"] == artifact}
            warehouse.set_ref(f"{RETRIES}/{artifact}", {"input_ids": sorted(ids | known.get(artifact, set()))})
    return Retry(_by_step(tried), _by_step(row for row in found if not row["again"]))


def _of_pieces(warehouse: Warehouse, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The same rows, of merged artifacts as of the pieces. One that lies in two merged ones failed once."""
    rows = list(rows)
    keys = {row["artifact"] for row in rows}
    made = (a for kind in KINDS for a in live(warehouse.artifacts(kind)) if a.key in keys)
    merged = {a.key: piece_of_each(a) for a in made if is_merged(a)}
    seen: dict[tuple[str, str], str] = {}
    for row in rows:
        pieces = merged.get(row["artifact"])
        if pieces is None:
            yield row
        elif seen.setdefault((pieces[row["input_id"]], row["input_id"]), row["artifact"]) == row["artifact"]:
            yield row | {"artifact": pieces[row["input_id"]]}


def _without_numbers(text: str) -> str:
    return _NUMBER.sub("0", text)


def _by_step(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    return dict(sorted(Counter(row["step"] for row in rows).items()))
