"""What a teacher tells: of whom, what, and never of the test part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from models.checkpoint import load
from models.orders import TEACH_VERSION, predict_request, teach_request
from models.stream import read_split
from models.teach import LEAST
from tests.models.tiny_lake import CLASSES, TinyLake, batch_of, fitted, lesson, order, predictions, tiny_lake
from warehouse import Artifact, Request
from warehouse.errors import InvalidField, NoClasses, PartEmpty, RoleMissing, UnknownName, VersionDiffers
from warehouse.shards import ShardReader

POOLED = {"modalities": "audio", "hidden": 4}


def _request(lake: TinyLake, student: str, role: str, fields: dict[str, Any] | None = None) -> Request:
    fields = fields or {}
    checkpoint = fitted(lake, order(lake, student, fields=fields)).digest
    return teach_request(student, fields, checkpoint, role, shards=lake.shards, split=lake.split)


def _told(artifact: Artifact) -> dict[str, list[float]]:
    shard = ShardReader(artifact.folder)
    return {name: shard.array(name).tolist() for name in shard}


def test_a_teacher_tells_its_logits_of_all_but_the_test_part(lake: TinyLake) -> None:
    request = _request(lake, "pooled", "teacher_logits", POOLED)
    told = _told(lesson(lake, request))
    parts = read_split(lake.warehouse.resolve(lake.split).path("split.parquet"))
    assert list(told) == sorted([*parts["train"], *parts["dev"]]) and not told.keys() & parts["test"].keys()
    (checkpoint,) = request.inputs["checkpoint"]
    asked = predict_request("pooled", POOLED, checkpoint, shards=lake.shards, split=lake.split, parts=["dev"])
    for row in predictions(lake, asked):
        found = torch.tensor(told[row["utterance_id"]]).softmax(-1).tolist()
        assert found == pytest.approx(row["probabilities"], rel=1e-5)


def test_a_teacher_tells_what_its_last_layer_is_given(lake: TinyLake) -> None:
    request = _request(lake, "pooled", "teacher_pooled", POOLED)
    told = _told(lesson(lake, request))
    _, network = load(lake.warehouse.resolve(*request.inputs["checkpoint"]).folder)
    for part in ("train", "dev"):
        batch = batch_of(lake, ["audio_states"], part)
        vectors = torch.tensor([told[name] for name in batch.ids])
        assert vectors.shape == (len(batch), 4)
        with torch.inference_mode():
            torch.testing.assert_close(network.classify(vectors), network(batch), rtol=1e-4, atol=1e-4)  # type: ignore[operator]


def test_the_same_request_gives_the_same_bytes(lake: TinyLake, tmp_path: Path) -> None:
    other = tiny_lake(tmp_path / "lake")
    digests = {lesson(one, _request(one, "mced", "teacher_pooled")).digest for one in (lake, other)}
    assert len(digests) == 1


def test_a_class_that_a_teacher_never_met_is_impossible_but_finite(tmp_path: Path) -> None:
    lake = tiny_lake(tmp_path / "lake", n_utterances=24)
    told = _told(lesson(lake, _with_another_class(lake)))
    assert {row[CLASSES.index("happy") + 1] for row in told.values()} == {LEAST}
    assert {torch.tensor(row).softmax(-1)[CLASSES.index("happy") + 1].item() for row in told.values()} == {0.0}


def _with_another_class(lake: TinyLake) -> Request:
    classes = [CLASSES[0], CLASSES[1], "never", CLASSES[2]]
    checkpoint = fitted(lake, order(lake, "linear", classes=classes)).digest
    return teach_request("linear", {}, checkpoint, "teacher_logits", shards=lake.shards, split=lake.split)


def test_mistakes_in_an_order_of_a_lesson(lake: TinyLake, tmp_path: Path) -> None:
    request = _request(lake, "linear", "teacher_logits")
    with pytest.raises(UnknownName, match=r"no job that writes shards 'features.pack' \(there are: models.teach\)"):
        lesson(lake, replace(request, step="features.pack"))
    with pytest.raises(VersionDiffers, match=f"version 9 of 'models.teach' is asked for, but version {TEACH_VERSION}"):
        lesson(lake, replace(request, version=9))
    with pytest.raises(UnknownName, match="no role of a teacher 'teacher_hidden'"):
        lesson(lake, replace(request, params={"source": {"role": "teacher_hidden"}}))
    with pytest.raises(RoleMissing, match=r"'students.linear' needs shards of 'vector' to teach, but it is given"):
        lesson(lake, replace(request, inputs={one: request.inputs[one] for one in ("checkpoint", "split")}))
    with pytest.raises(InvalidField, match=r"'features' must have no weight: the teacher 'students.linear' has"):
        lesson(lake, replace(request, params={"source": {"role": "teacher_pooled"}}))
    tested = tiny_lake(tmp_path / "lake", n_utterances=16, parts=("train", "test"))
    checkpoint = fitted(tested, order(tested, "linear"))
    only = tiny_lake(tested.warehouse.root, n_utterances=16, parts=("test",), seed=1)
    asked = teach_request("linear", {}, checkpoint.digest, "teacher_logits", shards=only.shards, split=only.split)
    with pytest.raises(PartEmpty, match=r"no utterance in part 'train' \(it has: test\)"):
        lesson(tested, asked)


def test_who_knows_no_classes_teaches_none(lake: TinyLake) -> None:
    ordered = order(lake, "text_encoder", fields={"task": "mlm"}, objective={"mlm": 1.0}, classes=(), fit={"epochs": 1})
    asked = teach_request(
        "text_encoder", {"task": "classify"}, fitted(lake, ordered).digest, "teacher_logits", shards=lake.shards,
        split=lake.split,
    )  # fmt: skip
    with pytest.raises(NoClasses, match=r"'students.text_encoder' knows no classes"):
        lesson(lake, asked)
