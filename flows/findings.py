"""What a report says: predictions, utterances and failures to plain JSON values.

Every figure has its protocol, number of folds and seeds, mean ± standard deviation and a 95 % interval over test
utterances beside it. Nothing depends on when or where it was computed.
"""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from flows.calibration import calibration_table
from flows.leakage_work import told, warned
from flows.leaks import Leakage
from flows.papers import with_ours
from flows.points import with_test_figures
from models.metrics import bootstrap_interval, scores

METRICS = ("accuracy", "uar", "wf1", "macro_f1")
"""What is shown where the protocol names no metrics."""


def report_content(
    *,
    title: str,
    recipe: str,
    predictions: pa.Table,
    protocols: Mapping[str, Mapping[str, Any]],
    utterances: pa.Table,
    labels: pa.Table,
    failures: Iterable[Mapping[str, Any]] = (),
    trace: Iterable[Mapping[str, Any]] = (),
    caveats: Iterable[str] = (),
    histories: Mapping[str, Mapping[str, str]] | None = None,
    leakages: Mapping[str, Sequence[Leakage]] | None = None,
    selections: Iterable[Mapping[str, Any]] = (),
    sizes: Mapping[str, Mapping[str, Any]] | None = None,
    points: Iterable[Mapping[str, Any]] = (),
    papers: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything a report says, as JSON values.

    Args:
        recipe: the text of the recipe.
        predictions: the columns of `schema.PREDICTIONS` and `variant`, `fold`, `seed`; the dev part may be among them.
        protocols: variant -> what `flows.protocol.describe` says of its protocol; with `selected_on` where models were
            not selected on dev. Its order is that of the tables.
        utterances: `schema.UTTERANCES` of all corpora.
        labels: `utterance_id` and `value`, one class per utterance, for those that have one.
        failures: rows of `schema.FAILURES`.
        trace: the steps from one number to raw bytes: `what`, `key` and `note`, and `digest` where there is one.
        caveats: sentences that the reader must know.
        histories: model -> run -> the text of its history.csv.
        leakages: model -> what the parts of each of its folds share.
        selections: as `flows.select.selection_table` gives them.
        sizes: model -> how many `parameters` its network has and how many are `trained_parameters`, where known; with
            what `flows.papers.sizes_beside` adds.
        papers: as `flows.papers.printed_for` gives them.
    """
    leaks = leakages or {}
    table = score_table(predictions, protocols)
    stamped = sorted({row["variant"] for row in table if row["selected_on"] == "test"})
    told_of = "or one it learned from, was selected on the test part: its numbers are test-selected."
    warnings = [f"Model '{name}', {told_of}" for name in stamped]
    tested = {row["variant"] for row in table}
    untested = [name for name in protocols if name not in tested]
    warnings += [f"Model '{name}' has no labelled test predictions, so it has no scores." for name in untested]
    warnings += _mixed({name: protocol for name, protocol in protocols.items() if name in tested})
    return {
        "title": title,
        "recipe": recipe,
        "protocols": _protocol_list(protocols),
        "stamps": dict.fromkeys(stamped, "test-selected"),
        "scores": table,
        "points": with_test_figures(points, table),
        "papers": with_ours(papers, table),
        "classes": class_table(predictions, protocols),
        "confusions": confusion_table(predictions, protocols),
        "calibration": calibration_table(predictions, protocols),
        "sizes": [{"model": name, **sizes[name]} for name in protocols if sizes and name in sizes],
        "corpora": corpus_table(utterances, labels),
        "durations": duration_counts(utterances),
        "selections": [dict(one) for one in selections],
        "curves": [
            {"model": model, "runs": curves} for model, runs in (histories or {}).items() if (curves := _curves(runs))
        ],
        "failures": [
            {name: row[name] for name in ("utterance_id", "step", "reason")}
            for row in sorted(failures, key=lambda row: (row["step"], row["utterance_id"], row["reason"]))
        ],
        "trace": [{"key": "", "digest": "", "note": ""} | dict(step) for step in trace],
        "leakage": [{"model": name, "folds": [one.as_json() for one in own]} for name, own in leaks.items()],
        "shared": told(leaks),
        "warnings": [*warnings, *warned(leaks), *caveats],
    }


def score_table(predictions: pa.Table, protocols: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per variant and metric, over labelled test utterances.

    A fold's value is the mean over its seeds; `mean` and `sd` (n - 1) are over folds, or over seeds where there is
    one fold, and `sd` is None for a single value. `pooled` is computed from all folds' predictions together, and so is
    the 95 % interval [`low`, `high`] over test utterances; with several seeds, these three are means over seeds, for
    the same utterance predicted twice is not two utterances.
    """
    rows = []
    for variant, runs in _runs(predictions, protocols).items():
        protocol = protocols[variant]
        classes = _classes(runs)
        by_run = {place: scores(*_columns(run), classes) for place, run in runs.items()}
        by_seed: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for (_, seed), run in runs.items():
            by_seed[seed] += run
        pooled = [scores(*_columns(run), classes) for run in by_seed.values()]
        for metric in protocol.get("metrics") or METRICS:
            values = {place: run[metric] for place, run in by_run.items()}
            spread = _over_folds(values)
            intervals = [_interval(run, metric) for run in by_seed.values()]
            known = [interval for interval in intervals if interval is not None]
            rows.append(
                {
                    "variant": variant,
                    "protocol": protocol["id"],
                    "metric": metric,
                    "mean": statistics.fmean(spread),
                    "sd": statistics.stdev(spread) if len(spread) > 1 else None,
                    "pooled": statistics.fmean(run[metric] for run in pooled),
                    "low": statistics.fmean(low for low, _ in known) if known else None,
                    "high": statistics.fmean(high for _, high in known) if known else None,
                    "n_folds": len({fold for fold, _ in runs}),
                    "n_seeds": len(by_seed),
                    "n_utterances": len({row["utterance_id"] for run in runs.values() for row in run}),
                    "selected_on": protocol.get("selected_on", "dev"),
                    "runs": [{"fold": fold, "seed": seed, "value": value} for (fold, seed), value in values.items()],
                }
            )
    return rows


def class_table(predictions: pa.Table, protocols: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """F1 of every class, one row per variant and class, over the test predictions of all runs together."""
    rows = []
    for variant, runs in _runs(predictions, protocols).items():
        together = [row for run in runs.values() for row in run]
        classes = _classes(runs)
        found = scores(*_columns(together), classes)
        rows += [{"variant": variant, "class": name, "f1": found[f"f1/{name}"]} for name in classes]
    return rows


def confusion_table(predictions: pa.Table, protocols: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Per variant the counts over the test predictions of all runs: labels down, predictions across."""
    tables = []
    for variant, runs in _runs(predictions, protocols).items():
        pairs = Counter((row["label"], row["predicted"]) for run in runs.values() for row in run)
        classes = _classes(runs)
        counts = [[pairs[label, predicted] for predicted in classes] for label in classes]
        tables.append({"variant": variant, "classes": classes, "counts": counts})
    return tables


def corpus_table(utterances: pa.Table, labels: pa.Table) -> list[dict[str, Any]]:
    """Per corpus: utterances, hours, speakers, and how many utterances each class has."""
    value_of = dict(zip(labels["utterance_id"].to_pylist(), labels["value"].to_pylist(), strict=True))
    corpora: dict[str, dict[str, Any]] = {}
    columns = ("corpus", "utterance_id", "speaker_id", "start_s", "end_s")
    for row in sorted(utterances.select(columns).to_pylist(), key=lambda row: (row["corpus"], row["utterance_id"])):
        entry = corpora.setdefault(row["corpus"], {"spans": [], "speakers": set(), "classes": Counter()})
        entry["spans"].append(row["end_s"] - row["start_s"])
        entry["speakers"].add(row["speaker_id"])
        if row["utterance_id"] in value_of:
            entry["classes"][value_of[row["utterance_id"]]] += 1
    return [
        {
            "corpus": name,
            "n_utterances": len(entry["spans"]),
            "hours": math.fsum(entry["spans"]) / 3600,
            "n_speakers": len(entry["speakers"] - {""}),
            "classes": dict(sorted(entry["classes"].items())),
        }
        for name, entry in corpora.items()
    ]


def duration_counts(utterances: pa.Table, n_bins: int = 32) -> dict[str, Any]:
    """Histograms of the utterances' durations, one per corpus, on the same bins; the last bin holds all longer ones.

    Example:
        >>> duration_counts(pa.table({"corpus": ["a", "a"], "start_s": [0.0, 1.0], "end_s": [0.2, 3.1]}))
        {'width_s': 0.1, 'counts': {'a': [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]}}
    """
    spans: dict[str, list[float]] = defaultdict(list)
    for row in utterances.select(("corpus", "start_s", "end_s")).to_pylist():
        if row["end_s"] > row["start_s"]:  # else it has no sound
            spans[row["corpus"]].append(row["end_s"] - row["start_s"])
    everything = sorted(span for some in spans.values() for span in some)
    longest = everything[math.ceil(0.995 * len(everything)) - 1] if everything else 0.0
    width = next((w for w in (0.1, 0.25, 0.5, 1.0, 2.0, 5.0) if longest < w * n_bins), longest / (n_bins - 1) or 10.0)
    last = int(longest / width + 1e-9)
    counts = {name: [0] * (last + 1) for name in sorted(spans)}
    for name, some in spans.items():
        for span in some:
            counts[name][min(int(span / width + 1e-9), last)] += 1
    return {"width_s": width, "counts": counts}


# -- inside ----------------------------------------------------------------------------------------------------------

Run = list[dict[str, Any]]


def _runs(predictions: pa.Table, protocols: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[tuple[str, int], Run]]:
    """Variant -> (fold, seed) -> its labelled test rows; variants in the order of their protocols, all else sorted."""
    columns = ("variant", "fold", "seed", "part", "utterance_id", "label", "predicted", "classes")
    runs: dict[str, dict[tuple[str, int], Run]] = {name: {} for name in protocols}
    rows = [r for r in predictions.select(columns).to_pylist() if r["part"] == "test" and r["label"] is not None]
    for row in sorted(rows, key=lambda r: (r["fold"], r["seed"], r["utterance_id"])):
        runs[row["variant"]].setdefault((row["fold"], row["seed"]), []).append(row)
    return {name: places for name, places in runs.items() if places}


def _columns(rows: Run) -> tuple[list[str], list[str]]:
    return [row["label"] for row in rows], [row["predicted"] for row in rows]


def _classes(runs: Mapping[Any, Run]) -> list[str]:
    return sorted({name for run in runs.values() for name in (*run[0]["classes"], *(row["label"] for row in run))})


def _protocol_list(protocols: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    variants: dict[str, list[str]] = defaultdict(list)
    for variant, protocol in protocols.items():
        variants[protocol["id"]].append(variant)
    described = {protocol["id"]: dict(protocol) for protocol in protocols.values()}
    return [
        {name: value for name, value in described[key].items() if name != "selected_on"} | {"variants": variants[key]}
        for key in variants
    ]


def _mixed(protocols: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The warning that stands over tables with more than one protocol."""
    listed = _protocol_list(protocols)
    if len(listed) < 2:
        return []
    told = "; ".join(f"{one['id']} ({', '.join(one['variants'])})" for one in listed)
    return [f"The tables hold {len(listed)} protocols, whose results cannot be compared with each other: {told}."]


def _over_folds(values: Mapping[tuple[str, int], float]) -> list[float]:
    by_fold: dict[str, list[float]] = defaultdict(list)
    for (fold, _), value in values.items():
        by_fold[fold].append(value)
    if len(by_fold) == 1:
        return list(values.values())
    return [statistics.fmean(some) for some in by_fold.values()]


def _interval(rows: Run, metric: str) -> tuple[float, float] | None:
    labels, predicted = _columns(rows)
    name = metric.partition("/")[2]
    if name and name not in {*labels, *predicted}:
        return None  # a class that neither occurs nor is predicted has no score to be unsure of
    return bootstrap_interval(labels, predicted, metric)


def _curves(histories: Mapping[str, str]) -> list[dict[str, Any]]:
    """Per run its columns of numbers; `kept` is the epoch whose weights were kept."""
    curves = []
    for run, text in sorted(histories.items()):
        rows = [{name: float(cell) for name, cell in row.items()} for row in csv.DictReader(io.StringIO(text))]
        if not rows:
            continue
        curve: dict[str, Any] = {"run": run, "epoch": [int(row["epoch"]) for row in rows]}
        for name in rows[0].keys() - {"epoch", "kept"}:
            curve[name] = [row[name] if math.isfinite(row[name]) else None for row in rows]
        curve["kept"] = next((int(row["epoch"]) for row in rows if row.get("kept")), None)
        curves.append(curve)
    return curves
