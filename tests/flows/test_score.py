"""Scores against scikit-learn, and a report whose bytes know neither when nor where."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, f1_score, recall_score

from flows.leakage_work import leakage_work
from flows.protocol import Protocol
from flows.recipe import ModelEntry, Recipe, ReportEntry
from flows.score import Fitted, Judgement, Predicted, differing_sources, metrics_work, report_work
from tests.flows.made import labels, utterance, utterances
from warehouse import Artifact, Request, Warehouse
from warehouse.schema import METRICS, PREDICTIONS, SHARD_INDEX, SPLIT, TRUTH
from warehouse.tables import read_table, write_rows

CLASSES = ["angry", "calm", "sad"]
RULES = Protocol(
    id="made", reader="table", title="Made up", labels={name: name for name in CLASSES}, folds="session",
    dev="session = $next", test="session = $fold", metrics=["uar", "accuracy", "wf1", "macro_f1", "f1/sad"],
)  # fmt: skip
Row = dict[str, Any]


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


def said(name: str, part: str, label: str | None, predicted: str) -> Row:
    return {
        "utterance_id": name, "part": part, "label": label, "predicted": predicted, "classes": CLASSES,
        "probabilities": [0.2, 0.3, 0.5],
    }  # fmt: skip


def some(fold: str, n: int = 40) -> list[Row]:
    """Labels and predictions by chance, the same for the same fold."""
    rng = np.random.default_rng(ord(fold))
    pairs = rng.choice(CLASSES, size=(n, 2)).tolist()
    return [said(f"{fold}{i}", ("dev", "test")[i % 2], *pair) for i, pair in enumerate(pairs)]


def predicted(lake: Warehouse, model: str, fold: str, rows: Sequence[Row]) -> tuple[Fitted, Artifact]:
    """A fit and its predictions, with the shard that a trace ends in."""

    def index(folder: Path) -> None:
        members = [
            {"utterance_id": row["utterance_id"], "input_id": f"i{n}", "offset": 512 * n, "n_bytes": 8}
            for n, row in enumerate(rows)
        ]
        write_rows(folder / "index.parquet", members, SHARD_INDEX)

    def rules(folder: Path) -> None:
        places = [{name: row[name] for name in SPLIT.names} | {"label": None} for row in rows]
        write_rows(folder / "split.parquet", places, SPLIT)

    def history(folder: Path) -> None:
        (folder / "history.csv").write_text("epoch,train_loss,dev_loss,kept\n1,1.5,1.25,1\n")

    split = lake.materialize(Request("split", "flows.protocol", 1, {"fold": fold, "model": model}), rules)
    shard = lake.materialize(Request("shards", "flows.pack", 1, {"fold": fold, "model": model}), index)
    order = Request("checkpoint", "students.made", 1, {"seed": 0, "model": model}, {"split": (split.digest,)})
    fit = lake.materialize(order, history)
    inputs = {"checkpoint": (fit.digest,), "shards:text": (shard.digest,), "split": (split.digest,)}
    request = Request("predictions", "models.predict", 1, {"parts": ["dev", "test"]}, inputs)
    told = [{name: row[name] for name in PREDICTIONS.names} for row in rows]
    artifact = lake.materialize(request, lambda f: write_rows(f / "predictions.parquet", told, PREDICTIONS))
    judged = [{name: row[name] for name in TRUTH.names} for row in rows if row["label"]]
    request = Request("truth", "flows.truth", 1, {"fold": fold, "model": model}, {"split": (split.digest,)})
    lake.materialize(request, lambda f: write_rows(f / "truth.parquet", judged, TRUTH))
    return Fitted(model, fold, 0, split, fit), artifact


def judgement(lake: Warehouse, runs: Predicted, **selected_on: Any) -> Judgement:
    """The truths of these runs, all by the same rules."""
    truths = {a.request.inputs["split"][0]: a for a in lake.artifacts("truth")}
    own = {fit.split.key: truths[fit.split.digest] for fit, _ in runs}
    return Judgement({fit.model: RULES for fit, _ in runs}, own, selected_on)


def measured(lake: Warehouse, *runs: tuple[Fitted, Artifact]) -> list[Row]:
    artifact = lake.perform(metrics_work(runs, judgement(lake, runs)))
    return read_table(artifact.path("metrics.parquet"), METRICS).to_pylist()


def test_metrics_are_those_of_scikit_learn(lake: Warehouse) -> None:
    runs = [predicted(lake, "made", fold, some(fold)) for fold in "AB"]
    found = {(row["fold"], row["part"], row["metric"]): row for row in measured(lake, *runs)}
    assert len(found) == 2 * 2 * len(RULES.metrics)
    for (fold, part, metric), row in found.items():
        rows = [r for r in some(fold) if r["part"] == part]
        y, p = [r["label"] for r in rows], [r["predicted"] for r in rows]
        expected = {
            "uar": recall_score(y, p, average="macro"),
            "accuracy": accuracy_score(y, p),
            "wf1": f1_score(y, p, average="weighted"),
            "macro_f1": f1_score(y, p, average="macro"),
            "f1/sad": f1_score(y, p, labels=["sad"], average="macro"),
        }
        assert row["value"] == pytest.approx(expected[metric]), (fold, part, metric)
        assert row["n_utterances"] == 20 and row["protocol"] == "made" and row["variant"] == "made"
        assert row["selected_on"] == "dev"
    assert {row["fold"]: row["predictions"] for row in found.values()} == {
        fit.fold: artifact.digest for fit, artifact in runs
    }


def test_a_part_without_labels_has_no_row_and_an_utterance_without_one_does_not_count(lake: Warehouse) -> None:
    rows = [
        said("a", "test", "sad", "sad"), said("b", "test", "calm", "sad"), said("c", "test", None, "sad"),
        said("d", "dev", None, "calm"), said("e", "train", "sad", "sad"),
    ]  # fmt: skip
    found = {row["metric"]: row for row in measured(lake, predicted(lake, "made", "A", rows))}
    assert {row["part"] for row in found.values()} == {"test"}
    assert (found["accuracy"]["value"], found["accuracy"]["n_utterances"]) == (0.5, 2)


def test_scores_are_asked_for_by_what_they_are_made_of(lake: Warehouse) -> None:
    one, two = (predicted(lake, "made", fold, some(fold)) for fold in "AB")
    judged = judgement(lake, [one, two])
    key = metrics_work([one], judged).request.key
    assert metrics_work([one], judged).request.key == key
    assert metrics_work([two], judged).request.key != key
    other = RULES.model_copy(update={"metrics": ["uar"]})
    assert metrics_work([one], replace(judged, rules={"made": other})).request.key != key
    assert metrics_work([one], replace(judged, selected_on={"made": "test"})).request.key != key
    corrected = dict.fromkeys(judged.truths, judged.truths[two[0].split.key])
    assert metrics_work([one], replace(judged, truths=corrected)).request.key != key


# -- the report ------------------------------------------------------------------------------------------------------


def reported(folder: Path, failures: Sequence[Mapping[str, Any]] = (), **selected_on: str) -> Artifact:
    """A report in a lake of its own in `folder`."""
    lake = Warehouse(folder / "lake", create=True)
    runs = [predicted(lake, model, fold, some(fold)) for model in ("one", "two") for fold in "AB"]
    judged_by = judgement(lake, runs, **selected_on)
    metrics = lake.perform(metrics_work(runs, judged_by))
    reading = utterances(lake, [utterance(row["utterance_id"]) for fold in "AB" for row in some(fold)])
    judged = labels(lake, {row["utterance_id"]: str(row["label"]) for fold in "AB" for row in some(fold)})
    recipe = Recipe(
        name="made", title="Made & up", corpora={}, text="name = 'made'\n",
        models={name: ModelEntry(student="linear", corpus="c", protocol="made", inputs={}) for name in judged_by.rules},
        report=ReportEntry(models=["one", "two"], remarks=["Nothing here was said by anybody."]),
    )  # fmt: skip
    leakages: dict[str, list[Artifact]] = {}
    for fit, _ in runs:
        truth = judged_by.truths[fit.split.key]
        work = leakage_work(lake, "made", fit.fold, fit.split, truth, fit.checkpoint, [reading])
        leakages.setdefault(fit.model, []).append(lake.perform(work))
    work = report_work(recipe, metrics, runs, judged_by, [reading], [judged], failures, leakages, {}, lake.root)
    return lake.perform(work)


def test_a_report_is_ordered_with_the_size_that_the_paper_prints(lake: Warehouse) -> None:
    fit, told = predicted(lake, "mmer", "A", some("A"))
    cost = {"parameters": 118_023_072, "trained_parameters": 113_822_624}
    runs = [(replace(fit, checkpoint=replace(fit.checkpoint, environment={"cost": cost})), told)]
    metrics, judged_by = lake.perform(metrics_work(runs, judgement(lake, runs))), judgement(lake, runs)
    model = ModelEntry(student="mmer", corpus="c", protocol="made", inputs={})
    recipe = Recipe(name="mmer", title="Mmer", corpora={}, text="", models={"mmer": model})
    work = report_work(recipe, metrics, runs, judged_by, [], [], [], {}, {}, lake.root)
    sizes = work.request.params["sizes"]["mmer"]
    assert sizes.items() >= {**cost, "printed": "≈ 228 M", "citation": "Ghosh et al. 2023"}.items()


def test_when_and_where_change_no_byte_of_a_report(tmp_path: Path) -> None:
    here, there = reported(tmp_path / "here"), reported(tmp_path / "far" / "there")
    assert here.key == there.key and here.digest == there.digest
    for name in ("report.html", "report.json"):
        text = here.path(name).read_text(encoding="utf-8")
        assert text == there.path(name).read_text(encoding="utf-8")
        assert str(tmp_path) not in text and str(Path.cwd()) not in text


def test_a_report_says_what_the_metrics_say(tmp_path: Path) -> None:
    artifact = reported(tmp_path, [{"input_id": "", "utterance_id": "A9", "step": "aligners.x", "reason": "odd"}])
    content = json.loads(artifact.path("report.json").read_text(encoding="utf-8"))
    lake = Warehouse(tmp_path / "lake")
    rows = pq.read_table(lake.artifacts("metrics")[0].path("metrics.parquet")).to_pylist()
    by_run = {
        (row["variant"], row["metric"], row["fold"]): row["value"] for row in rows if row["part"] == "test"
    }  # fmt: skip
    for score in content["scores"]:
        for run in score["runs"]:
            assert run["value"] == pytest.approx(by_run[score["variant"], score["metric"], run["fold"]])
    assert [row["utterance_id"] for row in content["failures"]] == ["A9"]
    assert "Nothing here was said by anybody." in content["warnings"]
    assert [hop["what"] for hop in content["trace"]] == ["prediction", "truth", "checkpoint", "shard"]
    assert [curve["model"] for curve in content["curves"]] == ["one", "two"]


def test_a_report_says_what_the_parts_share_and_cites_what_says_so(tmp_path: Path) -> None:
    artifact = reported(tmp_path)
    content = json.loads(artifact.path("report.json").read_text(encoding="utf-8"))
    lake = Warehouse(tmp_path / "lake")
    digests = {a.digest for a in lake.artifacts("leakage")}
    assert len(digests) == 2, "two models of the same splits, without teachers, share theirs"
    assert set(artifact.request.inputs["leakage"]) == digests
    assert [(one["model"], [fold["fold"] for fold in one["folds"]]) for one in content["leakage"]] == [
        ("one", ["A", "B"]), ("two", ["A", "B"])
    ]  # fmt: skip
    (sentence,) = [told for told in content["shared"] if " speakers " in told]
    assert sentence == (
        "made, 2 folds: 1 of 1 speakers of test are in dev too, with 100 % of the test utterances (20)."
    )
    assert sentence not in content["warnings"], "nothing was learned from dev"
    assert sentence in artifact.path("report.html").read_text(encoding="utf-8")


def test_what_was_selected_on_test_is_stamped_everywhere(tmp_path: Path) -> None:
    artifact = reported(tmp_path, two="test")
    content = json.loads(artifact.path("report.json").read_text(encoding="utf-8"))
    assert {row["variant"]: row["selected_on"] for row in content["scores"]} == {"one": "dev", "two": "test"}
    rows = pq.read_table(Warehouse(tmp_path / "lake").artifacts("metrics")[0].path("metrics.parquet")).to_pylist()
    assert {(row["variant"], row["selected_on"]) for row in rows} == {("one", "dev"), ("two", "test")}
    page = artifact.path("report.html").read_text(encoding="utf-8")
    assert "two (test-selected)" in page and "one (test-selected)" not in page


def test_one_protocol_on_different_corpora_or_selections_is_warned_about(tmp_path: Path) -> None:
    sources: dict[str, dict[str, Any]] = {
        "a": {"corpus": "x"}, "b": {"corpus": ["x"]}, "c": {"corpus": ["y", "x"]},
        "d": {"corpus": "x", "selection": "sure"}, "e": {"corpus": "y"},
    }  # fmt: skip
    models = {
        name: ModelEntry(student="linear", protocol="made", inputs={}, **source) for name, source in sources.items()
    }
    recipe = Recipe(name="made", title="t", corpora={}, models=models)
    rules = dict.fromkeys("abcd", RULES) | {"e": RULES.model_copy(update={"id": "other"})}
    assert differing_sources(recipe, rules) == [
        "Protocol 'made' stands for different utterances here, and its results cannot be compared with each other: "
        "x (a, b); x and y (c); x as 'sure' selects (d)."
    ]
    assert differing_sources(recipe, {"a": RULES, "b": RULES}) == []
