"""The end of the line: predictions to metrics, to what their splits share, to the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flows.explained import explanations_of
from flows.firewall import selected_on
from flows.leakage_work import leakage_work
from flows.score import Fitted, Judgement, Predicted, metrics_work, report_work
from flows.truth import truth_work
from flows.unfitted import unfitted_sentences
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
    predictions = [pair for name in recipe.report.names for pair in line.predictions(name)]
    rules = {name: recipe.protocol(name) for name in recipe.report.names}
    corpora = [*recipe.corpora, *recipe.retold]
    utterances = [artifact for name in corpora for artifact in line.corpus(name).utterances]
    labels = [artifact for name in corpora for artifact in line.corpus(name).labels]
    firsts = {fit.model: artifact for fit, artifact in reversed(predictions)}
    selected = {name: selected_on(line.warehouse, artifact) for name, artifact in firsts.items()}
    judgement = Judgement(rules, truths_of(line, predictions), selected)
    metrics = line.doer.step("score", [metrics_work(predictions, judgement)])[0]
    leakages = _leakages(line, [fit for fit, _ in predictions], judgement)
    failures = list(line.failures.values())
    selections = {
        name: (line.selection(name), line.corpus(entry.corpus).utterances) for name, entry in recipe.selections.items()
    }
    members = [one for name in recipe.report.names for one in (name, *recipe.report.averages.get(name, ()))]
    choices = [line.choice(name) for name in dict.fromkeys(members) if name in recipe.grids]
    work = report_work(
        recipe, metrics, predictions, judgement, utterances, labels, failures, leakages, selections,
        line.warehouse.root, [(choice.table, choice.metrics) for choice in choices], explanations_of(line),
        unfitted_sentences(line),
    )  # fmt: skip
    made = line.doer.step("report", [work])[0]
    line.doer.remember(f"reports/{recipe.name}", {"artifact": made.key, "metrics": metrics.key})
    return made


def truths_of(line: Line, predicted: Predicted, step: str = "truth") -> dict[str, Artifact]:
    """The key of each split -> its truth."""
    splits = {one.split.key: one.split for fit, _ in predicted for one in (fit, *fit.members)}
    works = [truth_work(line.split_works[key], split) for key, split in splits.items()]
    return dict(zip(splits, line.doer.step(step, works), strict=True))


def _leakages(line: Line, fitted: Sequence[Fitted], judgement: Judgement) -> dict[str, list[Artifact]]:
    """Model -> the leakage of each of its folds; the seeds of a fold share its split and its teachers."""
    firsts: dict[tuple[str, str], Fitted] = {}
    for fit in fitted:
        for one in fit.members or (fit,):
            firsts.setdefault((one.model, one.fold), one)
    fits = list(firsts.values())
    works = [
        leakage_work(
            line.warehouse, line.recipe.protocol(fit.model).id, fit.fold, fit.split, judgement.truths[fit.split.key],
            fit.checkpoint, line.corpora_of(line.recipe.behind(fit.model)[0]).utterances,
        )
        for fit in fits
    ]  # fmt: skip
    different = {work.request.key: work for work in works}  # models of the same splits, without teachers, share theirs
    made = dict(zip(different, line.doer.step("leakage", list(different.values())), strict=True))
    found: dict[str, list[Artifact]] = {}
    for fit, work in zip(fits, works, strict=True):
        found.setdefault(fit.model, []).append(made[work.request.key])
    return found
