"""Predictions to metrics, and metrics to the report's files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from flows.leakage_work import differing_counts, read_leakage
from flows.protocol import Protocol, describe
from flows.recipe import Recipe
from flows.report import html_report, report_content
from flows.select import selection_table
from models.metrics import scores
from warehouse import Warehouse, lineage
from warehouse.artifact import Artifact, Request, Work
from warehouse.hashing import digest
from warehouse.schema import LABELS, METRICS, PREDICTIONS, SELECTION, UTTERANCES
from warehouse.tables import read_table, write_rows

VERSION = 1


@dataclass(frozen=True)
class Fitted:
    """One fit of a model: its fold, seed, split and checkpoint."""

    model: str
    fold: str
    seed: int
    split: Artifact
    checkpoint: Artifact


Predicted = Sequence[tuple[Fitted, Artifact]]
"""Fits with their predictions."""


def metrics_work(predicted: Predicted, rules: Mapping[str, Protocol]) -> Work:
    """The work that scores every fit on its dev and test parts."""
    runs = _runs(predicted, rules)
    request = Request(
        "metrics", "flows.score", VERSION, {"runs": runs}, {"predictions": tuple(a.digest for _, a in predicted)}
    )
    return Work(request, write_metrics, {"runs": runs, "predictions": [a for _, a in predicted]})


def write_metrics(folder: Path, runs: Sequence[Mapping[str, Any]], predictions: Sequence[Artifact]) -> None:
    """Writes `metrics.parquet`: one row per fit, part and metric; parts without labels have none."""
    rows = []
    for run, artifact in zip(runs, predictions, strict=True):
        table = read_table(artifact.path("predictions.parquet"), PREDICTIONS)
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
                    "predictions": artifact.digest,
                }
                for metric in run["metrics"]
            ]  # fmt: skip
    write_rows(folder / "metrics.parquet", rows, METRICS)


def report_work(
    recipe: Recipe,
    metrics: Artifact,
    predicted: Predicted,
    rules: Mapping[str, Protocol],
    utterances: Sequence[Artifact],
    labels: Sequence[Artifact],
    failures: Sequence[Mapping[str, Any]],
    leakages: Mapping[str, Sequence[Artifact]],
    selections: Mapping[str, tuple[Artifact, Sequence[Artifact]]],
    lake: Path,
) -> Work:
    """The work that writes `report.html` and `report.json`. Where and when change no byte.

    Args:
        leakages: model -> the leakage of each of its folds.
        selections: name -> a selection and the utterances it was chosen from.
    """
    runs = _runs(predicted, rules)
    described = {name: dict(describe(protocol)) for name, protocol in rules.items()}
    remarks = [*differing_sources(recipe, rules), *(recipe.report.remarks if recipe.report else [])]
    params = {
        "title": recipe.title, "recipe": recipe.text, "protocols": described, "runs": runs, "caveats": remarks,
        "failures": digest(list(failures)), "selections": list(selections),
    }  # fmt: skip
    inputs = {
        "metrics": (metrics.digest,),
        "predictions": tuple(a.digest for _, a in predicted),
        "checkpoints": tuple(fit.checkpoint.digest for fit, _ in predicted),
        "utterances": tuple(a.digest for a in utterances),
        "labels": tuple(a.digest for a in labels),
        "leakage": tuple(a.digest for own in leakages.values() for a in own),
        "splits": tuple(fit.split.digest for fit, _ in predicted),
        "selections": tuple(selection.digest for selection, _ in selections.values()),
    }
    arguments = params | {
        "predictions": [a for _, a in predicted], "checkpoints": [fit.checkpoint for fit, _ in predicted],
        "utterances": utterances, "labels": labels, "failures": failures, "leakages": leakages,
        "splits": [(rules[fit.model].id, fit.split) for fit, _ in predicted], "selections": selections,
        "lake": lake,
    }  # fmt: skip
    return Work(Request("report", "flows.report", VERSION, params, inputs), write_report, arguments)


def write_report(
    folder: Path, title: str, recipe: str, protocols: Mapping[str, Mapping[str, Any]],
    runs: Sequence[Mapping[str, Any]], caveats: Sequence[str], failures: Sequence[Mapping[str, Any]],
    predictions: Sequence[Artifact], checkpoints: Sequence[Artifact], utterances: Sequence[Artifact],
    labels: Sequence[Artifact], leakages: Mapping[str, Sequence[Artifact]], splits: Sequence[tuple[str, Artifact]],
    selections: Mapping[str, tuple[Artifact, Sequence[Artifact]]], lake: Path,
) -> None:  # fmt: skip
    """Writes the page and the same content as JSON."""
    histories: dict[str, dict[str, str]] = {}
    for run, checkpoint in zip(runs, checkpoints, strict=True):
        if "history.csv" in checkpoint.files:
            place = f"fold {run['fold']}, seed {run['seed']}"
            histories.setdefault(run["model"], {})[place] = checkpoint.path("history.csv").read_text()
    tested = read_table(predictions[0].path("predictions.parquet"), PREDICTIONS).filter(pc.field("part") == "test")
    first = tested.column("utterance_id").to_pylist()[:1]
    hops = lineage.trace(Warehouse(lake), predictions[0], first[0]) if first else []
    content = report_content(
        title=title, recipe=recipe, predictions=_together(runs, predictions), protocols=protocols,
        utterances=_uttered(utterances),
        labels=_classes(labels), failures=failures, trace=[vars(hop) for hop in hops],
        caveats=[*differing_counts(splits), *caveats],
        histories=histories, leakages={name: [read_leakage(a) for a in own] for name, own in leakages.items()},
        selections=[
            selection_table(name, read_table(chosen.path("selection.parquet"), SELECTION), _uttered(own))
            for name, (chosen, own) in selections.items()
        ],
    )  # fmt: skip
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
        entry = recipe.models[name]
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


def _runs(predicted: Predicted, rules: Mapping[str, Protocol]) -> list[dict[str, Any]]:
    return [
        {
            "model": fit.model, "protocol": rules[fit.model].id, "fold": fit.fold, "seed": fit.seed,
            "metrics": rules[fit.model].metrics,
        }
        for fit, _ in predicted
    ]  # fmt: skip


def _together(runs: Sequence[Mapping[str, Any]], predictions: Sequence[Artifact]) -> pa.Table:
    """All predictions in one table, each row with its variant, fold and seed."""
    tables = []
    for run, artifact in zip(runs, predictions, strict=True):
        table = read_table(artifact.path("predictions.parquet"), PREDICTIONS)
        for column, value in (("variant", run["model"]), ("fold", run["fold"]), ("seed", run["seed"])):
            table = table.append_column(column, pa.array([value] * table.num_rows))
        tables.append(table)
    return pa.concat_tables(tables)


def _classes(labels: Sequence[Artifact]) -> pa.Table:
    """utterance_id and the corpora's own emotion label, where there is one."""
    connection = duckdb.connect()
    connection.register("labels", pa.concat_tables(read_table(a.path("labels.parquet"), LABELS) for a in labels))
    query = "SELECT utterance_id, value FROM labels WHERE scheme = 'emotion' AND rater = 'summary' ORDER BY ALL"
    return connection.sql(query).to_arrow_table()
