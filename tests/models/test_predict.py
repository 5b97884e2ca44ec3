from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from models.orders import predict_request
from models.predict import VERSION
from tests.models.tiny_lake import CLASSES, TinyLake, fitted, order, predictions, tiny_lake
from warehouse import Request
from warehouse.errors import ArtifactNotFound, NoClasses, PartEmpty, RoleMissing, VersionDiffers
from warehouse.schema import SPLIT
from warehouse.tables import read_table, write_rows


def test_one_row_per_utterance_of_the_parts_asked_for(lake: TinyLake) -> None:
    checkpoint = fitted(lake, order(lake, "linear")).digest
    rows = predictions(lake, predict_request("linear", {}, checkpoint, shards=lake.shards, split=lake.split))
    assert {row["part"] for row in rows} == {"dev", "test"}
    assert [row["utterance_id"] for row in rows] == sorted(row["utterance_id"] for row in rows)
    assert len(rows) == 24
    for row in rows:
        assert row["classes"] == list(CLASSES)
        assert sum(row["probabilities"]) == pytest.approx(1, abs=1e-6)
        assert row["predicted"] == CLASSES[row["probabilities"].index(max(row["probabilities"]))]
    only = predict_request("linear", {}, checkpoint, shards=lake.shards, split=lake.split, parts=["test"])
    assert predictions(lake, only) == [row for row in rows if row["part"] == "test"]


def test_labels_are_not_needed_to_predict(lake: TinyLake) -> None:
    checkpoint = fitted(lake, order(lake, "linear")).digest
    unlabelled = tiny_lake(lake.warehouse.root, labelled=False)
    bare = predictions(lake, predict_request("linear", {}, checkpoint, shards=lake.shards, split=unlabelled.split))
    labelled = predictions(lake, predict_request("linear", {}, checkpoint, shards=lake.shards, split=lake.split))
    assert bare == labelled


def test_a_fit_would_not_look_at_test_labels_if_a_split_had_them(lake: TinyLake) -> None:
    """As the splits of earlier lakes have them: those fits are another request, with the same bytes."""
    rows = read_table(lake.warehouse.resolve(lake.split).path("split.parquet"), SPLIT).to_pylist()
    told = [row | {"label": row["label"] or lake.truth[row["utterance_id"]]} for row in rows]
    request = Request("split", "protocols.tiny", 1, {"told": True})
    split = lake.warehouse.materialize(request, lambda folder: write_rows(folder / "split.parquet", told, SPLIT))
    without, given = fitted(lake, order(lake, "mced")), fitted(lake, order(lake, "mced", split=split.digest))
    assert without.key != given.key and without.digest == given.digest


def test_the_same_request_gives_the_same_bytes(lake: TinyLake, tmp_path: Path) -> None:
    digests = []
    for each in (lake, tiny_lake(tmp_path / "lake")):
        checkpoint = fitted(each, order(each, "mced", seed=5)).digest
        request = predict_request("mced", {}, checkpoint, shards=each.shards, split=each.split)
        predictions(each, request)
        artifact = each.warehouse.find(request)
        digests.append(artifact.digest if artifact else "")
    assert digests[0] == digests[1] != ""


def test_mistakes_in_an_order_of_predictions(lake: TinyLake) -> None:
    checkpoint = fitted(lake, order(lake, "linear")).digest
    request = predict_request("linear", {}, checkpoint, shards=lake.shards, split=lake.split)
    with pytest.raises(PartEmpty, match=r"no utterance in part 'held' \(it has: dev, test, train\)"):
        predictions(lake, replace(request, params={"parts": ["held"]}))
    with pytest.raises(VersionDiffers, match=f"version 9 of 'models.predict' is asked for, but version {VERSION} is"):
        predictions(lake, replace(request, version=9))
    with pytest.raises(ArtifactNotFound, match="'feed'"):
        predictions(lake, replace(request, inputs=dict(request.inputs) | {"checkpoint": ("feed",)}))
    with pytest.raises(RoleMissing, match=r"'students.linear' needs shards of 'vector' to predict, but it is given"):
        predictions(lake, replace(request, inputs={"checkpoint": (checkpoint,), "split": (lake.split,)}))


def test_a_checkpoint_that_knows_no_classes(lake: TinyLake) -> None:
    request = order(lake, "text_encoder", fields={"task": "mlm"}, objective={"mlm": 1.0}, classes=(), fit={"epochs": 1})
    checkpoint = fitted(lake, request).digest
    with pytest.raises(NoClasses, match=r"this checkpoint of 'students.text_encoder' knows no classes"):
        fields = {"task": "classify"}
        predictions(lake, predict_request("text_encoder", fields, checkpoint, shards=lake.shards, split=lake.split))
