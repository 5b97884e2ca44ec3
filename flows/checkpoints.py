"""The checkpoints that features are extracted with: those that a person placed, and those of a recipe's own models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from features.placed import Placed, placed_folder, record_work, weights_ref
from features.raw import RawDigests
from flows.protocol import folds_of
from flows.recipe import Recipe
from flows.retelling import read_for
from warehouse.artifact import Artifact
from warehouse.errors import InvalidField, MissingFolder

if TYPE_CHECKING:
    from flows.line import Line


def checkpoint_roots(recipe: Recipe, weights: Path | None) -> Mapping[str, Path]:
    """'checkpoints/<name>' -> the folder where it is looked for; there need be none yet."""
    return {_key(n): placed_folder(one.folder, weights, recipe.folder) for n, one in recipe.checkpoints.items()}


def record_placed(line: Line, name: str) -> Placed:
    """Records a checkpoint's files, and what is said of it: current knowledge, in a ref.

    Raises:
        MissingFolder: it is not where it is looked for.
        MalformedSource: it is none that can be read.
    """
    entry, folder = line.recipe.checkpoints[name], line.roots[_key(name)]
    if not folder.is_dir():
        todo = (
            "put its files there, or set EMOLAKE_WEIGHTS to the folder below which it lies "
            "(README, 'Your own checkpoints')"
        )
        raise MissingFolder(f"the checkpoint '{name}'", folder, todo)
    digests = RawDigests(line.warehouse.root)
    try:
        work = record_work(digests, folder, line.doer.hashing(name))
    finally:
        digests.close()
    artifact = line.doer.step(f"weights {name}", [work])[0]
    line.doer.remember(f"weights/{name}", weights_ref(artifact, entry.folder, entry.model_dump()))
    return Placed(artifact.digest, folder)


def only_checkpoint(line: Line, model: str) -> Artifact:
    """The checkpoint of a model that others start from or extract with.

    Raises:
        InvalidField: it has several.
    """
    entry = line.recipe.models[model]
    folds = folds_of(line.recipe.protocol(model), read_for(line, model)[0].utterances)
    n_fits = len(folds) * len(entry.seeds)
    if n_fits != 1:  # said before anything is fitted
        problem = (
            f"has {n_fits} fits, so nothing can start from its checkpoint or extract with it: "
            "give it a protocol without folds and one seed"
        )
        raise InvalidField(f"recipe '{line.recipe.name}'", f"models.{model}", problem)
    return line.model(model)[0].checkpoint


def beginning(line: Line, name: str | None) -> tuple[str | None, dict[str, Path]]:
    """What a fit begins with, a model or a placed checkpoint: its digest, and if it is placed, where that lies."""
    if name in line.recipe.checkpoints:
        placed = line.weights(name)
        return placed.digest, {placed.digest: placed.folder}
    return (only_checkpoint(line, name).digest if name else None), {}


def _key(name: str) -> str:
    return f"checkpoints/{name}"
