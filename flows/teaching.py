"""A fitted model teaches another: of each fold and seed its own teacher, who never saw that fold's test part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from flows.taught_references import roles_taught
from flows.unfitted import refuse_unfitted
from models.orders import teach_request
from warehouse.artifact import Artifact, Work

if TYPE_CHECKING:
    from flows.line import Line

Place = tuple[str, int]
"""A fold and a seed."""


def lessons_of(line: Line, model: str, splits: Mapping[str, Artifact]) -> dict[Place, dict[str, list[str]]]:
    """Fold and seed -> role -> the digest of the shard in which its teacher answers; {} for a model without a teacher.

    The teacher is the fit of the same fold, and of the same seed if there is one, else of its first. It is asked of the
    student's own split, train and dev.
    """
    entry = line.recipe.models[model]
    if entry.teacher is None:
        return {}
    teacher = line.recipe.models[entry.teacher]
    taught = line.model(entry.teacher)
    refuse_unfitted(line, entry.teacher, f"'{model}', which it teaches,")
    fitted = {(fit.fold, fit.seed): fit.checkpoint for fit in taught}
    shards = {role: [a.digest for a in own] for role, own in line.shards(entry.teacher).items()}
    works: dict[str, Work] = {}
    keys: dict[Place, dict[str, str]] = {}
    for fold, split in splits.items():
        for seed in entry.seeds:
            checkpoint = fitted[fold, seed if seed in teacher.seeds else teacher.seeds[0]].digest
            for role in roles_taught(line.recipe, model):
                request = teach_request(
                    teacher.student, teacher.fields, checkpoint, role, shards=shards, split=split.digest
                )
                works[request.key] = Work(request)
                keys.setdefault((fold, seed), {})[role] = request.key
    made = dict(zip(works, line.doer.step(f"teach {model}", list(works.values())), strict=True))
    return {place: {role: [made[key].digest] for role, key in own.items()} for place, own in keys.items()}
