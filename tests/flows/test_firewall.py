"""The test firewall as a law: test labels reach no fit and no prediction, and what they did select says so."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from flows.firewall import judged_by, seen, selected_on
from flows.line import Line
from flows.recipe import read_recipe
from flows.traced_number import metric_rows, trace_number
from models.stream import read_split
from tests.flows.wholly import Wholly
from warehouse import Artifact, Request, Warehouse
from warehouse.audit.lineage import up
from warehouse.errors import InvalidField
from warehouse.schema import PREDICTIONS, SPLIT, TRUTH
from warehouse.tables import read_table, table_of, write_rows

PARTS = ("train", "dev", "test")
ONE = pa.schema([("x", pa.string())])
RECIPE = """
name = "law"
title = "One model as it should be, one selected on test, and one that learned from that"
[corpora.clips]
reader = "table"
file = "clips.csv"
split = "part"
[features.mfcc]
extractor = "mfcc"
corpora = ["clips"]
[models.plain]
MODEL
[models.chosen]
MODEL
select_on = "test"
[models.follower]
MODEL
init = "chosen"
[report]
models = ["chosen", "plain", "follower"]
""".replace(
    "MODEL",
    """student = "mced"
corpus = "clips"
protocol = "calm.toml"
inputs = { speech = "mfcc" }
objective = { label = 1.0 }
fit = { epochs = 4, learning_rate = 0.01, batch_frames = 200 }
channels = 8
layers = 1
width = 8
heads = 2
feed_forward = 8
dropout = 0.0
teacher_layers = [1]
student_layers = [1]
layer_weights = [1.0]""",
)
CALM = """
id = "calm"
reader = "table"
title = "Two classes"
dev = "split = 'dev'"
test = "split = 'test'"
metrics = ["accuracy", "uar"]
[labels]
calm = "calm"
loud = "loud"
"""


def split_of(labels: Mapping[str, str], test: Sequence[str] = ()) -> Any:
    """Utterance 'dev3' is in dev; the test labels may be given in their order."""
    names = [f"{part}{n}" for part in PARTS for n in range(4)]
    told = dict(zip(names[-4:], test, strict=False))
    rows = [{"utterance_id": n, "part": n[:-1], "label": told.get(n, labels.get(n[-1]))} for n in names]
    return table_of(rows, SPLIT)


@given(st.lists(st.sampled_from(["calm", "loud", None]), min_size=4, max_size=4))
def test_what_is_seen_does_not_depend_on_test_labels(test: list[str]) -> None:
    labels = {"0": "calm", "1": "loud", "2": "calm"}
    found = seen(split_of(labels, test), "dev")
    assert found.equals(seen(split_of(labels), "dev"))
    rows = found.to_pylist()
    assert {row["label"] for row in rows if row["part"] == "test"} == {None} and len(rows) == 12
    assert all(row["label"] == labels.get(row["utterance_id"][-1]) for row in rows if row["part"] != "test")


def test_who_is_selected_on_test_has_it_as_dev_and_no_other_dev() -> None:
    labels = {"0": "calm", "1": "loud"}
    rows = [(row["utterance_id"], row["part"], row["label"]) for row in seen(split_of(labels), "test").to_pylist()]
    twice = [[(f"test{n}", "dev", labels.get(str(n))), (f"test{n}", "test", None)] for n in range(4)]
    assert rows == [*chain(*twice), *((f"train{n}", "train", labels.get(str(n))) for n in range(4))]


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


def test_labels_are_those_of_the_truth_and_train_keeps_its_own(lake: Warehouse) -> None:
    rows = [{"utterance_id": "test0", "part": "test", "label": "loud"}]
    truth = lake.materialize(Request("truth", "made", 1), lambda f: write_rows(f / "truth.parquet", rows, TRUTH))
    hidden = seen(split_of({"0": "calm", "1": "loud"}), "dev")
    found = {row["utterance_id"]: row["label"] for row in judged_by(hidden, truth).to_pylist()}
    assert (found["test0"], found["test1"], found["train1"], found["dev0"]) == ("loud", None, "loud", "calm")
    said = [
        {"utterance_id": name, "part": "test", "predicted": "calm", "classes": ["calm"], "probabilities": [1.0]}
        for name in ("test1", "test0")
    ]
    judged = judged_by(table_of(said, PREDICTIONS), truth)
    assert judged.column_names == ["utterance_id", "part", "label", "predicted", "classes", "probabilities"]
    assert judged.column("label").to_pylist() == [None, "loud"]


def test_the_stamp_goes_down_to_all_that_comes_from_it(lake: Warehouse) -> None:
    def made(kind: str, params: Mapping[str, Any], **inputs: Artifact) -> Artifact:
        digests = {role: (artifact.digest,) for role, artifact in inputs.items()}
        request = Request(kind, "made", 1, params, digests)
        return lake.materialize(request, lambda folder: write_rows(folder / "x", [{"x": request.key}], ONE))

    honest, other = made("split", {}), made("split", {"select_on": "test"})
    teacher = made("checkpoint", {}, split=other)
    features = made("features", {}, weights=teacher)
    student = made("checkpoint", {}, split=honest, shards=made("shards", {}, features=features))
    predictions = made("predictions", {}, checkpoint=student, split=honest)
    alone = made("checkpoint", {}, split=honest)
    stamped = [selected_on(lake, one) for one in (other, teacher, features, student, predictions)]
    assert stamped == ["test"] * 5 and selected_on(lake, honest) == selected_on(lake, alone) == "dev"


def test_a_selection_that_changed_no_byte_stamps_nobody_else(lake: Warehouse) -> None:
    def made(kind: str, content: str, params: Mapping[str, Any], **inputs: Artifact) -> Artifact:
        request = Request(kind, "made", 1, params, {role: (source.digest,) for role, source in inputs.items()})
        return lake.materialize(request, lambda folder: (folder / "x").write_text(content, "utf-8") and None)

    honest, other = made("split", "honest", {}), made("split", "other", {"select_on": "test"})
    solved = made("checkpoint", "weights", {}, split=honest)
    assert selected_on(lake, solved) == "dev"
    again = made("checkpoint", "weights", {}, split=other)
    assert solved.digest == again.digest and solved.key != again.key
    predictions = made("predictions", "p", {}, checkpoint=solved, split=honest)
    chosen = made("predictions", "q", {}, checkpoint=again, split=other)
    assert [selected_on(lake, one) for one in (solved, predictions, chosen)] == ["dev", "dev", "test"]


# -- the whole line --------------------------------------------------------------------------------------------------


def write_clips(root: Path, swapped: str = "") -> None:
    """Tones whose height is their class; the labels of one part may be swapped."""
    root.mkdir(parents=True, exist_ok=True)
    lines, time_s = ["path,text,speaker,label,part"], np.arange(3200) / 16_000
    for number in range(24):
        part, is_loud = PARTS[number // 2 % 3], number % 2
        tone = 0.3 * np.sin(2 * np.pi * (200 + 900 * is_loud + 7 * number) * time_s)
        soundfile.write(root / f"{number}.wav", tone.astype(np.float32), 16_000)
        label = ("calm", "loud")[is_loud != (part == swapped)]
        lines.append(f"{number}.wav,words,s{number},{label},{part}")
    (root / "clips.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def begun(folder: Path, lake: str, swapped: str = "") -> Line:
    (folder / "law.toml").write_text(RECIPE, encoding="utf-8")
    (folder / "calm.toml").write_text(CALM, encoding="utf-8")
    write_clips(folder / f"raw {lake}", swapped)
    warehouse = Warehouse(folder / lake, create=True)
    return Line(read_recipe(folder / "law.toml"), warehouse, {"clips": folder / f"raw {lake}"}, Wholly(warehouse))


def run(folder: Path, lake: str, swapped: str = "") -> Line:
    line = begun(folder, lake, swapped)
    line.run()
    return line


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("law")


@pytest.fixture(scope="module")
def line(folder: Path) -> Line:
    return run(folder, "lake")


def accuracy(line: Line) -> dict[str, float]:
    """Model -> accuracy on test."""
    rows = metric_rows(line.warehouse, "law")
    return {row["variant"]: row["value"] for row in rows if (row["part"], row["metric"]) == ("test", "accuracy")}


def test_other_test_labels_change_no_byte_of_a_checkpoint_or_of_predictions_and_change_metrics(
    folder: Path, line: Line
) -> None:
    other = run(folder, "other", swapped="test")
    for one, again in zip(line.predictions("plain"), other.predictions("plain"), strict=True):
        fits = one[0].checkpoint, again[0].checkpoint
        for before, after in (fits, (one[1], again[1])):
            assert (before.key, before.digest, before.files) == (after.key, after.digest, after.files)
        splits = one[0].split, again[0].split
        assert splits[0].digest == splits[1].digest and splits[0].key != splits[1].key, "asked of other labels"
    assert accuracy(line)["plain"] > 0.5 and accuracy(other)["plain"] == 1 - accuracy(line)["plain"]
    dev = begun(folder, "other dev", swapped="dev").model("plain")[0].checkpoint
    assert dev.key != fits[0].key, "those of dev do reach the fit"


def test_corrected_test_labels_cost_no_fit(folder: Path, line: Line) -> None:
    def fits() -> set[str]:
        kinds = ("checkpoint", "predictions")
        return {a.key for kind in kinds for a in Warehouse(folder / "lake").artifacts(kind)}

    before, plain = fits(), line.predictions("plain")[0][1]
    query = f"SELECT label FROM predictions WHERE part = 'test' AND artifact = '{plain.key}' ORDER BY utterance_id"
    first = [label for (label,) in line.warehouse.sql(query).fetchall()]
    raw = folder / "raw lake"
    write_clips(raw, swapped="test")
    again = Line(line.recipe, line.warehouse, {"clips": raw}, Wholly(line.warehouse))
    again.run()
    new = fits() - before
    assert again.predictions("plain")[0][1] == plain and plain.key not in new
    assert len(new) == 4, "the two that are selected on test, or learned from one that is, are other models now"
    swap = {"calm": "loud", "loud": "calm"}
    assert [label for (label,) in line.warehouse.sql(query).fetchall()] == [swap[label] for label in first]
    write_clips(raw)
    Line(line.recipe, line.warehouse, {"clips": raw}, Wholly(line.warehouse)).run()
    assert [label for (label,) in line.warehouse.sql(query).fetchall()] == first, "the view has the labels of today"


def test_no_fit_and_no_prediction_cites_a_truth_and_metrics_lead_through_it_to_raw_bytes(line: Line) -> None:
    for kind in ("checkpoint", "predictions"):
        for artifact in line.warehouse.artifacts(kind):
            kinds = {node.artifact.request.kind for node in up(line.warehouse, artifact).walk()}
            assert "truth" not in kinds and "raw" in kinds
    report = line.warehouse.resolve("reports/law")
    metrics = line.warehouse.resolve(report.request.inputs["metrics"][0])
    truth = line.warehouse.resolve(metrics.request.inputs["truths"][0])
    above = [node.artifact for node in up(line.warehouse, truth).walk()]
    assert {"labels", "raw"} <= {artifact.request.kind for artifact in above}
    number = trace_number(line.warehouse, metrics)
    assert number is not None
    assert [hop.what for hop in number.hops][:4] == ["prediction", "truth", "labels", "checkpoint"]


def test_what_is_selected_on_test_and_what_learns_from_it_is_stamped(line: Line) -> None:
    fitted = {name: line.predictions(name)[0] for name in line.recipe.models}
    assert fitted["chosen"][0].split.request.params["select_on"] == "test"
    assert "select_on" not in fitted["plain"][0].split.request.params
    parts = read_split(fitted["chosen"][0].split.path("split.parquet"))
    assert parts["dev"].keys() == parts["test"].keys() and len(parts["train"]) == len(parts["dev"]) == 8
    assert set(parts["dev"].values()) == {"calm", "loud"} and set(parts["test"].values()) == {None}
    stamps = {"plain": "dev", "chosen": "test", "follower": "test"}
    number = trace_number(line.warehouse, line.warehouse.resolve("reports/law"))
    assert number is not None and number.name == "accuracy of 'chosen', fold all, seed 0, test-selected"
    assert {name: selected_on(line.warehouse, artifact) for name, (_, artifact) in fitted.items()} == stamps
    rows = metric_rows(line.warehouse, "law")
    assert {row["variant"]: row["selected_on"] for row in rows} == stamps
    content = json.loads(line.report().path("report.json").read_text(encoding="utf-8"))
    assert content["stamps"] == dict.fromkeys(["chosen", "follower"], "test-selected")
    dev = [row["value"] for row in rows if (row["variant"], row["part"]) == ("chosen", "dev")]
    assert dev == [row["value"] for row in rows if (row["variant"], row["part"]) == ("chosen", "test")]
    judged = judged_by(
        read_table(fitted["chosen"][1].path("predictions.parquet"), PREDICTIONS),
        next(a for a in line.warehouse.artifacts("truth") if a.request.params.get("select_on") == "test"),
    )
    assert judged.num_rows == 16 and judged.column("label").null_count == 0


def test_a_model_cannot_be_selected_on_a_part_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "calm.toml").write_text(CALM.replace("test = \"split = 'test'\"\n", ""), encoding="utf-8")
    recipe = tmp_path / "law.toml"
    recipe.write_text(RECIPE, encoding="utf-8")
    complaint = r"field 'models\.chosen\.select_on' is 'test', but protocol 'calm' has no test part"
    with pytest.raises(InvalidField, match=complaint):
        read_recipe(recipe)
    recipe.write_text(RECIPE.replace('select_on = "test"', 'select_on = "train"'), encoding="utf-8")
    with pytest.raises(InvalidField, match=r"\[models\.chosen\]: field 'select_on' is wrong: input should be 'dev' or"):
        read_recipe(recipe)
