"""The fits of a model: one per fold and seed. Those of a grid's points are begun together."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flows.checkpoints import beginning
from flows.doer import Waits
from flows.score import Fitted
from flows.teaching import Place, lessons_of
from flows.votes import votes_of
from models.orders import fit_request
from warehouse.artifact import Artifact, Work

if TYPE_CHECKING:
    from flows.line import Line


@dataclass(frozen=True)
class Orders:
    """What is ordered for one model: the split of each fold, and the fit of each fold and seed."""

    splits: Mapping[str, Artifact]
    works: Mapping[Place, Work]


def fit_all(line: Line) -> None:
    """Fits every model of the recipe.

    Before the first point of a grid is asked for, a run is offered the fits of all, and may begin with as many as it
    has workers for: points wait for no other point's last fold. Not where a model is asked for by its name: who
    extracts with one point wants no other.
    """
    grids = {point.name: grid for grid, points in line.recipe.grids.items() for point in points}
    for model, grid in ((model, grids.get(model)) for model in line.recipe.models):
        with suppress(Waits):
            if grid is not None and model == line.recipe.grids[grid][0].name:
                _offer(line, grid, grids)
            line.model(model)


def _offer(line: Line, grid: str, grids: Mapping[str, str]) -> None:
    """Offers the fits of a grid's points, and before them those of the grid that they start from."""
    names = [point.name for point in line.recipe.grids[grid]]
    for first in dict.fromkeys(grids.get(line.recipe.models[name].init or "", grid) for name in names):
        if first != grid:
            _offer(line, first, grids)
    line.doer.ahead(f"fit {grid}", lambda: [work for name in names for work in _ordered(line, name).works.values()])


def fits_of(line: Line, model: str) -> list[Fitted]:
    """The fits of a model, without those that could not be made, which `line.unfitted` tells of."""
    orders = _ordered(line, model)
    made = line.doer.step(f"fit {model}", list(orders.works.values()))
    by_key = {checkpoint.key: checkpoint for checkpoint in made}
    keys = {place: work.request.key for place, work in orders.works.items()}
    line.unfitted[model] = [place for place, key in keys.items() if key not in by_key]
    return [
        Fitted(model, fold, seed, orders.splits[fold], by_key[key])
        for (fold, seed), key in keys.items() if key in by_key
    ]  # fmt: skip


def _ordered(line: Line, model: str) -> Orders:
    """What a model's fits are made of, asked for once; whatever comes before it is made, or waited for."""
    if model not in line.orders:
        entry = line.recipe.models[model]
        shards = {role: [a.digest for a in own] for role, own in line.shards(model).items()}
        splits = line.splits(model)
        init, placed = beginning(line, entry.init)
        encoders = {slot: line.weights(one) for slot, one in entry.encoders.items()}
        lessons, votes = lessons_of(line, model, splits), votes_of(line, model, splits)
        weights = {"weights": placed | {one.digest: one.folder for one in encoders.values()}}
        requests = {
            (fold, seed): fit_request(
                entry.student, entry.fields, fit=entry.fit, objective=entry.objective, classes=line.classes(model),
                seed=seed, shards=shards | lessons.get((fold, seed), {}), split=splits[fold].digest, init=init,
                encoders={slot: one.digest for slot, one in encoders.items()}, votes=votes.get(fold),
            )
            for fold in splits for seed in entry.seeds
        }  # fmt: skip
        works = {place: Work(request, arguments=weights) for place, request in requests.items()}
        line.orders[model] = Orders(splits, works)
    return line.orders[model]
