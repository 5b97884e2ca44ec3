from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from models.orders import (
    Fit,
    build_student,
    fit_request,
    predict_request,
    read_fit,
    shard_roles,
    teach_request,
    terms_of,
)
from warehouse import Request
from warehouse.errors import InvalidField, RoleMissing, UnknownField, UnknownName, VersionDiffers

SHARDS = {
    "speech": ["d3", "d1", "d2"], "teacher_logits": ["d4"], "teacher_hidden": ["d5"], "teacher_pooled": ["d7"],
    "vector": ["d6"],
}  # fmt: skip


def _request(student: str = "mced", fields: dict[str, Any] | None = None, **changes: Any) -> Request:
    given: dict[str, Any] = {
        "fit": {"epochs": 3, "learning_rate": 1e-4, "batch_frames": 100}, "objective": {"label": 1.0},
        "classes": ["a", "b"], "seed": 0, "shards": SHARDS, "split": "d9",
    }  # fmt: skip
    return fit_request(student, fields or {}, **given | changes)


def test_planning_needs_no_torch() -> None:
    code = (
        "import sys; from models.orders import VERSION, fit_request, predict_request; from models import metrics\n"
        "from warehouse import catalog\n"
        "for name in catalog.names('models.students'): catalog.plugin_class('models.students', name)\n"
        "shards = {'speech': ['d1']}\n"
        "fit_request('mced', {}, fit={'epochs': 1, 'learning_rate': 1, 'batch_frames': 1}, objective={'label': 1},\n"
        "            classes=['a'], seed=0, shards=shards, split='d2')\n"
        "predict_request('mced', {}, 'd3', shards=shards, split='d2')\n"
        "heavy = {'torch', 'transformers', 'sklearn', 'lightning_fabric'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_request_holds_every_field_and_only_the_shards_it_reads() -> None:
    request = _request(objective={"label": 1, "response": 2})
    assert request.params["student"]["channels"] == 512
    assert request.params["fit"]["accumulate"] == 1
    assert request.params["objective"] == {"label": 1.0, "response": 2.0}
    assert request.inputs == {
        "shards:speech": ("d1", "d2", "d3"), "shards:teacher_logits": ("d4",), "split": ("d9",),
    }  # fmt: skip
    assert shard_roles(request) == {"speech": ("d1", "d2", "d3"), "teacher_logits": ("d4",)}


def test_the_key_survives_a_file_and_does_not_depend_on_how_things_are_written() -> None:
    request = _request(fields={"strides": (1, 2, 1, 2)}, init="d8")
    assert Request.from_json(json.loads(json.dumps(request.as_json()))).key == request.key
    same = _request(fields={}, init="d8", shards=SHARDS | {"speech": ["d1", "d2", "d3"], "unread": ["d7"]})
    assert same.key == request.key


@pytest.mark.parametrize("changes", [
    {"seed": 1}, {"classes": ["b", "a"]}, {"split": "d0"}, {"init": "d8"}, {"fields": {"width": 256}},
    {"objective": {"label": 0.5}}, {"shards": SHARDS | {"speech": ["d1"]}},
    {"fit": {"epochs": 4, "learning_rate": 1e-4, "batch_frames": 100}},
])  # fmt: skip
def test_whatever_decides_the_numbers_decides_the_key(changes: dict[str, Any]) -> None:
    assert _request(**changes).key != _request().key


def test_a_closed_form_has_no_fit_and_no_objective() -> None:
    request = _request("linear")
    assert (request.params["fit"], request.params["objective"]) == ({}, {})
    assert request.key == _request("linear", fit=None, objective={}).key
    assert read_fit(request).fit is None


def test_read_fit_gives_back_what_was_ordered() -> None:
    order = read_fit(_request(fields={"width": 64}, seed=5))
    assert order.student == build_student("students.mced", 1, {"width": 64})
    assert order.fit == Fit(epochs=3, learning_rate=1e-4, batch_frames=100)
    assert (order.step, order.objective, order.classes, order.seed) == ("students.mced", {"label": 1.0}, ("a", "b"), 5)


def test_predictions_need_only_the_inputs_of_the_student() -> None:
    request = predict_request("mced", {}, "d8", shards=SHARDS, split="d9", parts=["test"])
    assert request.inputs == {"checkpoint": ("d8",), "shards:speech": ("d1", "d2", "d3"), "split": ("d9",)}
    assert request.params == {"parts": ["test"]}
    with pytest.raises(RoleMissing, match=r"'students.text_encoder' needs shards of 'text' to predict"):
        predict_request("text_encoder", {"task": "classify"}, "d8", shards=SHARDS, split="d9")


def test_mistakes_in_an_order() -> None:
    with pytest.raises(UnknownName, match="no student 'mcedd'; did you mean 'mced'"):
        _request("mcedd")
    with pytest.raises(UnknownField, match="student 'mced': no field 'widht'; did you mean 'width'"):
        _request(fields={"widht": 3})
    with pytest.raises(UnknownField, match="fit: no field 'epoch'; did you mean 'epochs'"):
        _request(fit={"epoch": 3})
    with pytest.raises(InvalidField, match="fit: field 'epochs' must be given"):
        _request(fit=None)
    with pytest.raises(UnknownField, match=r"of 'students.mced': no field 'respons'; did you mean 'response'"):
        _request(objective={"respons": 1})
    with pytest.raises(InvalidField, match=r"the objective of 'students.mced': field 'feature' or another must have a"):
        _request(objective={})
    with pytest.raises(RoleMissing, match="needs shards of 'teacher_hidden' for the term 'feature', but it is given"):
        _request(objective={"feature": 1}, shards={"speech": ["d1"]})


@pytest.mark.parametrize(("name", "value", "problem"), [
    ("epochs", 0, "is 0, but must be at least 1"),
    ("accumulate", 0, "is 0, but must be at least 1"),
    ("learning_rate", -1.0, "is -1.0, but must be above 0"),
    ("warmup_fraction", 1.0, "is 1.0, but must be below 1"),
    ("plateau", 0, "is 0, but must be at least 1"),
    ("decay", 1.5, "is 1.5, but must be at most 1"),
    ("decay", 0.0, "is 0.0, but must be above 0"),
    ("weight_decay", float("inf"), "is inf, but must be a finite number"),
    ("patience", -1, "is -1, but must be at least 0"),
    ("label_smoothing", 1.0, "is 1.0, but must be below 1"),
    ("label_smoothing", -0.1, "is -0.1, but must be at least 0"),
    ("class_weights", "equal", "is 'equal': input should be 'none' or 'balanced'"),
    ("schedule", "cosine", "is 'cosine': input should be 'linear', 'constant', 'exponential' or 'plateau'"),
    ("teacher_temperature", 0.0, "is 0.0, but must be above 0"),
    ("optimizer", "sgd", "is 'sgd': input should be 'adamw' or 'adam'"),
])  # fmt: skip
def test_fit_settings_that_cannot_be(name: str, value: Any, problem: str) -> None:
    with pytest.raises(InvalidField, match=f"fit: field '{name}' {problem}"):
        _request(fit={"epochs": 3, "learning_rate": 1e-4, "batch_frames": 100} | {name: value})


@pytest.mark.parametrize(("name", "value", "term"), [
    ("label_smoothing", 0.1, "label"), ("class_weights", "balanced", "label"), ("soft_labels", True, "label"),
    ("teacher_temperature", 3.0, "logits"),
])  # fmt: skip
def test_settings_of_a_loss_need_that_loss(name: str, value: Any, term: str) -> None:
    settings = {"epochs": 3, "learning_rate": 1e-4, "batch_frames": 100, name: value}
    asked = _request(fit=settings, objective={term: 1}, votes="d8")
    assert getattr(read_fit(asked).fit, name) == value and asked.key != _request(objective={term: 1}, votes="d8").key
    with pytest.raises(InvalidField, match=f"fit: field '{name}' is {value!r}, but the objective has no term '{term}'"):
        _request(fit=settings, objective={"response": 1})


def test_fits_without_soft_labels_and_teachers_keep_their_keys() -> None:
    request = _request(votes="d8")
    assert "votes" not in request.inputs and not {"soft_labels", "teacher_temperature"} & request.params["fit"].keys()
    settings = {"epochs": 3, "learning_rate": 1e-4, "batch_frames": 100}
    said = settings | {"soft_labels": False, "teacher_temperature": 2.0}
    assert _request(fit=said).key == _request(fit=settings).key


def test_soft_labels_are_made_of_votes() -> None:
    settings = {"epochs": 3, "learning_rate": 1e-4, "batch_frames": 100, "soft_labels": True}
    request = _request(fit=settings, objective={"label": 1}, votes="d8")
    assert request.inputs["votes"] == ("d8",)
    sentence = r"fit: field 'soft_labels' is true, but the raters' votes are not among the inputs \('votes'\)"
    with pytest.raises(InvalidField, match=sentence):
        _request(fit=settings, objective={"label": 1})
    without = {role: digests for role, digests in request.inputs.items() if role != "votes"}
    with pytest.raises(InvalidField, match=sentence):
        read_fit(replace(request, inputs=without))


def test_any_student_that_is_trained_may_be_taught() -> None:
    assert set(terms_of(build_student("students.pooled", 1, {}))) == {"logits", "features", "label"}
    assert terms_of(build_student("students.linear", 1, {})) == {}
    request = _request(objective={"logits": 1, "features": 1})
    assert {"shards:teacher_logits", "shards:teacher_pooled"} <= request.inputs.keys()
    with pytest.raises(RoleMissing, match="needs shards of 'teacher_pooled' for the term 'features', but it is given"):
        _request(objective={"features": 1}, shards={"speech": ["d1"]})


def test_a_lesson_cites_what_its_teacher_hears() -> None:
    shards = {"speech": ["d2", "d1"], "text": ["d3"]}
    request = teach_request("mced", {}, "c0", "teacher_logits", shards=shards, split="d9")
    assert request.inputs == {"checkpoint": ("c0",), "shards:speech": ("d1", "d2"), "split": ("d9",)}
    assert teach_request("mced", {}, "c0", "teacher_pooled", shards=shards, split="d9").key != request.key
    with pytest.raises(RoleMissing, match=r"'students.mced' needs shards of 'speech' to teach, but it is given"):
        teach_request("mced", {}, "c0", "teacher_logits", shards={"text": ["d3"]}, split="d9")


def test_a_request_made_before_there_were_these_settings_is_read_as_it_was_meant() -> None:
    request = _request()
    before = dict(request.params["fit"])
    del before["label_smoothing"], before["class_weights"]
    assert read_fit(replace(request, params=request.params | {"fit": before})) == read_fit(request)


def test_another_version_is_not_this_one() -> None:
    with pytest.raises(VersionDiffers, match=r"version 7 of 'students.mced' is asked for, but version 1 is installed"):
        read_fit(replace(_request(), version=7))


def test_a_request_from_elsewhere_may_lack_shards() -> None:
    with pytest.raises(RoleMissing, match="needs shards of 'speech' to predict, but it is given none"):
        read_fit(replace(_request(), inputs={"split": ("d9",)}))


@pytest.mark.parametrize(("student", "fields", "problem"), [
    ("mced", {"kernel": 4}, "field 'kernel' is 4, but must be odd"),
    ("mced", {"width": 510}, r"field 'width' is 510, but must be even and a multiple of heads \(4\)"),
    ("mced", {"min_frames": 4}, "field 'min_frames' is 4, but must be at least 8"),
    ("mced", {"teacher_layers": [1]}, "field 'layer_weights' must be as many as"),
    ("mced", {"layers": 4}, r"field 'student_layers' are \[3, 4, 5, 6\], but must be from 1 to 4"),
    ("text_encoder", {"task": "classify", "heads": 3}, r"field 'width' is 256, but must be a multiple of heads \(3\)"),
    ("text_encoder", {"task": "mlm", "mask_fraction": 1.0}, "field 'mask_fraction' is 1.0, but must be between"),
    ("text_encoder", {}, "field 'task' must be given"),
    ("text_encoder", {"task": "mlm", "layers": -1}, "field 'layers' is -1, but must be at least 1"),
    ("linear", {"inverse_strength": 0}, "field 'inverse_strength' is 0, but must be above 0"),
    ("cmd", {"heads": 0}, "field 'heads' is 0, but must be at least 1"),
    ("cmd", {"temperature": float("nan")}, "field 'temperature' is nan, but must be a finite number"),
    ("mmer", {"temperature": 0.0}, "field 'temperature' is 0.0, but must be above 0"),
    ("mmer", {"cut_s": -1.0}, "field 'cut_s' is -1.0, but must be at least 0"),
    ("mult", {"dropout": 1.0}, "field 'dropout' is 1.0, but must be below 1"),
    ("pooled", {"hidden": -1}, "field 'hidden' is -1, but must be at least 0"),
])  # fmt: skip
def test_fields_that_cannot_be(student: str, fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidField, match=f"student '{student}': {problem}"):
        build_student(f"students.{student}", 1, fields)
