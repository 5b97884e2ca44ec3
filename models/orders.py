"""The requests of this room: how a fit and its predictions are ordered, and how an order is read. Needs no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from models.plugin import Student, encoder_slots
from warehouse import catalog
from warehouse.artifact import Request
from warehouse.catalog import Count, CountOrZero, Positive, PositiveOrZero, Share
from warehouse.errors import InvalidField, RoleMissing, UnknownField, VersionDiffers

ROOM = "models.students"
VERSION = 3
"""Of `models.predict`."""

LOOP = 3
"""Of what all students share (streams, losses, the training loop), raised when the same fit gives other weights."""

PREDICT = "models.predict"
TEACH = "models.teach"
TEACH_VERSION = 2
EXPLAIN = "models.explaining"
EXPLAIN_VERSION = 1

TEACHER_TERMS: Mapping[str, tuple[str, ...]] = {"logits": ("teacher_logits",), "features": ("teacher_pooled",)}
"""The loss terms by which any fitted model teaches any student, with the role that each reads."""

SHARDS = "shards:"
ENCODER = "encoder:"


@dataclass(frozen=True)
class Fit:
    """How a student is fitted; the numbers of the paper, where there is one, belong in the recipe.

    Args:
        epochs: passes over the training part, at most.
        learning_rate: at its peak.
        batch_frames: how many steps of the student's first input a batch holds, padding counted: samples of a wave,
            frames of speech, words of text, utterances where the input is one vector. A longer utterance is a batch of
            its own.
        warmup_fraction: of all optimiser steps, over which the rate rises linearly from 0.
        optimizer: 'adamw', or 'adam', where the weight decay is a part of the gradient.
        schedule: after the warm-up, 'linear' falls to 0 at the end of the last epoch; 'constant' stays; 'exponential'
            is multiplied by `decay` after each epoch; 'plateau' is, after `plateau` epochs without a lower dev loss.
        decay: of the schedules 'exponential' and 'plateau'.
        plateau: see the schedule of that name.
        weight_decay: decoupled from the gradient with 'adamw'.
        patience: stop after so many epochs without a lower dev loss; 0 never stops.
        precision: of the arithmetic, as Lightning Fabric names it.
        gradient_clip: largest norm of the gradient; 0 leaves it as it is.
        accumulate: batches per optimiser step, each counting alike. Several processes share these, so that their
            number changes no gradient (but what dropout draws, and batch statistics are the first process's).
        label_smoothing: of the term 'label': the share of each label that is spread over all classes.
        class_weights: of the term 'label': 'balanced' lets an utterance count inversely to its class's share of the
            training part; on average it counts once. The losses of the dev part are the same function, with the same
            weights and smoothing: what is minimised decides which epoch is kept.
        soft_labels: of the term 'label': what is asked for is each class's share of the raters' votes, and the label
            where nobody voted for a class, in the training and the dev part. Smoothing spreads the shares, a class's
            weight multiplies its share, and the balanced weights are those of the labels.
        teacher_temperature: of the term 'logits' of any student, by which both sides' logits are divided.
    """

    epochs: Count
    learning_rate: Positive
    batch_frames: Count
    warmup_fraction: Share = 0.0
    optimizer: Literal["adamw", "adam"] = "adamw"
    schedule: Literal["linear", "constant", "exponential", "plateau"] = "linear"
    decay: Annotated[float, Field(gt=0, le=1)] = 0.9
    plateau: Count = 2
    weight_decay: PositiveOrZero = 0.0
    patience: CountOrZero = 0
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    gradient_clip: PositiveOrZero = 1.0
    accumulate: Count = 1
    label_smoothing: Share = 0.0
    class_weights: Literal["none", "balanced"] = "none"
    soft_labels: bool = False
    teacher_temperature: Positive = 2.0


_LATER = ("soft_labels", "teacher_temperature")
"""Settings of `Fit` that a request names only where they are not the default, so that fits made before there were these
stay what they are."""


@dataclass(frozen=True)
class FitOrder:
    """A fit request, read and checked. `fit` is None where the student is solved in closed form."""

    step: str
    student: Student
    fit: Fit | None
    objective: Mapping[str, float]
    classes: tuple[str, ...]
    seed: int


def fit_request(
    student: str,
    fields: Mapping[str, Any],
    *,
    fit: Mapping[str, Any] | None,
    objective: Mapping[str, float],
    classes: Sequence[str],
    seed: int,
    shards: Mapping[str, Sequence[str]],
    split: str,
    init: str | None = None,
    encoders: Mapping[str, str] | None = None,
    votes: str | None = None,
) -> Request:
    """The order of one checkpoint.

    The roles that neither the student nor a term of the objective needs are left out, as are `fit` and `objective`
    where the student is solved in closed form, and `votes` where no soft labels are wanted, so they cannot cause a
    second fit. The student's own fields all count.

    Args:
        student: file name of the student.
        fields: of the student; those not given have their defaults, and all are written into the request.
        fit: fields of `Fit`.
        objective: loss term -> weight; distilling and fine-tuning differ in these alone.
        classes: in the order of the logits; () where the student learns none.
        shards: role -> digests of the shards, in any order.
        split: digest of the split.
        init: digest of a checkpoint to start from.
        encoders: slot -> digest of the record of a placed checkpoint, for a student with such slots.
        votes: digest of the raters' votes, which soft labels are made of.

    Raises:
        UnknownName, UnknownField, InvalidField, RoleMissing.

    Example:
        >>> order = fit_request("linear", {"inverse_strength": 0.1}, fit=None, objective={}, classes=("a", "b"), seed=0,
        ...                     shards={"vector": ["d2", "d1"], "speech": ["d3"]}, split="d4")
        >>> order.inputs
        {'shards:vector': ('d1', 'd2'), 'split': ('d4',)}
    """
    plugin: Student = catalog.build(ROOM, student, fields, f"student '{student}'")
    step = f"students.{student}"
    weights = {term: float(weight) for term, weight in objective.items()} if plugin.terms else {}
    settings = _settings(fit or {}, weights) if plugin.terms else None
    params = {
        "student": plain_fields(plugin),
        "fit": _written(settings) if settings else {},
        "objective": weights,
        "classes": list(classes),
        "seed": seed,
        "loop": LOOP,
    }
    inputs = _inputs(step, _roles(step, plugin, weights), shards, split)
    if init is not None:
        inputs["init"] = (init,)
    if settings and settings.soft_labels:
        inputs["votes"] = (_voted(votes),)
    given = encoders or {}
    check_slots(plugin, given, f"student '{student}'")
    inputs |= {ENCODER + slot: (given[slot],) for slot in encoder_slots(plugin)}
    return Request("checkpoint", step, plugin.version, params, inputs)


def check_slots(student: Student, given: Collection[str], where: str) -> None:
    """Every slot of a student is filled, and no other.

    Raises:
        InvalidField, UnknownField.
    """
    slots = encoder_slots(student)
    for slot in given:
        if slot not in slots:
            raise UnknownField(f"the encoders of {where}", slot, slots)
    for slot in slots:
        if slot not in given:
            raise InvalidField(where, "encoders", f"must say which checkpoint is its '{slot}'")


def predict_request(
    student: str, fields: Mapping[str, Any], checkpoint: str, *, shards: Mapping[str, Sequence[str]], split: str,
    parts: Sequence[str] = ("dev", "test"),
) -> Request:  # fmt: skip
    """The order of the predictions of one checkpoint for some parts of a split; shards it does not need are left out.

    Args:
        student, fields: as in the request of the fit.

    Raises:
        UnknownName, UnknownField, InvalidField, RoleMissing.
    """
    plugin: Student = catalog.build(ROOM, student, fields, f"student '{student}'")
    step = f"students.{student}"
    inputs = _inputs(step, dict.fromkeys(plugin.inputs, "to predict"), shards, split)
    return Request("predictions", PREDICT, VERSION, {"parts": list(parts)}, {"checkpoint": (checkpoint,)} | inputs)


def teach_request(
    student: str, fields: Mapping[str, Any], checkpoint: str, role: str, *, shards: Mapping[str, Sequence[str]],
    split: str,
) -> Request:  # fmt: skip
    """The order of one shard: what a fitted model answers to the utterances of a split that are learned from or chosen
    on, never to those of its test part; shards that the model does not need are left out.

    Args:
        student, fields: as in the request of its fit.
        role: 'teacher_logits', or 'teacher_pooled' for what its last layers are given.

    Raises:
        UnknownName, UnknownField, InvalidField, RoleMissing.
    """
    plugin: Student = catalog.build(ROOM, student, fields, f"student '{student}'")
    inputs = _inputs(f"students.{student}", dict.fromkeys(plugin.inputs, "to teach"), shards, split)
    return Request("shards", TEACH, TEACH_VERSION, {"source": {"role": role}}, {"checkpoint": (checkpoint,)} | inputs)


def explain_request(
    student: str, fields: Mapping[str, Any], checkpoint: str, *, shards: Mapping[str, Sequence[str]], split: str
) -> Request:
    """The order of what can be said of why a fitted model answers as it does to the test part of a split.

    Args:
        student, fields: as in the request of its fit.

    Raises:
        UnknownName, UnknownField, InvalidField, RoleMissing.
    """
    plugin: Student = catalog.build(ROOM, student, fields, f"student '{student}'")
    inputs = _inputs(f"students.{student}", dict.fromkeys(plugin.inputs, "to explain"), shards, split)
    return Request("explanations", EXPLAIN, EXPLAIN_VERSION, {}, {"checkpoint": (checkpoint,)} | inputs)


def read_fit(request: Request) -> FitOrder:
    """Reads a fit request that may come from anywhere.

    Raises:
        UnknownName, UnknownField, InvalidField, RoleMissing, VersionDiffers.
    """
    params = request.params
    if params["loop"] != LOOP:
        raise VersionDiffers("models.fit", params["loop"], LOOP)
    student = build_student(request.step, request.version, params["student"])
    for role, why in _roles(request.step, student, params["objective"]).items():
        if not request.inputs.get(SHARDS + role):
            raise RoleMissing(request.step, role, why, shard_roles(request))
    check_slots(student, encoder_digests(request), f"'{request.step}'")
    fit = _settings(params["fit"], params["objective"]) if student.terms else None
    if fit and fit.soft_labels:
        _voted(*request.inputs.get("votes", (None,)))
    return FitOrder(request.step, student, fit, params["objective"], tuple(params["classes"]), params["seed"])


def build_student(step: str, version: int, fields: Mapping[str, Any]) -> Student:
    """The student of a step such as 'students.mced', at exactly this version.

    Raises:
        UnknownName, UnknownField, InvalidField, VersionDiffers.
    """
    name = step.removeprefix("students.")
    student: Student = catalog.build(ROOM, name, fields, f"student '{name}'")
    if student.version != version:
        raise VersionDiffers(step, version, student.version)
    return student


def shard_roles(request: Request) -> dict[str, tuple[str, ...]]:
    """role -> digests of the shards of a request."""
    return {role.removeprefix(SHARDS): d for role, d in request.inputs.items() if role.startswith(SHARDS)}


def encoder_digests(request: Request) -> dict[str, str]:
    """slot -> digest of the record of the checkpoint that fills it."""
    return {role.removeprefix(ENCODER): d[0] for role, d in request.inputs.items() if role.startswith(ENCODER)}


def _settings(fields: Mapping[str, Any], objective: Mapping[str, float]) -> Fit:
    """The settings of a fit, all of which change something under this objective."""
    fit: Fit = catalog.filled(Fit, fields, "fit")
    of_terms = {"label_smoothing": "label", "class_weights": "label", "soft_labels": "label",
                "teacher_temperature": "logits"}  # fmt: skip
    for name, term in of_terms.items():
        value = getattr(fit, name)
        if term not in objective and value != Fit.__dataclass_fields__[name].default:
            raise InvalidField("fit", name, f"is {value!r}, but the objective has no term '{term}'")
    return fit


def _written(fit: Fit) -> dict[str, Any]:
    """The settings of a fit as its request has them."""
    default = {name: Fit.__dataclass_fields__[name].default for name in _LATER}
    return {name: value for name, value in plain_fields(fit).items() if name not in default or value != default[name]}


def _voted(votes: str | None) -> str:
    if votes is None:
        raise InvalidField("fit", "soft_labels", "is true, but the raters' votes are not among the inputs ('votes')")
    return votes


def terms_of(student: Student) -> dict[str, tuple[str, ...]]:
    """All loss terms of a student, with the further roles that each reads: those by which any model teaches it, and its
    own, which stand where both have the same name. A student that is solved in closed form has none."""
    return {**TEACHER_TERMS, **student.terms} if student.terms else {}


def _roles(step: str, student: Student, objective: Mapping[str, float]) -> dict[str, str]:
    """The roles a fit reads, each with the reason."""
    terms = terms_of(student)
    for term in objective:
        if term not in terms:
            raise UnknownField(f"the objective of '{step}'", term, terms)
    if student.terms and not objective:
        raise InvalidField(f"the objective of '{step}'", min(student.terms), "or another must have a weight")
    why = dict.fromkeys(student.inputs, "to predict")
    for term in objective:
        why |= dict.fromkeys(terms[term], f"for the term '{term}'")
    return why


def _inputs(
    step: str, needed: Mapping[str, str], shards: Mapping[str, Sequence[str]], split: str
) -> dict[str, tuple[str, ...]]:
    for role, why in needed.items():
        if not shards.get(role):
            raise RoleMissing(step, role, why, shards)
    return {SHARDS + role: tuple(sorted(shards[role])) for role in needed} | {"split": (split,)}


def plain_fields(plugin: Any) -> dict[str, Any]:
    """The fields as JSON gives them back: a key must be the same before and after a request went through a file."""
    fields = {field.name: getattr(plugin, field.name) for field in dataclasses.fields(plugin)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
