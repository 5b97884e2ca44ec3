"""Any student that is trained, taught by any model that is fitted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from models import losses
from models.batch import Batch
from models.checkpoint import build_network, load
from models.determinism import reproducible
from models.network import Network
from models.networks.taught import LOGITS, POOLED, Taught, with_teacher
from models.orders import ROOM, predict_request, read_fit, teach_request
from models.plugin import Student, encoder_slots
from tests.models.tiny_lake import (
    CLASSES,
    FIELDS,
    POOLED_DIM,
    TinyLake,
    batch_of,
    fitted,
    lesson,
    order,
    predictions,
    tiny_lake,
)
from warehouse import Request, catalog
from warehouse.errors import InvalidField, ShapeDiffers
from warehouse.schema import SPLIT
from warehouse.tables import read_table, write_rows

STUDENTS = [name for name in catalog.names(ROOM) if catalog.build(ROOM, name, FIELDS.get(name, {}), "").terms]
BOTH = ("logits", "features")


def _student(name: str) -> Student:
    student: Student = catalog.build(ROOM, name, FIELDS.get(name, {}), "the test")
    return student


def _built(lake: TinyLake, name: str, batch: Batch) -> tuple[Network, dict[str, tuple[int, ...]]]:
    student = _student(name)
    shapes = {role: tuple(array.shape[1:]) for role, array in batch.arrays.items()} | dict.fromkeys(batch.texts, ())
    placed = {slot: lake.weights[lake.encoders[slot]] for slot in encoder_slots(student)}
    with reproducible(0):
        network = build_network(student, shapes, CLASSES, None, placed)
        network.prepare([batch])
    return network.eval(), shapes


def _asked(batch: Batch, **answers: torch.Tensor | None) -> Batch:
    return replace(batch, arrays=dict(batch.arrays) | {role: one for role, one in answers.items() if one is not None})


@pytest.mark.parametrize("name", STUDENTS)
def test_who_is_the_teacher_already_has_nothing_to_learn(lake: TinyLake, name: str) -> None:
    network, shapes = _built(lake, name, batch := batch_of(lake, _student(name).inputs, "dev"))
    with torch.no_grad():
        logits, pooled = network.answers(batch)
        assert pooled is not None and pooled.shape[0] == len(batch) and pooled.ndim == 2
        taught = Taught(network, BOTH, shapes | {LOGITS: (3,), POOLED: tuple(pooled.shape[1:])}, 3, 2.0).eval()
        found = taught.losses(_asked(batch, teacher_logits=logits, teacher_pooled=pooled), ["label", *BOTH])
        assert float(found["logits"]) == pytest.approx(0, abs=1e-6)
        assert float(found["features"]) == pytest.approx(0, abs=1e-9)
        torch.testing.assert_close(found["label"], network.losses(batch, ["label"])["label"])
        assert torch.equal(taught(batch), logits)


@pytest.mark.parametrize("name", STUDENTS)
@pytest.mark.parametrize("terms", [["logits"], ["features"], ["logits", "features", "label"]])
def test_the_terms_are_what_the_losses_say_and_reach_every_weight(lake: TinyLake, name: str, terms: list[str]) -> None:
    """Several processes wait for the gradient of each weight."""
    batch = batch_of(lake, [*_student(name).inputs, LOGITS, POOLED], "dev")
    network, shapes = _built(lake, name, batch)
    taught = Taught(network, [term for term in terms if term != "label"], shapes, 3, 3.0).eval()
    found = taught.losses(batch, terms)
    logits, pooled = network.answers(batch)
    if "logits" in terms:
        expected = losses.response_distillation(logits, batch.arrays[LOGITS], 3.0)
        torch.testing.assert_close(found["logits"], expected)
    if "features" in terms:
        assert taught.project.out_features == POOLED_DIM
        expected = losses.vector_distillation(batch.arrays[POOLED], taught.project(pooled))
        torch.testing.assert_close(found["features"], expected)
    assert list(found) == terms
    torch.stack([*found.values()]).sum().backward()
    without = [name for name, weight in taught.named_parameters() if weight.requires_grad and weight.grad is None]
    assert without == []


def test_a_student_keeps_its_own_terms_beside_the_teachers(lake: TinyLake) -> None:
    """In one pass more, which without dropout is the same."""
    batch = batch_of(lake, ["speech", "teacher_hidden", LOGITS, POOLED])
    network, shapes = _built(lake, "mced", batch)
    found = Taught(network, ["features"], shapes, 3, 2.0).eval().losses(batch, ["response", "feature", "features"])
    for term in ("response", "feature"):
        torch.testing.assert_close(found[term], network.losses(batch, [term])[term])


def test_the_student_alone_is_kept(lake: TinyLake) -> None:
    request = order(lake, "pooled", objective={"label": 1.0, "logits": 0.5, "features": 0.5})
    artifact, plain = fitted(lake, request), fitted(lake, order(lake, "pooled"))
    names = [set(load(one.folder)[1].state_dict()) for one in (artifact, plain)]
    assert names[0] == names[1] and artifact.digest != plain.digest
    columns = artifact.path("history.csv").read_text().splitlines()[0].split(",")
    assert {"train_logits", "dev_logits", "train_features", "dev_features", "dev_label", "dev_uar"} <= set(columns)


def test_without_a_teachers_term_the_network_is_the_students_own(lake: TinyLake) -> None:
    network, shapes = _built(lake, "mced", batch_of(lake, ["speech"]))
    assert with_teacher(network, read_fit(order(lake, "mced")), shapes) is network
    taught = with_teacher(network, read_fit(order(lake, "mced", objective={"logits": 1})), shapes | {LOGITS: (3,)})
    assert isinstance(taught, Taught) and taught.network is network and not hasattr(taught, "project")


class Mute(Network):
    """It has no layer before its classes."""


def test_answers_that_cannot_be_learned_from() -> None:
    with pytest.raises(ShapeDiffers, match=r"'teacher_logits' has shape \(4,\), but must be \(3,\), one number per"):
        Taught(Mute(), ["logits"], {LOGITS: (4,)}, 3, 2.0)
    with pytest.raises(ShapeDiffers, match=r"'teacher_pooled' has shape \(2, 5\), but one vector per utterance is"):
        Taught(Mute(), ["features"], {POOLED: (2, 5)}, 3, 2.0)
    with pytest.raises(InvalidField, match="'features' cannot have a weight: this student has no layer before its"):
        Taught(Mute(), ["features"], {POOLED: (5,)}, 3, 2.0)


def _with_few_labels(lake: TinyLake) -> str:
    """The digest of the same split, where the first utterance of each class alone is labelled in train."""
    rows = read_table(lake.warehouse.resolve(lake.split).path("split.parquet"), SPLIT).to_pylist()
    known: set[str] = set()
    for row in rows:
        if row["part"] == "train":
            row["label"] = None if row["label"] in known else row["label"]
            known |= {row["label"]} - {None}
    request = Request("split", "made", 1, {"labels": [row["label"] for row in rows]})
    artifact = lake.warehouse.materialize(request, lambda folder: write_rows(folder / "split.parquet", rows, SPLIT))
    return artifact.digest


@pytest.mark.slow  # `test_cmd` has one of another student, and `test_fit` one that learns from its teacher alone
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_teacher_that_knows_lifts_a_student_with_few_labels(tmp_path: Path, seed: int) -> None:
    """The student is told three labels of 48; the teacher, who reads another modality, was told all."""
    lake = tiny_lake(tmp_path / "lake", n_utterances=96, seed=seed)
    teacher = fitted(lake, order(lake, "linear")).digest
    told = teach_request("linear", {}, teacher, LOGITS, shards=lake.shards, split=lake.split)
    shards = lake.shards | {LOGITS: [lesson(lake, told).digest]}
    few = _with_few_labels(lake)
    accuracies = []
    for objective in ({"label": 1.0}, {"label": 1.0, "logits": 1.0}):
        changes: dict[str, Any] = {"split": few, "shards": shards, "objective": objective, "seed": seed}
        artifact = fitted(lake, order(lake, "mced", fit={"epochs": 8}, **changes))
        asked = predict_request("mced", FIELDS["mced"], artifact.digest, shards=lake.shards, split=lake.split)
        rows = [row for row in predictions(lake, asked) if row["part"] == "test"]
        accuracies.append(sum(row["label"] == row["predicted"] for row in rows) / len(rows))
    assert accuracies[1] > accuracies[0], accuracies
