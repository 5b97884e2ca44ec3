"""Multi-level fusion: eq. 1-4 of Zhao et al. 2022 by loops, its sizes, and what each fusion can and cannot tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import losses
from models.batch import Batch
from models.checkpoint import load
from models.network import Network
from models.networks.multilevel import MultilevelNetwork
from models.students.multilevel import Multilevel
from tests.models.slow import (
    Vector,
    Vectors,
    assert_same,
    draw,
    gradients,
    half,
    layer_norm,
    plus,
    relu,
    shaken,
    tensor,
    through,
    total,
    transformer_layer,
)
from tests.models.tiny_lake import CLASSES, TinyLake, batch_of, fitted, order, tiny_lake
from warehouse import catalog
from warehouse.errors import InvalidField, ShapeDiffers

GRANULARITIES = ("frame", "phone", "syllable", "word")
SPEECH = ("frames", "phones", "syllables", "words")
FORMS: dict[str, dict[str, Any]] = {
    "late": {"fusion": "late", "granularities": ("frame", "syllable")},
    "late of speech": {"fusion": "late", "granularities": ("phone", "word"), "text": False},
    "early": {"fusion": "early", "granularities": ("frame", "phone")},
    "early, shared": {"fusion": "early", "granularities": ("frame", "phone"), "shared": True},
    "concatenation": {"fusion": "concatenation", "granularities": ("frame", "phone")},
    "concatenation of means": {"fusion": "concatenation", "granularities": ("frame", "phone"), "joined": "means"},
    "linear": {"fusion": "linear", "granularities": ("word",), "text": False},
    "transformer": {"fusion": "transformer", "granularities": ()},
}
each_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> TinyLake:
    return tiny_lake(tmp_path_factory.mktemp("multilevel") / "lake", n_utterances=24)


def _student(**fields: Any) -> Multilevel:
    return Multilevel(**{"hidden": 6, "width": 4, "layers": 2, "heads": 2, "feed_forward": 5, "dropout": 0.0, **fields})


def _batch(steps: Mapping[str, Sequence[int]], dim: int = 4, n_layers: int = 2, more: int = 0) -> Batch:
    """Numbers in float64 and in padding, whose length is `more`, other ones."""
    arrays, lengths = {}, {}
    for seed, (role, n_steps) in enumerate(steps.items()):
        arrays[role] = draw(len(n_steps), n_layers, 9, dim, seed=seed)[:, :, : max(n_steps) + more]
        lengths[role] = torch.tensor(n_steps)
    labels = torch.zeros(len(next(iter(steps.values()))), dtype=torch.int64)
    return Batch(tuple("abc"[: len(labels)]), arrays, lengths, {}, labels)


def _single(batch: Batch) -> Batch:
    arrays = {role: array.float() for role, array in batch.arrays.items()}
    return Batch(batch.ids, arrays, batch.lengths, batch.texts, batch.labels)


STEPS = {"frames": [5, 2, 1], "phones": [3, 1, 1], "syllables": [1, 2, 1], "words": [1, 2, 2], "tokens": [2, 3, 1]}


def _network(student: Multilevel, dim: int = 4, n_layers: int = 2, n_classes: int = 3) -> MultilevelNetwork:
    torch.manual_seed(0)
    shapes = dict.fromkeys(student.inputs, (n_layers, 9, dim))
    network = student.module(shapes, "abcdef"[:n_classes], None)
    assert isinstance(network, MultilevelNetwork)
    return network


# -- the equations, one number at a time -----------------------------------------------------------------------------


def _mean(rows: Vectors) -> Vector:
    return [total(list(column)) / len(rows) for column in zip(*rows, strict=True)]


def _u(states: Any, stack: Tensor) -> Vectors:
    """Eq. 1 of one utterance; before it, each dimension of each layer normalised."""
    w = torch.exp(states.layers.scores)
    rows = []
    for k in range(stack.shape[1]):
        layers = [
            [(stack[n, k, d] - states.mean[n, 0, d]) / states.scale[n, 0, d] for d in range(stack.shape[2])]
            for n in range(len(stack))
        ]
        mean = [total([w[n] * x[d] for n, x in enumerate(layers)]) / total(list(w)) for d in range(stack.shape[2])]
        rows.append(layer_norm(mean, states.layers.norm))
    return rows


def _branch(branch: Any, rows: Vectors) -> Vector:
    """Eq. 2, and what eq. 3 adds up."""
    found = [relu(through(branch.second)(relu(through(branch.first)(u)))) for u in rows]
    return through(branch.classify)(_mean(found))


def _head(head: Any, c: Vector) -> Vector:
    """Eq. 4."""
    g = layer_norm(plus(relu(through(head.fuse.linear)(c)), c), head.fuse.norm)
    return through(head.classify)(g)


def _logits(network: Any, u: Mapping[str, Vectors]) -> Vector:
    student, fusion = network.student, network.fusion
    if student.fusion in ("late", "linear"):
        each = [_branch(fusion.branches[role], rows) for role, rows in u.items()]
        return [total(list(column)) for column in zip(*each, strict=True)]
    if student.fusion == "concatenation" and student.joined == "steps":
        return _branch(fusion.branch, [row for rows in u.values() for row in rows])
    if student.fusion == "concatenation":
        return _branch(fusion.branch, [[x for rows in u.values() for x in _mean(rows)]])
    if student.fusion == "transformer":
        ((_, rows),) = u.items()
        for layer in fusion.layers:
            rows = transformer_layer(layer, rows)
        return _head(fusion.head, _mean(rows))
    c: Vector = []
    for role, rows in u.items():
        if role == "tokens":
            continue
        text, speech = u["tokens"], rows
        for layer in fusion.co_attention["speech" if student.shared else role]:
            first, second = layer.branches
            text, speech = transformer_layer(first, text, speech), transformer_layer(second, speech, text)
        c += [(a + b) / 2 for a, b in zip(_mean(text), _mean(speech), strict=True)]
    return _head(fusion.head, c)


@each_form
def test_logits_and_their_gradients_are_the_equations(form: dict[str, Any]) -> None:
    student = _student(**form)
    network = _network(student)
    batch = _batch({role: STEPS[role] for role in student.inputs}, more=2)
    network.prepare([batch])
    network = shaken(network)
    found = network(batch)
    rows = []
    for i in range(3):
        stacks = {role: batch.arrays[role][i, :, : STEPS[role][i]] for role in student.inputs}
        rows.append(_logits(network, {role: _u(network.states[role], stack) for role, stack in stacks.items()}))
    expected = tensor(rows)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)
    assert_same(gradients(found, network), gradients(expected, network), atol=1e-9)


@each_form
def test_padding_changes_nothing(form: dict[str, Any]) -> None:
    student = _student(**form)
    network = shaken(_network(student))
    batches = [_batch({role: STEPS[role] for role in student.inputs}, more=more) for more in (0, 3)]
    torch.testing.assert_close(network(batches[0]), network(batches[1]), rtol=1e-10, atol=1e-12)


def test_one_linear_map_leads_to_attention_from_another_width() -> None:
    student = _student(**FORMS["early"])
    network = student.module({"frames": (2, 9, 6), "phones": (2, 9, 6), "tokens": (9, 4)}, "abc", None)
    kinds = {role: type(layer) for role, layer in network.fusion.to_width.items()}  # type: ignore[operator,union-attr]
    assert kinds == {"frames": nn.Linear, "phones": nn.Linear, "tokens": nn.Identity}


# -- where there is no step ------------------------------------------------------------------------------------------


@each_form
@pytest.mark.parametrize("in_all", [False, True])
def test_an_utterance_without_a_step_leaves_numbers_finite_and_the_others_as_they_were(
    form: dict[str, Any], in_all: bool
) -> None:
    student = _student(**form)
    network = shaken(_network(student)).float()
    lacking = student.inputs[0]
    full = _single(_batch({role: STEPS[role] for role in student.inputs}))
    arrays, lengths = dict(full.arrays), dict(full.lengths)
    lengths[lacking] = torch.tensor([0, 0, 0] if in_all else [1, 0, 1])
    if in_all:
        arrays[lacking] = arrays[lacking][:, :, :0]
    batch = Batch(full.ids, arrays, lengths, {}, full.labels)
    network.prepare([batch])
    logits = network(batch)
    assert logits.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients(logits, network))


@each_form
def test_half_precision_is_finite(form: dict[str, Any]) -> None:
    student = _student(**form)
    network = _network(student)
    batch = _single(_batch({role: STEPS[role] for role in student.inputs}))
    with half():
        loss = network.losses(batch, ["label"])["label"]
    assert all(gradient.isfinite().all() for gradient in gradients(loss, network))


# -- inputs and sizes ------------------------------------------------------------------------------------------------


def _combinations() -> list[tuple[str, ...]]:
    return [several for n in range(1, 5) for several in combinations(GRANULARITIES, n)]


def test_all_fifteen_combinations_are_students_with_inputs_of_their_own() -> None:
    several = _combinations()
    assert len(several) == 15
    for one in several:
        roles = tuple(role for name, role in zip(GRANULARITIES, SPEECH, strict=True) if name in one)
        for fusion in ("late", "early", "concatenation"):
            student = catalog.build("models.students", "multilevel", {"granularities": list(one), "fusion": fusion}, "")
            assert student.inputs == (*roles, "tokens")
        alone = {"granularities": one, "text": False, "fusion": "late" if len(one) > 1 else "linear"}
        assert Multilevel(**alone).inputs == roles  # type: ignore[arg-type]
    assert Multilevel(granularities=(), fusion="linear").inputs == ("tokens",)


def _count(module: Network) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


ATTENTION = 4 * (768 + 1) * 768 + (768 + 1) * 3072 + (3072 + 1) * 768 + 2 * 2 * 768
"""Weights of one transformer layer of the size of BERT base."""
BRANCH = (768 + 1) * 128 + (128 + 1) * 128 + (128 + 1) * 4
MEAN = 12 + 2 * 768


@pytest.mark.parametrize(("fields", "expected"), [
    ({"granularities": GRANULARITIES}, 5 * (MEAN + BRANCH)),
    ({"granularities": ("frame", "phone"), "fusion": "early"},
     3 * MEAN + 2 * 3 * 2 * ATTENTION + (1536 + 1) * 1536 + 2 * 1536 + (1536 + 1) * 4),
    ({"granularities": ("frame", "phone"), "fusion": "early", "shared": True},
     3 * MEAN + 3 * 2 * ATTENTION + (1536 + 1) * 1536 + 2 * 1536 + (1536 + 1) * 4),
    ({"granularities": ("frame", "phone"), "fusion": "concatenation"}, 3 * MEAN + BRANCH),
    ({"text": False, "fusion": "linear"}, MEAN + BRANCH),
    ({"granularities": (), "fusion": "transformer"},
     MEAN + 3 * ATTENTION + (768 + 1) * 768 + 2 * 768 + (768 + 1) * 4),
])  # fmt: skip
def test_sizes_are_those_of_twelve_layers_of_768(fields: dict[str, Any], expected: int) -> None:
    student = Multilevel(**fields)
    with torch.device("meta"):
        network = student.module(dict.fromkeys(student.inputs, (12, 9, 768)), "abcd", None)
    assert _count(network) == expected
    told = {585_040: "late", 87_429_160: "early"}
    if expected in told:
        assert f"{expected:,}" in (Multilevel.__doc__ or "")


def test_dropout_is_behind_every_layer_but_the_last() -> None:
    network = _network(_student(dropout=0.999999), n_layers=1).double().train()
    batch = _batch({role: STEPS[role] for role in ("frames", "tokens")}, n_layers=1)
    biases = [network.get_parameter(f"fusion.branches.{role}.classify.bias") for role in ("frames", "tokens")]
    torch.testing.assert_close(network(batch), (biases[0] + biases[1]).expand(3, -1))


# -- statistics ------------------------------------------------------------------------------------------------------


def test_speech_is_normalised_by_the_training_part_and_the_text_is_not(lake: TinyLake) -> None:
    artifact = fitted(lake, order(lake, "multilevel", fit={"epochs": 1}))
    _, network = load(artifact.folder)
    roles = ("frames", "phones", "tokens")
    for role in roles:
        batch = batch_of(lake, [role])
        steps = torch.cat([batch.arrays[role][i, :, :n] for i, n in enumerate(batch.lengths[role])], dim=1).double()
        mean, scale = (network.get_buffer(f"states.{role}.{name}")[:, 0] for name in ("mean", "scale"))
        if role == "tokens":
            assert not mean.any() and (scale == 1).all()
        else:
            torch.testing.assert_close(mean, steps.mean(1).float())
            torch.testing.assert_close(scale, steps.std(1, correction=0).float())
    plain = load(fitted(lake, order(lake, "multilevel", fields={"normalised": False}, fit={"epochs": 1})).folder)[1]
    assert not plain.get_buffer("states.frames.mean").any()


# -- what each can tell ----------------------------------------------------------------------------------------------


def _task(n: int, seed: int, both: bool) -> Batch:
    """Two bits, one told by speech, one by the text, each by the sign of another dimension of its steps. The class is
    the pair of them, or whether they differ."""
    generator = torch.Generator().manual_seed(seed)
    bits = torch.randint(0, 2, (2, n), generator=generator)
    arrays, lengths = {}, {}
    for role, which, n_steps in (("frames", 0, 6), ("phones", 0, 3), ("tokens", 1, 4)):
        arrays[role] = torch.randn(n, 2, n_steps, 6, generator=generator)
        arrays[role][:, 1, :, which] += 3.0 * (2 * bits[which, :, None] - 1)
        lengths[role] = torch.randint(1, n_steps + 1, (n,), generator=generator)
    labels = bits[0] * 2 + bits[1] if both else bits[0] ^ bits[1]
    return Batch(tuple(map(str, range(n))), arrays, lengths, {}, labels)


def _accuracy(seed: int, both: bool = True, n_epochs: int = 40, **fields: Any) -> float:
    """On utterances that were not seen, after some passes over 128."""
    student = _student(**{"width": 8, "layers": 1, "feed_forward": 16, "dropout": 0.1, **fields})
    torch.manual_seed(seed)
    train, test = _task(128, 2 * seed, both), _task(256, 2 * seed + 1, both)
    shapes = dict.fromkeys(student.inputs, (2, 9, 6))
    network = student.module(shapes, "abcd" if both else "ab", None)
    network.prepare([train])
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(n_epochs):
        optimizer.zero_grad()
        losses.cross_entropy(network(train), train.labels).backward()
        optimizer.step()
    with torch.no_grad():
        return (network.eval()(test).argmax(dim=-1) == test.labels).double().mean().item()


ALONE: list[dict[str, Any]] = [
    {"fusion": fusion, **roles}
    for fusion in ("linear", "transformer")
    for roles in ({"granularities": ("frame",), "text": False}, {"granularities": ()})
]


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_each_fusion_beats_each_modality_alone(seed: int) -> None:
    alone = max(_accuracy(seed, **fields) for fields in ALONE)
    assert alone < 0.65  # each tells one of the two bits
    for name in ("late", "early", "concatenation", "concatenation of means"):
        assert _accuracy(seed, **{**FORMS[name], "granularities": ("frame", "phone")}) > alone + 0.2, name


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_what_only_both_together_tell_is_lost_where_logits_are_added_up(seed: int) -> None:
    fields: dict[str, Any] = {"both": False, "granularities": ("frame", "phone")}
    assert _accuracy(seed, fusion="early", **fields) > 0.85
    assert _accuracy(seed, fusion="concatenation", joined="means", **fields) > 0.85
    added_up = [{"fusion": "late"}, {"fusion": "concatenation"}]
    assert max(_accuracy(seed, **{**fields, **one}) for one in [*added_up, *ALONE]) < 0.65


# -- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fields", "told"), [
    ({"granularities": ("phone", "frame")},
     "'granularities' are phone, frame, but must be some of frame, phone, syllable, word, in this order"),
    ({"granularities": ("frame", "frame")}, "'granularities' are frame, frame, but must be some of"),
    ({"fusion": "early", "text": False}, "'fusion' is 'early', which needs text and at least one granularity"),
    ({"fusion": "concatenation", "granularities": ()}, "'fusion' is 'concatenation', which needs text and"),
    ({"fusion": "late", "text": False}, "'fusion' is 'late', which adds up at least two .* are 1: 'linear' takes one"),
    ({"fusion": "linear"}, "'fusion' is 'linear', which takes one role alone, but there are 2"),
    ({"fusion": "transformer", "text": False, "granularities": ()}, "takes one role alone, but there are 0"),
    ({"width": 10, "heads": 4}, r"'width' is 10, but must be a multiple of heads \(4\)"),
])  # fmt: skip
def test_fields_that_do_not_fit(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidField, match=told):
        Multilevel(**fields)


def test_shapes_that_do_not_fit(tmp_path: Path) -> None:
    shapes = {"frames": (2, 7, 6), "tokens": (2, 3, 4)}
    with pytest.raises(InvalidField, match="'init' cannot be given: what was learned before is in its encoders"):
        _student().module(shapes, CLASSES, tmp_path)
    with pytest.raises(InvalidField, match=r"'joined' is 'steps', but .* differ \(frames 6, tokens 4\): use 'means'"):
        _student(fusion="concatenation").module(shapes, CLASSES, None)
    _student(fusion="concatenation", joined="means").module(shapes, CLASSES, None)
    for shape in ((6,), ()):
        with pytest.raises(ShapeDiffers, match=r"an array of 'frames' has shape .* steps are wanted"):
            _student().module(shapes | {"frames": shape}, CLASSES, None)
