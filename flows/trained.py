"""The fits that a person means: by the name of a reported model, or by a checkpoint's key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from warehouse import Warehouse
from warehouse.artifact import Artifact
from warehouse.audit.tombstones import with_purged
from warehouse.errors import ArtifactNotFound, InvalidField, UnknownName, UnreadableRef


@dataclass(frozen=True)
class Trained:
    """One fit. `recipe`, `model` and `report` say in which report its predictions stand; '' and None where in none."""

    fold: str
    seed: int
    checkpoint: Artifact
    recipe: str = ""
    model: str = ""
    report: Artifact | None = None

    @property
    def name(self) -> str:
        """What a person would call it."""
        return f"{self.recipe}:{self.model}" if self.report else self.checkpoint.key[:12]

    def as_json(self) -> dict[str, Any]:
        return {"model": self.name, "fold": self.fold, "seed": self.seed, "key": self.checkpoint.key}


def trained(warehouse: Warehouse, name: str, fold: str | None = None, seed: int | None = None) -> list[Trained]:
    """The fits of a model, in the order of its report.

    A recipe's last report says which fits are meant, so neither the recipe nor its raw files need be there any more.

    Args:
        name: 'recipe:model', or the key, the digest or the beginning of either of a checkpoint.
        fold, seed: only those of this fold and seed.

    Raises:
        UnknownName: the lake has no report of that recipe, or the report no such model, fold or seed.
        InvalidField: the model is an average of others, or the reference is no checkpoint's.
        ArtifactNotFound, AmbiguousReference.
    """
    recipe, is_model, model = name.partition(":")
    if is_model:
        reports = warehouse.refs("reports")
        if recipe not in reports:
            raise UnknownName("report of a recipe", recipe, reports)
        found = list(_reported(warehouse, recipe, reports[recipe]))
        fits = [fit for fit in found if fit.model == model]
        if not fits:
            if members := _averaged(warehouse, recipe, reports[recipe], model):
                problem = f"is an average of others, and no fit of its own: ask for one of {', '.join(members)}"
                raise InvalidField(f"'{name}'", "model", problem)
            raise UnknownName(f"model with fits in the report of '{recipe}'", model, {fit.model for fit in found})
    else:
        fits = [_by_reference(warehouse, name)]
    return of_fold_and_seed(fits, name, fold, seed)


def of_fold_and_seed(fits: Sequence[Trained], name: str, fold: str | None, seed: int | None) -> list[Trained]:
    """Those of some fits that are of this fold and seed; None asks for any.

    Raises:
        UnknownName: none is.
    """
    for what, wanted in (("fold", fold), ("seed", seed)):
        if wanted is not None:
            known = dict.fromkeys(str(getattr(fit, what)) for fit in fits)
            fits = [fit for fit in fits if getattr(fit, what) == wanted]
            if not fits:
                raise UnknownName(f"{what} of '{name}'", str(wanted), known)
    return list(fits)


def reported(warehouse: Warehouse) -> list[Trained]:
    """Every fit whose predictions stand in the last report of a recipe."""
    return [fit for recipe, ref in warehouse.refs("reports").items() for fit in _reported(warehouse, recipe, ref)]


def the_only(fits: Sequence[Trained], name: str) -> Trained:
    """The fit, where only one can be meant.

    Raises:
        InvalidField: there are several.
    """
    if len(fits) > 1:
        places = "; ".join(f"--fold {fit.fold} --seed {fit.seed}" for fit in fits[:3])
        more = "; …" if len(fits) > 3 else ""
        raise InvalidField(f"'{name}'", "fold", f"must be given, for it has {len(fits)} fits: {places}{more}")
    return fits[0]


def rule(fits: Sequence[Trained]) -> str:
    """How the answers of some fits become one, in words.

    Example:
        >>> from unittest.mock import Mock
        >>> rule([Trained(fold, 0, Mock(key="3f2a81"), "demo", "distilled", Mock()) for fold in ("1", "2")])
        "demo:distilled: mean of the probabilities of 2 fits (folds '1', '2'; seeds 0)"
    """
    first, *others = fits
    if not others:
        return f"{first.name}: fold '{first.fold}', seed {first.seed}"
    folds, seeds = (dict.fromkeys(getattr(fit, what) for fit in fits) for what in ("fold", "seed"))
    places = f"folds {', '.join(map(repr, folds))}; seeds {', '.join(map(str, seeds))}"
    return f"{first.name}: mean of the probabilities of {len(fits)} fits ({places})"


def _report(warehouse: Warehouse, recipe: str, ref: Mapping[str, Any]) -> Artifact:
    if "artifact" not in ref:
        raise UnreadableRef(warehouse.root / "refs" / "reports" / f"{recipe}.json", "its field 'artifact' is missing")
    return warehouse.resolve(ref["artifact"])


def _reported(warehouse: Warehouse, recipe: str, ref: Mapping[str, Any]) -> Iterator[Trained]:
    report = _report(warehouse, recipe, ref)
    predictions = _by_digest(warehouse, "predictions")
    checkpoints = _by_digest(warehouse, "checkpoint")
    for run, digest in zip(report.request.params["runs"], report.request.inputs["predictions"], strict=True):
        cited = (one for made in predictions.get(digest, ()) for one in made.request.inputs.get("checkpoint", ()))
        fits = (fit for one in cited for fit in checkpoints.get(one, ()))
        # two seeds may have had the same answer
        own = next((fit for fit in fits if fit.request.params["seed"] == run["seed"]), None)
        if own is not None:
            yield Trained(run["fold"], run["seed"], own, recipe, run["model"], report)


def _averaged(warehouse: Warehouse, recipe: str, ref: Mapping[str, Any], model: str) -> list[str]:
    """What may be asked for instead of an average of a report: its members, those that are no models of the report by
    the keys of their checkpoints. None where it is no average."""
    request = _report(warehouse, recipe, ref).request
    runs = list(zip(request.params["runs"], request.inputs["predictions"], strict=True))
    named = {digest: f"{recipe}:{run['model']}" for run, digest in runs}
    predictions, checkpoints = _by_digest(warehouse, "predictions"), _by_digest(warehouse, "checkpoint")
    own = (made for run, digest in runs if run["model"] == model for made in predictions.get(digest, ()))
    members: dict[str, None] = {}
    for digest in dict.fromkeys(one for made in own for one in made.request.inputs.get("predictions", ())):
        cited = (one for made in predictions.get(digest, ()) for one in made.request.inputs.get("checkpoint", ()))
        keys = [fit.key[:12] for one in cited for fit in checkpoints.get(one, ())]
        members |= dict.fromkeys([named[digest]] if digest in named else keys)
    return list(members)


def _by_digest(warehouse: Warehouse, kind: str) -> dict[str, list[Artifact]]:
    found: dict[str, list[Artifact]] = {}
    for artifact in sorted(warehouse.artifacts(kind), key=lambda artifact: artifact.key):
        found.setdefault(artifact.digest, []).append(artifact)
    return with_purged(warehouse.root, found)


def _by_reference(warehouse: Warehouse, reference: str) -> Trained:
    if (ref := warehouse.refs("reports").get(reference)) is not None:
        models = dict.fromkeys(f"{reference}:{fit.model}" for fit in _reported(warehouse, reference, ref))
        raise InvalidField(f"'{reference}'", "model", f"must be given, for this is a recipe: {', '.join(models)}")
    artifact = warehouse.resolve(reference)
    if artifact.request.kind != "checkpoint":
        problem = f"is '{artifact.request.kind}', but a checkpoint is wanted: RECIPE:MODEL, or a checkpoint's key"
        raise InvalidField(f"'{reference}'", "kind", problem)
    for recipe, ref in warehouse.refs("reports").items():
        for fit in _reported(warehouse, recipe, ref):
            if fit.checkpoint.key == artifact.key:
                return fit
    learned, splits = artifact.request.inputs["split"][0], _by_digest(warehouse, "split")
    if learned not in splits:
        raise ArtifactNotFound(learned)
    return Trained(splits[learned][0].request.params["fold"], artifact.request.params["seed"], artifact)
