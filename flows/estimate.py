"""What of a recipe's models is fitted in a lake, and what the rest would take at most. Nothing is made."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flows.doer import Step
from flows.plan import plan
from flows.recipe import Recipe
from flows.run import roots_of
from models.orders import ROOM, Fit, plain_fields
from warehouse import Warehouse, catalog
from warehouse.artifact import Artifact
from warehouse.errors import EmolakeError
from warehouse.hashing import canonical_json


@dataclass(frozen=True)
class Estimate:
    """Of some models of a recipe and of those they begin with or are taught by. None: it cannot be known.

    Args:
        n_models, n_fitted: and how many of them have all their fits.
        n_fits, n_missing: folds times seeds of all of them, and how many do not exist.
        n_epochs: of the missing fits together, at most.
        n_rows: that the recipe's extractors have to make, as far as they can be counted before anything is made.
        n_waiting: extractors and models whose works can be counted only when what comes before them is there.
        seconds: of the missing fits on this machine, if they have all their epochs and an epoch takes as long as those
            of the same student with the same fields, on the same protocol, in the lake did on average, or else those of
            the same student (of a fit that was ended and went on, only the time since then is known); None where one of
            the students was never fitted there.
        unlike: the models with missing fits whose time is that of fits with other fields or on another protocol, which
            may be of another size, or on far less data.
        why: what keeps the lake from being asked.
    """

    n_models: int
    n_fitted: int | None
    n_fits: int | None
    n_missing: int | None
    n_epochs: int | None
    n_rows: int | None
    n_waiting: int
    seconds: float | None
    unlike: tuple[str, ...]
    why: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def estimate(
    recipe: Recipe, names: Sequence[str], warehouse: Warehouse | None, weights: Path | None = None, device: str = "cpu",
    roots: Mapping[str, Path] | None = None,
) -> Estimate:  # fmt: skip
    """What is there of these models and what is missing. The recipe is planned in the lake where its corpora were
    ingested and its checkpoints are placed; elsewhere only what it declares is counted, and nothing counts as fitted.

    Args:
        names: of models, grids or averages of the recipe.
        weights, device, roots: as `flows.run.Setup` has them.
    """
    models = needed(recipe, names)
    steps, why = _planned(recipe, warehouse, weights, device, roots or {})
    asked = steps is not None
    fits = {name: _fits(recipe, name, (steps or {}).get(f"fit {name}")) for name in models}
    missing = {name: n for name, (_, n) in fits.items()}
    extracting = [step for name, step in (steps or {}).items() if name.startswith("extract ")]
    waiting = [name for name in models if steps and steps[f"fit {name}"].waits_for]
    seconds, unlike = _seconds(recipe, missing, warehouse) if warehouse else (None, ())
    return Estimate(
        n_models=len(models),
        n_fitted=sum(n == 0 for n in missing.values()) if asked else None,
        n_fits=_sum([n for n, _ in fits.values()]),
        n_missing=_sum(list(missing.values())),
        n_epochs=_sum([None if n is None else n * n_epochs(recipe, name) for name, n in missing.items()]),
        n_rows=sum(step.n_new for step in extracting) if asked else None,
        n_waiting=sum(bool(step.waits_for) for step in extracting) + len(waiting),
        seconds=seconds,
        unlike=unlike,
        why=why,
    )


def needed(recipe: Recipe, names: Sequence[str]) -> list[str]:
    """The models behind some names of a recipe and those that they cannot be without, each before what needs it: what
    they start from, and the teachers whose features they read or whose choice they learn from.

    Example:
        >>> from flows.recipe import read_recipe, recipe_path
        >>> needed(read_recipe(recipe_path("demo")), ["distilled"])
        ['language', 'teacher', 'pretrained', 'distilled']
    """
    found: list[str] = []

    def add(name: str) -> None:
        if name in found or name not in recipe.models:
            return
        entry = recipe.models[name]
        sources = [source.rpartition(":")[2].partition("@")[0] for source in entry.inputs.values()]
        if entry.selection:
            sources.append(recipe.selections[entry.selection].logits)
        features = [source.partition(".")[0] for source in sources]
        read = [recipe.features[one].checkpoint for one in features if one in recipe.features]
        for other in (entry.init, entry.teacher, *read):
            for model in recipe.behind(other) if other else []:
                add(model)
        found.append(name)

    for name in names:
        for model in recipe.behind(name):
            add(model)
    return found


def n_folds(recipe: Recipe, model: str) -> int | None:
    """The folds of a model's protocol, as far as the protocol itself tells: by what it counts."""
    protocol = recipe.protocol(model)
    return len(protocol.counts_by.get(protocol.folds, {})) or None if protocol.folds else 1


