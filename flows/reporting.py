"""The end of the line: predictions to metrics, to what their splits share, to the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flows.leakage_work import leakage_work
from flows.score import Fitted, metrics_work, report_work
from warehouse.artifact import Artifact
from warehouse.errors import InvalidField

if TYPE_CHECKING:
    from flows.line import Line


def report_of(line: Line) -> Artifact:
    """The report of a line's recipe, and where its name points to now.

    Raises:
        InvalidField: the recipe declares none.
    """
    recipe = line.recipe
    if recipe.report is None:
        raise InvalidField(f"recipe '{recipe.name}'", "report", "must be given to report")
    predictions = [pair for name in recipe.report.models for pair in line.predictions(name)]
    rules = {name: recipe.protocol(name) for name in recipe.report.models}
    corpora = [*recipe.corpora, *recipe.retold]
    utterances = [artifact for name in corpora for artifact in line.corpus(name).utterances]
    labels = [artifact for name in corpora for artifact in line.corpus(name).labels]
    metrics = line.doer.step("score", [metrics_work(predictions, rules)])[0]
    leakages = _leakages(line, [fit for fit, _ in predictions])
    failures = list(line.failures.values())
    selections = {
        name: (line.selection(name), line.corpus(entry.corpus).utterances) for name, entry in recipe.selections.items()
    }
    work = report_work(
        recipe, metrics, predictions, rules, utterances, labels, failures, leakages, selections, line.warehouse.root
    )  # fmt: skip
    made = line.doer.step("report", [work])[0]
    line.doer.remember(f"reports/{recipe.name}", {"artifact": made.key, "metrics": metrics.key})
    return made


def _leakages(line: Line, fitted: Sequence[Fitted]) -> dict[str, list[Artifact]]:
    """Model -> the leakage of each of its folds; the seeds of a fold share its split and its teachers."""
    firsts = {(fit.model, fit.fold): fit for fit in reversed(fitted)}
    fits = [fit for fit in fitted if firsts[fit.model, fit.fold] is fit]
    works = [
        leakage_work(
            line.warehouse, line.recipe.protocol(fit.model).id, fit.fold, fit.split, fit.checkpoint,
            line.corpora_of(fit.model).utterances,
        )
        for fit in fits
    ]  # fmt: skip
    different = {work.request.key: work for work in works}  # models of the same splits, without teachers, share theirs
    made = dict(zip(different, line.doer.step("leakage", list(different.values())), strict=True))
    found: dict[str, list[Artifact]] = {}
    for fit, work in zip(fits, works, strict=True):
        found.setdefault(fit.model, []).append(made[work.request.key])
    return found
