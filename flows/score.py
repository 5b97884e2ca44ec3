"""Predictions to metrics, and metrics to the report's files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from flows.costs import sizes_of
from flows.explained import told_of
from flows.firewall import SelectOn, judged_by
from flows.leakage_work import differing_counts, read_leakage
from flows.papers import printed_for, sizes_beside
from flows.protocol import Protocol, describe
from flows.recipe import Recipe
from flows.report import html_report, report_content
from flows.select import selection_table
from models.metrics import scores
from warehouse import Warehouse
from warehouse.artifact import Artifact, Request, Work
from warehouse.audit.trace import trace
from warehouse.hashing import digest
from warehouse.schema import LABELS, METRICS, PREDICTIONS, SELECTION, UTTERANCES
from warehouse.tables import read_table, write_rows

VERSION = 2


@dataclass(frozen=True)
class Fitted:
    """One fit of a model: its fold, seed, split and checkpoint. Where the predictions are the mean of several models',
    `members` are the fits of these; the checkpoint is that of the first."""

    model: str
    fold: str
    seed: int
    split: Artifact
    checkpoint: Artifact
    members: tuple[Fitted, ...] = ()

    @property
    def checkpoints(self) -> tuple[Artifact, ...]:
        """All whose networks make the predictions."""
        return tuple(fit.checkpoint for fit in self.members) or (self.checkpoint,)


Predicted = Sequence[tuple[Fitted, Artifact]]
"""Fits with their predictions."""


@dataclass(frozen=True)
class Judgement:
    """What predictions are judged by: model -> its protocol, the part it was selected on ('dev' where it is not named),
    and the key of each split -> its truth."""

    rules: Mapping[str, Protocol]
    truths: Mapping[str, Artifact]
    selected_on: Mapping[str, SelectOn] = field(default_factory=dict)

    def truths_of(self, predicted: Predicted) -> list[Artifact]:
        """One per fit, in their order."""
        return [self.truths[fit.split.key] for fit, _ in predicted]


def metrics_work(predicted: Predicted, judgement: Judgement) -> Work:
    """The work that scores every fit on its dev and test parts."""
    runs, truths = _runs(predicted, judgement), judgement.truths_of(predicted)
    inputs = {"predictions": tuple(a.digest for _, a in predicted), "truths": tuple(a.digest for a in truths)}
    request = Request("metrics", "flows.score", VERSION, {"runs": runs}, inputs)
    return Work(request, write_metrics, {"runs": runs, "predictions": [a for _, a in predicted], "truths": truths})


def write_metrics(
    folder: Path, runs: Sequence[Mapping[str, Any]], predictions: Sequence[Artifact], truths: Sequence[Artifact]
) -> None:
    """Writes `metrics.parquet`: one row per fit, part and metric; parts without labels have none."""
    import pyarrow.compute as pc  # takes as long to import as a plan with nothing to do

    rows = []
    for run, artifact, truth in zip(runs, predictions, truths, strict=True):
        table = judged_by(read_table(artifact.path("predictions.parquet"), PREDICTIONS), truth)
        for part in ("dev", "test"):
            own = table.filter((pc.field("part") == part) & pc.field("label").is_valid())
            if not own.num_rows:
                continue
            labels, predicted = own.column("label").to_pylist(), own.column("predicted").to_pylist()
            found = scores(labels, predicted, own.column("classes").to_pylist()[0])
            rows += [
                {
                    "protocol": run["protocol"], "variant": run["model"], "fold": run["fold"], "seed": run["seed"],
                    "part": part, "metric": metric, "value": found[metric], "n_utterances": own.num_rows,
                    "predictions": artifact.digest, "selected_on": run["selected_on"],
                }
                for metric in run["metrics"]
            ]  # fmt: skip
    write_rows(folder / "metrics.parquet", rows, METRICS)


def report_work(
    recipe: Recipe,
    metrics: Artifact,
    predicted: Predicted,
    judgement: Judgement,
    utterances: Sequence[Artifact],
    labels: Sequence[Artifact],
    failures: Sequence[Mapping[str, Any]],
    leakages: Mapping[str, Sequence[Artifact]],
    selections: Mapping[str, tuple[Artifact, Sequence[Artifact]]],
    lake: Path,
    chosen: Sequence[tuple[Mapping[str, Any], Artifact]] = (),
    explanations: Mapping[str, Sequence[Artifact]] | None = None,
    lacks: Sequence[str] = (),
) -> Work:
    """The work that writes `report.html` and `report.json`. Where and when change no byte.

    Args:
        leakages: model -> the leakage of each of its folds.
        selections: name -> a selection and the utterances it was chosen from.
        chosen: the points of each grid (`flows.points.point_table`), and the metrics that one was chosen by.
        explanations: model -> those of each of its fits.
        lacks: sentences on fits that could not be made.
    """
    runs, truths, rules = _runs(predicted, judgement), judgement.truths_of(predicted), judgement.rules
    described = {name: dict(describe(protocol)) for name, protocol in rules.items()}
    for name, part in judgement.selected_on.items():
        described[name]["selected_on"] = part
    remarks = [*lacks, *differing_sources(recipe, rules), *(recipe.report.sentences if recipe.report else [])]
    params = {
        "title": recipe.title, "recipe": recipe.text, "protocols": described, "runs": runs, "caveats": remarks,
        "failures": digest(list(failures)), "selections": list(selections),
        "sizes": sizes_beside(recipe.name, sizes_of(fit for fit, _ in predicted)),
    }  # fmt: skip
    inputs = {
        "metrics": (metrics.digest,),
        "predictions": tuple(a.digest for _, a in predicted),
        "checkpoints": tuple(a.digest for fit, _ in predicted for a in fit.checkpoints),
        "utterances": tuple(a.digest for a in utterances),
        "labels": tuple(a.digest for a in labels),
        "leakage": tuple(a.digest for own in leakages.values() for a in own),
        "truths": tuple(a.digest for a in truths),
        "selections": tuple(selection.digest for selection, _ in selections.values()),
    }
    papers = printed_for(recipe.name, list(rules))
    params |= {"papers": papers} if papers["rows"] else {}
    if chosen:
        params["points"] = [dict(table) for table, _ in chosen]
        inputs["points"] = tuple(metrics.digest for _, metrics in chosen)
    if explanations:
        params["explained"] = {name: len(own) for name, own in explanations.items()}
        inputs["explanations"] = tuple(a.digest for own in explanations.values() for a in own)
    arguments = params | {
        "predictions": [a for _, a in predicted], "checkpoints": [fit.checkpoints for fit, _ in predicted],
        "utterances": utterances, "labels": labels, "failures": failures, "leakages": leakages,
        "truths": truths, "selections": selections, "lake": lake,
    } | ({"explained": explanations} if explanations else {})  # fmt: skip
    return Work(Request("report", "flows.report", VERSION, params, inputs), write_report, arguments)


def write_report(
    folder: Path, title: str, recipe: str, protocols: Mapping[str, Mapping[str, Any]],
    runs: Sequence[Mapping[str, Any]], caveats: Sequence[str], failures: Sequence[Mapping[str, Any]],
    predictions: Sequence[Artifact], checkpoints: Sequence[Sequence[Artifact]], utterances: Sequence[Artifact],
    labels: Sequence[Artifact], leakages: Mapping[str, Sequence[Artifact]], truths: Sequence[Artifact],
    selections: Mapping[str, tuple[Artifact, Sequence[Artifact]]], sizes: Mapping[str, Mapping[str, Any]], lake: Path,
    points: Sequence[Mapping[str, Any]] = (), papers: Mapping[str, Any] | None = None,
    explained: Mapping[str, Sequence[Artifact]] | None = None,
) -> None:  # fmt: skip
    """Writes the page and the same content as JSON."""
    import pyarrow.compute as pc

    histories: dict[str, dict[str, str]] = {}
    for run, own in zip(runs, checkpoints, strict=True):
        if len(own) == 1 and "history.csv" in own[0].files:
            place = f"fold {run['fold']}, seed {run['seed']}"
            histories.setdefault(run["model"], {})[place] = own[0].path("history.csv").read_text()
    tested = read_table(predictions[0].path("predictions.parquet"), PREDICTIONS).filter(pc.field("part") == "test")
    first = tested.column("utterance_id").to_pylist()[:1]
    hops = trace(Warehouse(lake), predictions[0], first[0], truth=truths[0]) if first else []
    content = report_content(
        title=title, recipe=recipe, predictions=_together(runs, predictions, truths), protocols=protocols,
        utterances=_uttered(utterances),
        labels=_classes(labels), failures=failures, trace=[vars(hop) for hop in hops],
        caveats=[*differing_counts(zip((run["protocol"] for run in runs), truths, strict=True)), *caveats],
        histories=histories, leakages={name: [read_leakage(a) for a in own] for name, own in leakages.items()},
        selections=[
            selection_table(name, read_table(chosen.path("selection.parquet"), SELECTION), _uttered(own))
            for name, (chosen, own) in selections.items()
        ],
        sizes=sizes, points=points, papers=papers,
    )  # fmt: skip
    if explained:
        content["explanations"] = [told_of(name, fits) for name, fits in explained.items()]
    (folder / "report.html").write_text(html_report(content), encoding="utf-8")
    text = json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")


def differing_sources(recipe: Recipe, rules: Mapping[str, Protocol]) -> list[str]:
    """A sentence for every protocol that models were tested by on different corpora, or on what different selections
    left of them: that it is the same protocol does not make their results comparable.

    Args:
        rules: model -> its protocol.
    """
    asked: dict[str, dict[str, list[str]]] = {}
    for name, protocol in rules.items():
        entry = recipe.models[recipe.behind(name)[0]]
        source = " and ".join(sorted(entry.corpora))
        source += f" as '{entry.selection}' selects" if entry.selection else ""
        asked.setdefault(protocol.id, {}).setdefault(source, []).append(name)
    told = []
    for protocol_id, sources in asked.items():
        if len(sources) > 1:
            listed = "; ".join(f"{source} ({', '.join(names)})" for source, names in sources.items())
            problem = "stands for different utterances here, and its results cannot be compared with each other"
            told.append(f"Protocol '{protocol_id}' {problem}: {listed}.")
    return told


def _uttered(utterances: Sequence[Artifact]) -> pa.Table:
    return pa.concat_tables(read_table(a.path("utterances.parquet"), UTTERANCES) for a in utterances)


def _runs(predicted: Predicted, judgement: Judgement) -> list[dict[str, Any]]:
    rules, selected_on = judgement.rules, judgement.selected_on
    return [
        {
            "model": fit.model, "protocol": rules[fit.model].id, "fold": fit.fold, "seed": fit.seed,
            "metrics": rules[fit.model].metrics, "selected_on": selected_on.get(fit.model, "dev"),
        }
        for fit, _ in predicted
    ]  # fmt: skip


def _together(
    runs: Sequence[Mapping[str, Any]], predictions: Sequence[Artifact], truths: Sequence[Artifact]
) -> pa.Table:
    """All predictions in one table, each row with the label of its truth, its variant, fold and seed."""
    tables = []
    for run, artifact, truth in zip(runs, predictions, truths, strict=True):
        table = judged_by(read_table(artifact.path("predictions.parquet"), PREDICTIONS), truth)
        for column, value in (("variant", run["model"]), ("fold", run["fold"]), ("seed", run["seed"])):
            table = table.append_column(column, pa.array([value] * table.num_rows))
        tables.append(table)
    return pa.concat_tables(tables)


def _classes(labels: Sequence[Artifact]) -> pa.Table:
    """utterance_id and the corpora's own emotion label, where there is one."""
    from warehouse.questions import closed_memory

    connection = closed_memory()
    connection.register("labels", pa.concat_tables(read_table(a.path("labels.parquet"), LABELS) for a in labels))
    query = "SELECT utterance_id, value FROM labels WHERE scheme = 'emotion' AND rater = 'summary' ORDER BY ALL"
    return connection.sql(query).to_arrow_table()
