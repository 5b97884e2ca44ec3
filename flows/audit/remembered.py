"""The recipes that a lake remembers, and their corpora as the lake has them, so that neither the recipe's file nor the
raw files need be there.

A report holds the text of its recipe and cites the utterances and labels it was made from. What a recipe names beside
itself, a protocol in a file of its own, is not in the lake: then the recipe must be named by its path.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.placed import Placed
from features.unit_files import recorded_files
from flows.readings import Reading
from flows.recipe import RECIPES, Recipe, read_recipe, recipe_path
from warehouse import Warehouse
from warehouse.artifact import Artifact
from warehouse.errors import EmolakeError


@dataclass(frozen=True)
class Remembered:
    """A recipe of a lake: `recipe` is None where it cannot be read, `problem` then says why; `report` is its last one
    where the lake has it."""

    name: str
    recipe: Recipe | None
    report: Artifact | None = None
    problem: str = ""


def remembered(warehouse: Warehouse, named: Sequence[str] = (), aside: Sequence[Artifact] = ()) -> list[Remembered]:
    """The recipes that are named, and then those of the lake's reports.

    Args:
        named: names of shipped recipes, or paths; of one with a report this is taken and not the report's text.
        aside: reports that are damaged; their manifests can be read.

    Raises:
        UnknownName, MissingFolder, InvalidField, …: one that is named cannot be read.
    """
    reports = _last_reports(warehouse, aside)
    own = [read_recipe(recipe_path(name)) for name in named]
    found = {recipe.name: Remembered(recipe.name, recipe, reports.get(recipe.name)) for recipe in own}
    return [*found.values(), *(_told(warehouse, *one) for one in reports.items() if one[0] not in found)]


def _last_reports(warehouse: Warehouse, aside: Sequence[Artifact]) -> dict[str, Artifact]:
    """Recipe -> its last report, in the order of their names. Where its name is damaged or lost, the newest report of
    such a recipe that there is."""
    reports = {artifact.key: artifact for artifact in [*aside, *warehouse.artifacts("report")]}
    found: dict[str, Artifact] = {}
    for artifact in reports.values():
        name = _name_in(str(artifact.request.params.get("recipe")))
        if name:
            found[name] = artifact
    for path in sorted((warehouse.root / "refs" / "reports").glob("*.json")):
        try:
            key = (warehouse.ref(f"reports/{path.stem}") or {}).get("artifact", "")
        except EmolakeError:
            continue  # `verify` names it
        if key in reports:
            found[path.stem] = reports[key]
    return dict(sorted(found.items()))


def _name_in(recipe: str) -> str:
    """What a recipe's text says it is called; '' where that cannot be told."""
    try:
        return str(tomllib.loads(recipe).get("name", ""))
    except tomllib.TOMLDecodeError:
        return ""


def _told(warehouse: Warehouse, name: str, report: Artifact) -> Remembered:
    text = report.request.params["recipe"]
    shipped = RECIPES / f"{name}.toml"
    try:
        if shipped.is_file() and shipped.read_text(encoding="utf-8") == text:
            return Remembered(name, read_recipe(shipped), report)
        with warehouse.scratch("recipe") as folder:
            path = folder / f"{name}.toml"
            path.write_text(text, encoding="utf-8")
            return Remembered(name, read_recipe(path), report)
    except EmolakeError as error:
        problem = f"the recipe '{name}' cannot be read from its report any more ({error}): name it with --recipe"
        return Remembered(name, None, report, problem)


def known_products(
    warehouse: Warehouse, recipe: Recipe, report: Artifact | None, roots: Mapping[str, Path]
) -> dict[str, Any]:
    """What a line of the recipe need not make (`flows.line.Line`, its `known`): the corpora that are read from raw
    files and the checkpoints that were placed, as the lake has them. One that is damaged or lost is not among them.

    Args:
        report: whose readings of the corpora are meant; without one, those that names point at now.
        roots: where checkpoints lie, as 'checkpoints/<name>'.
    """
    found: dict[str, Any] = {}
    for name in recipe.corpora:
        reading = _reading(warehouse, name, report)
        if reading is not None:
            found[f"ingest {name}"] = reading
    digests = {artifact.digest for artifact in warehouse.artifacts("weights")}
    for name in recipe.checkpoints:
        ref = _ref(warehouse, f"weights/{name}")
        if ref.get("digest") in digests:
            found[f"weights {name}"] = Placed(ref["digest"], roots[f"checkpoints/{name}"])
    return found


def _ref(warehouse: Warehouse, name: str) -> Mapping[str, Any]:
    try:
        return warehouse.ref(name) or {}
    except EmolakeError:
        return {}


def _reading(warehouse: Warehouse, corpus: str, report: Artifact | None) -> Reading | None:
    """A corpus as a report has read it, or as its name points at it; None where something of it is not there."""
    kinds = ("utterances", "labels")
    ref = _ref(warehouse, f"corpora/{corpus}")
    digests = {kind: list(ref.get(kind, ())) for kind in kinds}
    if report:
        cited = {kind: list(report.request.inputs.get(kind, ())) for kind in kinds}
        if not all(digests[kind] and set(digests[kind]) <= set(cited[kind]) for kind in kinds):
            digests = cited  # the name has moved on, or is lost; what is cited of other corpora is left out below
    for kind in kinds:
        if not set(digests[kind]) <= {artifact.digest for artifact in warehouse.artifacts(kind)}:
            return None
    found = {kind: list(_of_corpus(warehouse, kind, corpus, digests[kind])) for kind in kinds}
    if not found["utterances"] or len(found["utterances"]) != len(found["labels"]):
        return None
    units = {}
    records = warehouse.artifacts("raw")
    for utterances in found["utterances"]:
        unit, cites = utterances.request.params["unit"], utterances.request.inputs["raw"]
        same = [one for one in records if one.digest in cites]
        own = [one for one in same if one.request.params.get("corpus") == corpus]
        if not same:
            return None
        record = next((one for one in own if one.request.params.get("unit") == unit), (own or same)[0])
        units[unit] = recorded_files(record.path("files.parquet")), record, utterances
    return Reading(found["utterances"], found["labels"], units)


def _of_corpus(warehouse: Warehouse, kind: str, corpus: str, digests: Sequence[str]) -> Iterator[Artifact]:
    """The artifacts with these digests that are of the corpus, each unit once: two units may have the same bytes."""
    by_digest: dict[str, list[Artifact]] = {}
    for artifact in warehouse.artifacts(kind):
        if artifact.request.params.get("corpus") == corpus:
            by_digest.setdefault(artifact.digest, []).append(artifact)
    used: set[str] = set()
    for digest in digests:
        for artifact in by_digest.get(digest, ()):
            unit = str(artifact.request.params.get("unit"))
            if unit not in used:
                used.add(unit)
                yield artifact
                break
