"""Whether the lake has every row that utterances want of a plug-in: asked of artifacts, not of rows, where it had.

What was found of immutable things stays true of them. So a plug-in whose rows were all there is remembered with the
digests of the utterances and the keys of the artifacts that were looked through. Of the same ones nothing is read
again, and a plan with nothing to do grows with the number of artifacts. Whatever comes or goes is another question.
Only whether the file of rows of each is still there is asked again: what else is damaged `verify` finds.

One file for each plug-in's rows below `.cache/whole`, sealed like what is remembered of manifests. May be deleted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.inventory import (
    excused,
    excused_in,
    failed_ids,
    holding,
    ids_by,
    made_by,
    row_ids,
    row_key,
    wanted_ids,
)
from warehouse import Warehouse
from warehouse.artifact import Artifact
from warehouse.hashing import digest
from warehouse.manifest_rows import unsealed_json, write_sealed
from warehouse.merged import pieces

VERSION = 2
"""Raised by hand when the same artifacts are whole to another rule."""

_MOST = 8
"""Answers that are kept of one plug-in: of so many sets of utterances."""


@dataclass(frozen=True)
class Whole:
    """How many input ids the utterances want, the artifacts that hold rows or failures of some, by key, and whether
    any of these holds a failure, of whatever."""

    n_wanted: int
    artifacts: list[Artifact]
    has_failures: bool


def remembered(warehouse: Warehouse, kind: str, step: str, plugin: Any, utterances: Sequence[Artifact]) -> Whole | None:
    """What was found of just these utterances and just the artifacts that the plug-in has now, if all rows were there;
    None where a file of rows was deleted since.

    Args:
        utterances: 'utterances' artifacts.
    """
    place_of, held = {}, {}
    for holder in holding(warehouse, kind, step, plugin):
        for one in pieces(holder):
            place_of[one.key], held[one.key] = holder.key, one
    by_key = [held[key] for key in sorted(held)]
    found = unsealed_json(_path(warehouse, step, plugin)).get(_question(warehouse, utterances, by_key))
    if found is None:
        return None
    others = set(found["others"])
    own = [one for one in by_key if one.key not in others]
    folder, places = warehouse.root / "artifacts" / kind, {place_of[one.key] for one in own}
    if warehouse.store is None and not all(os.path.exists(f"{folder}/{place}/{kind}.parquet") for place in places):
        return None
    return Whole(found["wanted"], own, found["failed"])


def holding_wanted(
    warehouse: Warehouse, kind: str, step: str, plugin: Any, utterances: Sequence[Artifact], wanted: set[str]
) -> list[Artifact]:
    """`made_by`, of what the utterances want; where nothing is missing, that is remembered.

    Args:
        wanted: their input ids.
    """
    held, again = made_by(warehouse, kind, step, plugin), excused(warehouse)
    own, present, has_failures = [], set(), False
    both = zip(ids_by(held, row_ids), ids_by(held, failed_ids), strict=True)
    for (one, rows), (_, failures) in both:
        if not wanted.isdisjoint(rows) or not wanted.isdisjoint(failures):
            own.append(one)
            has_failures = has_failures or bool(failures)
        present |= wanted & (rows | (failures - excused_in(again, one)))
    own.sort(key=lambda one: one.key)
    if wanted and present == wanted:
        keys = {one.key for one in own}
        others = [one.key for one in held if one.key not in keys]
        answer = {"wanted": len(wanted), "others": others, "failed": has_failures}
        _remember(warehouse, _path(warehouse, step, plugin), _question(warehouse, utterances, held), answer)
    return own


def of_utterances(
    warehouse: Warehouse, kind: str, step: str, plugin: Any, utterances: Sequence[Artifact]
) -> list[Artifact]:
    """The artifacts that hold rows or failures of what these utterances want, by key."""
    asked = warehouse, kind, step, plugin, utterances
    there = remembered(*asked)
    return there.artifacts if there else holding_wanted(*asked, wanted_ids(utterances, plugin.needs))


def _question(warehouse: Warehouse, utterances: Sequence[Artifact], held: Sequence[Artifact]) -> str:
    keys = [one.key for one in held]
    own = set(keys)
    again = {key: sorted(ids) for key, ids in excused(warehouse).items() if key in own}
    return digest([VERSION, [one.digest for one in utterances], keys, again])


def _path(warehouse: Warehouse, step: str, plugin: Any) -> Path:
    return warehouse.root / ".cache" / "whole" / row_key(step, plugin)


def _remember(warehouse: Warehouse, path: Path, question: str, answer: Any) -> None:
    answers = {key: one for key, one in unsealed_json(path).items() if key != question} | {question: answer}
    with suppress(OSError):  # a lake that cannot be written to can be asked
        write_sealed(path, json.dumps(dict(list(answers.items())[-_MOST:])).encode(), warehouse.manifests.beside())
