"""What holds for every file of models/students; a new student is tested by existing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from models.checkpoint import build_network, encoder_folder, load
from models.orders import ROOM, predict_request, read_fit
from models.plugin import Student, encoder_slots
from tests.models.tiny_lake import CLASSES, FIELDS, TinyLake, batch_of, fitted, order, predictions, tiny_lake
from warehouse import Artifact, Request, catalog
from warehouse.errors import InvalidField, UnknownField

STUDENTS = catalog.names(ROOM)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> TinyLake:
    return tiny_lake(tmp_path_factory.mktemp("contract") / "lake", n_utterances=24)


@pytest.fixture(scope="module", params=STUDENTS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def checkpoint(lake: TinyLake, name: str) -> Artifact:
    return fitted(lake, order(lake, name))


def _student(name: str) -> Student:
    student: Student = catalog.build(ROOM, name, FIELDS.get(name, {}), "the test")
    return student


def test_a_student_is_a_frozen_dataclass_that_says_what_it_reads(name: str) -> None:
    cls = catalog.plugin_class(ROOM, name)
    assert cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    student = _student(name)
    assert student.inputs and all(isinstance(role, str) for role in student.inputs)
    assert all(isinstance(role, str) for roles in student.terms.values() for role in roles)
    assert cls.__doc__ and "Args:" in cls.__doc__
    assert all(field.name in cls.__doc__ for field in dataclasses.fields(cls))


def test_its_fields_survive_a_file(lake: TinyLake, name: str) -> None:
    request = order(lake, name)
    again = Request.from_json(json.loads(json.dumps(request.as_json())))
    assert again.key == request.key
    assert read_fit(again).student == _student(name)


def test_its_network_gives_one_logit_per_class(lake: TinyLake, name: str, checkpoint: Artifact) -> None:
    _, network = load(checkpoint.folder)
    logits = network(batch_of(lake, _student(name).inputs))
    assert logits.shape == (12, len(CLASSES))
    assert logits.isfinite().all()


def test_a_row_is_the_same_whatever_it_is_batched_with(lake: TinyLake, name: str, checkpoint: Artifact) -> None:
    _, network = load(checkpoint.folder)
    roles = _student(name).inputs
    together = batch_of(lake, roles)
    with torch.inference_mode():
        logits = network(together)
        for row, utterance_id in zip(logits, together.ids, strict=True):
            alone = network(batch_of(lake, roles, ids=[utterance_id]))[0]
            torch.testing.assert_close(alone, row, rtol=1e-5, atol=1e-5)


def test_what_is_saved_is_what_is_loaded(lake: TinyLake, name: str, checkpoint: Artifact, tmp_path: Path) -> None:
    batch = batch_of(lake, _student(name).inputs)
    _, network = load(checkpoint.folder)
    network.save(tmp_path)
    for path in tmp_path.iterdir():
        assert path.suffix in {".safetensors", ".json", ".csv", ".txt"}, "nothing that could run"
    roles = _student(name).inputs
    shapes = {role: tuple(batch.arrays[role].shape[1:]) if role in batch.arrays else () for role in roles}
    described = {slot: encoder_folder(checkpoint.folder, slot) for slot in encoder_slots(_student(name))}
    again = build_network(_student(name), shapes, CLASSES, None, described)
    again.load(tmp_path)
    with torch.inference_mode():
        assert torch.equal(network(batch), again.eval()(batch))


def test_the_same_request_gives_the_same_bytes(name: str, lake: TinyLake, checkpoint: Artifact, tmp_path: Path) -> None:
    other = tiny_lake(tmp_path / "lake", n_utterances=24)
    assert fitted(other, order(other, name)).digest == checkpoint.digest


def test_each_term_is_one_number_with_a_gradient(lake: TinyLake, name: str) -> None:
    student = _student(name)
    for term, further in student.terms.items():
        if name == "text_encoder" and term == "mlm":
            continue  # the one term of another task: see test_text_encoder
        batch = batch_of(lake, dict.fromkeys([*student.inputs, *further]))
        shapes = {role: tuple(array.shape[1:]) for role, array in batch.arrays.items()} | dict.fromkeys(batch.texts, ())
        placed = {slot: lake.weights[lake.encoders[slot]] for slot in encoder_slots(student)}
        network = build_network(student, shapes, CLASSES, None, placed)
        network.prepare([batch])
        found = network.losses(batch, [term])
        assert found.keys() == {term}
        assert found[term].shape == () and found[term].isfinite()
        found[term].backward()
        assert any(parameter.grad is not None for parameter in network.parameters())


def test_its_label_loss_is_weighed_as_the_fit_says(lake: TinyLake, name: str, checkpoint: Artifact) -> None:
    if "label" not in _student(name).terms:
        return
    _, network = load(checkpoint.folder)
    batch = batch_of(lake, _student(name).inputs)
    with torch.inference_mode():
        plain = network.losses(batch, ["label"])["label"]
        sure = torch.nn.functional.one_hot(batch.labels, len(CLASSES)).float()
        soft = network.losses(dataclasses.replace(batch, targets=sure), ["label"])["label"]
        torch.testing.assert_close(soft, plain, msg="raters who agree are the label")
        first = torch.eye(len(CLASSES))[[0] * len(batch)]
        assert not torch.equal(network.losses(dataclasses.replace(batch, targets=first), ["label"])["label"], soft)
        network.class_weights = torch.full((len(CLASSES),), 2.0)
        torch.testing.assert_close(network.losses(batch, ["label"])["label"], 2 * plain, msg="not Network.label_loss")


def test_it_learns_what_its_input_carries(lake: TinyLake, name: str) -> None:
    artifact = fitted(lake, order(lake, name, fit={"epochs": 20, "learning_rate": 0.01, "batch_frames": 60}))
    fields = FIELDS.get(name, {})
    request = predict_request(name, fields, artifact.digest, shards=lake.shards, split=lake.split, parts=["train"])
    rows = predictions(lake, request)
    assert sum(row["label"] == row["predicted"] for row in rows) / len(rows) >= 0.75  # chance: 1/3


def test_more_shards_change_no_key(lake: TinyLake, name: str) -> None:
    only = {role: lake.shards[role] for role in _student(name).inputs}
    assert order(lake, name, shards=only).key == order(lake, name).key


def test_its_encoders_decide_its_key_and_must_be_named(lake: TinyLake, name: str) -> None:
    slots = encoder_slots(_student(name))
    for slot in slots:
        with pytest.raises(InvalidField, match=rf"field 'encoders' must say which checkpoint is its '{slot}'"):
            order(lake, name, encoders={one: lake.encoders[one] for one in slots if one != slot})
        assert order(lake, name, encoders=dict.fromkeys(slots, "f00")).key != order(lake, name).key
    with pytest.raises(UnknownField, match=f"the encoders of student '{name}': no field 'smell'"):
        order(lake, name, encoders={"smell": "f00"})
