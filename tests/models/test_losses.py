"""Every loss against loops over the paper's equations, in float64; and its gradient against finite differences."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from models import losses
from models.batch import NO_LABEL


def _draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _softmax(values: list[float]) -> list[float]:
    powers = [math.exp(value) for value in values]
    return [power / sum(powers) for power in powers]


def _gelu(value: float) -> float:
    return value * 0.5 * (1 + math.erf(value / math.sqrt(2)))


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_response_distillation_is_equation_1(temperature: float) -> None:
    student, teacher = _draw(5, 4, seed=1), _draw(5, 4, seed=2)
    total = 0.0
    for z_s, z_t in zip(student.tolist(), teacher.tolist(), strict=True):
        p_s, p_t = (_softmax([z / temperature for z in logits]) for logits in (z_s, z_t))
        total += sum(t * math.log(t / s) for s, t in zip(p_s, p_t, strict=True))
    expected = total / 5 * temperature**2
    assert losses.response_distillation(student, teacher, temperature).item() == pytest.approx(expected, rel=1e-12)
    leaf = student.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: losses.response_distillation(s, teacher, temperature), (leaf,))


def test_a_student_that_equals_its_teacher_has_no_response_loss() -> None:
    logits = _draw(6, 4).requires_grad_()
    loss = losses.response_distillation(logits, logits.detach() + 3.0, 2.0)  # a constant changes no probability
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert logits.grad is not None and logits.grad.abs().max() < 1e-12


def test_descending_the_response_loss_moves_towards_the_teacher() -> None:
    teacher = torch.tensor([[2.0, -1.0, 0.0]])
    student = torch.zeros(1, 3, requires_grad=True)
    losses.response_distillation(student, teacher, 2.0).backward()
    assert student.grad is not None and student.grad.argmin() == 0


def test_soft_align_is_equation_2() -> None:
    teacher, student = _draw(2, 3, 4, seed=1), _draw(2, 5, 6, seed=2)
    query, key, value = _draw(4, 4, seed=3), _draw(6, 4, seed=4), _draw(6, 4, seed=5)
    mask = torch.tensor([[True] * 5, [True, True, True, False, False]])
    found = losses.soft_align(teacher, student, mask, query, key, value)
    for i in range(2):
        h_t, h_s = teacher[i].numpy(), student[i][mask[i]].numpy()
        queries = h_t @ query.numpy()
        keys, values = (np.vectorize(_gelu)(h_s @ matrix.numpy()) for matrix in (key, value))
        for m in range(3):
            weights = _softmax([float(queries[m] @ k) / math.sqrt(4) for k in keys])
            expected = sum(weight * row for weight, row in zip(weights, values, strict=True))
            np.testing.assert_allclose(found[i, m].numpy(), expected, rtol=1e-12)


def test_soft_align_has_the_right_gradients() -> None:
    shapes = (2, 3, 4), (2, 4, 3), (4, 4), (3, 4), (3, 4)
    leaves = [_draw(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    for leaf in leaves:
        leaf.requires_grad_()
    assert torch.autograd.gradcheck(lambda t, s, q, k, v: losses.soft_align(t, s, mask, q, k, v), leaves)


def test_frames_that_are_padding_get_no_attention_and_no_gradient() -> None:
    teacher, matrices = _draw(1, 3, 4), [_draw(4, 4, seed=3), _draw(6, 4, seed=4), _draw(6, 4, seed=5)]
    student = _draw(1, 7, 6, seed=2).requires_grad_()
    mask = torch.tensor([[True] * 5 + [False] * 2])
    padded = losses.soft_align(teacher, student, mask, *matrices)
    short = losses.soft_align(teacher, student[:, :5], mask[:, :5], *matrices)
    torch.testing.assert_close(padded, short, rtol=0, atol=1e-14)
    padded.square().sum().backward()
    assert student.grad is not None and student.grad[0, 5:].abs().max() == 0


def test_feature_distillation_is_a_term_of_equation_3() -> None:
    teacher, aligned = _draw(3, 4, 5, seed=1), _draw(3, 4, 5, seed=2)
    lengths = [4, 2, 1]
    mask = torch.arange(4) < torch.tensor(lengths)[:, None]
    total = 0.0
    for i, n_tokens in enumerate(lengths):
        squares = [
            (teacher[i, token, d] - aligned[i, token, d]).item() ** 2 for token in range(n_tokens) for d in range(5)
        ]
        total += sum(squares) / (n_tokens * 5)
    assert losses.feature_distillation(teacher, aligned, mask).item() == pytest.approx(total / 3, rel=1e-12)
    leaf = aligned.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda a: losses.feature_distillation(teacher, a, mask), (leaf,))


def test_tokens_that_are_padding_do_not_count() -> None:
    teacher, aligned = _draw(2, 4, 5, seed=1), _draw(2, 4, 5, seed=2).requires_grad_()
    mask = torch.tensor([[True, True, False, False], [True, False, False, False]])
    junk = losses.feature_distillation(teacher + 1e6 * ~mask[..., None], aligned, mask)
    assert junk.item() == losses.feature_distillation(teacher[:, :2], aligned[:, :2], mask[:, :2]).item()
    junk.backward()
    assert aligned.grad is not None and aligned.grad[~mask].abs().max() == 0
    assert losses.feature_distillation(teacher, teacher, mask).item() == 0


def test_vector_distillation_is_the_mean_of_all_squares() -> None:
    teacher, projected = _draw(3, 4, seed=1), _draw(3, 4, seed=2)
    squares = [(teacher[i, d] - projected[i, d]).item() ** 2 for i in range(3) for d in range(4)]
    assert losses.vector_distillation(teacher, projected).item() == pytest.approx(sum(squares) / 12, rel=1e-12)
    assert losses.vector_distillation(teacher, teacher).item() == 0
    leaf = projected.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: losses.vector_distillation(teacher, x), (leaf,))


def test_cross_entropy_passes_over_rows_without_a_label() -> None:
    logits = _draw(4, 3)
    labels = torch.tensor([2, -100, 0, -100])
    expected = -sum(math.log(_softmax(logits[i].tolist())[label]) for i, label in ((0, 2), (2, 0))) / 2
    assert losses.cross_entropy(logits, labels).item() == pytest.approx(expected, rel=1e-12)
    leaf = logits.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: losses.cross_entropy(z, labels), (leaf,))


def test_cross_entropy_of_nothing_is_zero_and_still_has_a_gradient() -> None:
    logits = _draw(2, 3).requires_grad_()
    loss = losses.cross_entropy(logits, torch.tensor([-100, -100]))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None and logits.grad.abs().max() == 0


def _entropies(logits: Tensor, targets: list[list[float]], weights: list[float]) -> list[float]:
    """Of each row: - Σ_c w_c q_c log p_c."""
    return [
        -sum(w * q * math.log(p) for w, q, p in zip(weights, row, _softmax(z), strict=True))
        for z, row in zip(logits.tolist(), targets, strict=True)
    ]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([0, 1, 2, NO_LABEL]), min_size=1, max_size=6),
    st.sampled_from([None, [0.5, 2.0, 1.0], [0.0, 1.0, 3.0]]),
    st.sampled_from([0.0, 0.1]),
)
def test_cross_entropy_with_class_weights_and_smoothing(
    labels: list[int], weights: list[float] | None, smoothing: float
) -> None:
    logits, w = _draw(len(labels), 3), weights or [1.0, 1.0, 1.0]
    targets = [[(c == label) * (1 - smoothing) + smoothing / 3 for c in range(3)] for label in labels]
    known = [i for i, label in enumerate(labels) if label != NO_LABEL]
    entropies = _entropies(logits, targets, w)
    expected = sum(entropies[i] for i in known) / max(1, len(known))
    tensor = torch.tensor(weights, dtype=torch.float64) if weights else None
    found = losses.cross_entropy(logits, torch.tensor(labels), tensor, smoothing)
    assert found.item() == pytest.approx(expected, rel=1e-10, abs=1e-14)


@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 1.0]])
def test_the_gradients_of_cross_entropy(weights: list[float] | None) -> None:
    w = torch.tensor(weights, dtype=torch.float64) if weights else None
    labels, targets = torch.tensor([2, NO_LABEL, 0]), torch.tensor([[0.5, 0.5, 0.0], [0.0] * 3, [0.0, 0.25, 0.75]])
    leaf = _draw(3, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: losses.cross_entropy(z, labels, w, 0.1), (leaf,))
    assert torch.autograd.gradcheck(lambda z: losses.soft_cross_entropy(z, targets.double(), w, 0.1), (leaf,))


def test_class_weights_do_not_depend_on_what_a_batch_holds() -> None:
    logits, labels, w = _draw(5, 3), torch.tensor([0, 0, 1, 2, 2]), torch.tensor([0.5, 2.0, 1.0]).double()
    alone = [losses.cross_entropy(logits[i : i + 1], labels[i : i + 1], w) for i in range(5)]
    torch.testing.assert_close(torch.stack(alone).mean(), losses.cross_entropy(logits, labels, w), rtol=1e-12, atol=0)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=1, max_size=5), st.booleans(),
    st.sampled_from([0.0, 0.1]),
)  # fmt: skip
def test_soft_cross_entropy_is_the_mean_over_votes(votes: list[list[int]], weighted: bool, smoothing: float) -> None:
    """A row for which nobody voted does not count, smoothed or not."""
    logits, w = _draw(len(votes), 3), [0.5, 2.0, 1.0] if weighted else [1.0, 1.0, 1.0]
    targets = [[n / max(1, sum(row)) for n in row] for row in votes]
    smoothed = [[(1 - smoothing) * q + smoothing / 3 if any(row) else 0.0 for q in row] for row in targets]
    expected = sum(_entropies(logits, smoothed, w)) / max(1, sum(any(row) for row in votes))
    tensor = torch.tensor(w, dtype=torch.float64) if weighted else None
    found = losses.soft_cross_entropy(logits, torch.tensor(targets, dtype=torch.float64), tensor, smoothing)
    assert found.item() == pytest.approx(expected, rel=1e-10, abs=1e-14)


def test_raters_who_agree_are_one_label() -> None:
    logits, labels, w = _draw(4, 3), torch.tensor([2, 0, NO_LABEL, 0]), torch.tensor([0.5, 2.0, 1.0]).double()
    targets = torch.stack([(labels == c).double() for c in range(3)], dim=1)
    for weights, smoothing in ((None, 0.0), (w, 0.0), (None, 0.2), (w, 0.2)):
        soft = losses.soft_cross_entropy(logits, targets, weights, smoothing)
        torch.testing.assert_close(soft, losses.cross_entropy(logits, labels, weights, smoothing), rtol=1e-12, atol=0)


def test_a_class_that_is_impossible_and_unwanted_costs_nothing() -> None:
    """As the logit of a class that a linear student never saw."""
    logits = torch.tensor([[0.3, -0.2, -torch.inf]], requires_grad=True)
    loss = losses.soft_cross_entropy(logits, torch.tensor([[0.5, 0.5, 0.0]]))
    loss.backward()
    assert loss.isfinite() and logits.grad is not None and logits.grad.isfinite().all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=20), st.integers(0, 3))
def test_balanced_weights_are_scikit_learns(labels: list[int], n_unlabelled: int) -> None:
    found = losses.balanced_weights(torch.tensor(labels + [NO_LABEL] * n_unlabelled), 4)
    seen = np.unique(labels)
    expected = compute_class_weight("balanced", classes=seen, y=np.array(labels)) * len(seen) / 4
    np.testing.assert_allclose(found[seen].numpy(), expected, rtol=1e-6)
    assert sum(weight > 0 for weight in found.tolist()) == len(seen)


@pytest.mark.parametrize("temperature", [0.05, 1.0, 2.0])
def test_the_mean_of_two_streams_and_its_loss_are_lines_9_to_12(temperature: float) -> None:
    """Of Kim & Kang 2022, algorithm 3; their loss is divided by the number of classes too."""
    audio, text, labels = _draw(4, 3, seed=1), _draw(4, 3, seed=2), [2, 0, 1, 1]
    probabilities = []
    for a, t in zip(audio.tolist(), text.tolist(), strict=True):
        streams = [_softmax([z / temperature for z in logits]) for logits in (a, t)]
        probabilities.append([(x + y) / 2 for x, y in zip(*streams, strict=True)])
    printed = -sum(math.log(p[label]) for p, label in zip(probabilities, labels, strict=True)) / (4 * 3)

    def loss(a: Tensor, t: Tensor) -> Tensor:
        return losses.cross_entropy(losses.average_log_probability([a, t], temperature), torch.tensor(labels))

    found = losses.average_log_probability([audio, text], temperature)
    np.testing.assert_allclose(found.softmax(dim=-1).numpy(), probabilities, rtol=1e-10)
    assert loss(audio, text).item() == pytest.approx(3 * printed, rel=1e-10)
    if temperature >= 1:  # finite differences need a curve that is not too sharp
        assert torch.autograd.gradcheck(loss, (audio.requires_grad_(), text.requires_grad_()))


def test_the_mean_of_streams_is_exact_where_float32_has_no_such_probability() -> None:
    audio, text = torch.tensor([[20.0, -20.0]]), torch.tensor([[15.0, -25.0]])
    leaves = audio.requires_grad_(), text.requires_grad_()
    found = losses.average_log_probability(leaves, 0.01)
    exact = losses.average_log_probability([leaf.double() for leaf in leaves], 0.01)
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=1e-6)
    assert found[0, 1].item() == pytest.approx(-4000, rel=1e-3)
    for gradient in torch.autograd.grad(losses.cross_entropy(found, torch.tensor([1])), leaves):
        assert gradient.isfinite().all() and gradient.abs().max() > 1


def test_streams_that_agree_are_one() -> None:
    logits = _draw(3, 4)
    found = losses.average_log_probability([logits] * 3, 0.5)
    torch.testing.assert_close(found, torch.log_softmax(logits / 0.5, dim=-1), rtol=1e-12, atol=1e-12)


# -- connectionist temporal classification ---------------------------------------------------------------------


def _ctc(logits: Tensor, target: list[int], blank: int) -> float:
    """- log of the sum over every path that is the target once repeats are merged and blanks are left out."""
    probabilities = [_softmax(row) for row in logits.tolist()]
    total = 0.0
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        merged = [symbol for symbol, _ in itertools.groupby(path)]
        if [symbol for symbol in merged if symbol != blank] == target:
            total += math.prod(row[symbol] for row, symbol in zip(probabilities, path, strict=True))
    return -math.log(total) if total else math.inf


def _batch(targets: list[list[int]]) -> tuple[Tensor, Tensor]:
    lengths = [len(target) for target in targets]
    padded = [target + [0] * (max(lengths) - len(target)) for target in targets]
    return torch.tensor(padded, dtype=torch.int64).reshape(len(targets), -1), torch.tensor(lengths)


@pytest.mark.parametrize("blank", [0, 2])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_ctc_is_the_sum_over_all_paths(reduction: Any, blank: int) -> None:
    one, other = (c for c in range(3) if c != blank)
    targets, lengths = [[one, other], [one], [], [other, other], [one, one, one]], [5, 3, 2, 3, 4]
    logits = _draw(5, 5, 3)
    each = [_ctc(logits[i, :n], target, blank) for i, (n, target) in enumerate(zip(lengths, targets, strict=True))]
    assert each[4] == math.inf  # three alike need five frames
    parts = [
        0.0 if value == math.inf else value / (max(1, len(target)) if reduction == "mean" else 1)
        for value, target in zip(each, targets, strict=True)
    ]
    expected = sum(parts) / (5 if reduction == "mean" else 1)

    def loss(z: Tensor) -> Tensor:
        return losses.ctc(z, torch.tensor(lengths), *_batch(targets), reduction, blank)

    assert loss(logits).item() == pytest.approx(expected, rel=1e-10)
    assert torch.autograd.gradcheck(loss, (logits.requires_grad_(),))
    (gradient,) = torch.autograd.grad(loss(logits), logits)
    assert gradient[4].abs().sum() == 0  # what does not fit teaches nothing
    assert all(gradient[i, n:].abs().sum() == 0 for i, n in enumerate(lengths))


def test_padding_and_order_change_nothing_in_ctc() -> None:
    logits, lengths, targets = _draw(3, 6, 4), [6, 2, 0], [[1, 2, 2], [3], [1]]
    plain = losses.ctc(logits, torch.tensor(lengths), *_batch(targets))
    wide, order = torch.full((3, 9, 4), 1e3, dtype=torch.float64), [2, 0, 1]
    for i, length in enumerate(lengths):
        wide[i, :length] = logits[i, :length]
    other = losses.ctc(wide[order], torch.tensor(lengths)[order], *_batch([targets[i] for i in order]))
    assert other.item() == pytest.approx(plain.item(), rel=1e-12)


@pytest.mark.parametrize("loss", [
    lambda z: losses.cross_entropy(z, torch.tensor([0, 2]), torch.tensor([0.5, 1.0, 2.0]), 0.1),
    lambda z: losses.soft_cross_entropy(z, torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])),
    lambda z: losses.cross_entropy(losses.average_log_probability([z, -z], 0.01), torch.tensor([0, 2])),
    lambda z: losses.ctc(z[None], torch.tensor([2]), torch.tensor([[1]]), torch.tensor([1])),
    lambda z: losses.vector_distillation(torch.ones(2, 3), z),
])  # fmt: skip
def test_half_precision_takes_part_in_single(loss: Callable[[Tensor], Tensor]) -> None:
    logits = (5 * _draw(2, 3)).bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(logits)
    (gradient,) = torch.autograd.grad(found, logits)
    assert found.dtype == torch.float32 and found.isfinite() and gradient.isfinite().all()
    assert found.item() == pytest.approx(loss(logits.detach().float()).item(), rel=0.02)