def n_epochs(recipe: Recipe, model: str) -> int:
    """The epochs of one fit of a model, at most; 0 where it is solved in closed form."""
    fit = recipe.models[model].fit
    return catalog.filled(Fit, fit, f"models.{model}.fit").epochs if fit else 0


def _planned(
    recipe: Recipe, warehouse: Warehouse | None, weights: Path | None, device: str, roots: Mapping[str, Path]
) -> tuple[dict[str, Step] | None, str]:
    """Name -> step of the recipe's plan; or else why there is none."""
    if warehouse is None:
        return None, "there is no lake"
    try:
        steps = plan(recipe, warehouse, roots_of(recipe, warehouse, roots, weights), explain=False, device=device)
    except (EmolakeError, OSError) as error:
        return None, f"emolake plan {recipe.name} says: {error}"
    return {step.name: step for step in steps}, ""


def _fits(recipe: Recipe, model: str, step: Step | None) -> tuple[int | None, int | None]:
    """All fits of a model, and the missing ones: as planned, or else as declared, of which all are missing."""
    if step and not step.waits_for:
        return step.n_rows, step.n_new
    folds = n_folds(recipe, model)
    declared = None if folds is None else folds * len(recipe.models[model].seeds)
    return declared, declared


def _seconds(
    recipe: Recipe, missing: Mapping[str, int | None], warehouse: Warehouse
) -> tuple[float | None, tuple[str, ...]]:
    """What the missing fits take, and the models for which only other fits say it."""
    spent: dict[bytes | str, list[float]] = {}
    splits = warehouse.by_digest("split")
    for made in warehouse.artifacts("checkpoint"):
        if "work_s" in made.environment:
            step, epoch_s = made.request.step, made.environment["work_s"] / _epochs_done(made)
            (split,) = made.request.inputs.get("split", ("",))
            protocol = splits[split].request.params["protocol"] if split in splits else ""
            for like in (step, _likeness(step, made.request.params.get("student"), protocol)):
                spent.setdefault(like, []).append(epoch_s)
    total, unlike = 0.0, []
    for name, n in missing.items():
        if n == 0:
            continue
        entry = recipe.models[name]
        step, student = f"students.{entry.student}", catalog.build(ROOM, entry.student, entry.fields, f"model '{name}'")
        own = spent.get(_likeness(step, plain_fields(student), recipe.protocol(name).id))
        times = own or spent.get(step)
        if n is None or times is None:
            return None, ()
        total += n * (n_epochs(recipe, name) or 1) * statistics.fmean(times)
        unlike += [] if own else [name]
    return total, tuple(unlike)


def _likeness(step: str, fields: Mapping[str, Any] | None, protocol: str) -> bytes:
    """What decides how long an epoch takes: the size of the network, and on what it is fitted."""
    return canonical_json([step, fields, protocol])


def _epochs_done(checkpoint: Artifact) -> int:
    """The epochs that a fit had, which may have ended early; 1 where it was solved in closed form."""
    if "history.csv" not in checkpoint.files:
        return 1
    with open(checkpoint.path("history.csv"), encoding="utf-8") as lines:
        return sum(1 for _ in lines) - 1


def _sum(numbers: Sequence[int | None]) -> int | None:
    known = [n for n in numbers if n is not None]
    return sum(known) if len(known) == len(numbers) else None
