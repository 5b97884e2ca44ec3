"""Every loss against loops over the paper's equations, in float64; and its gradient against finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from models import losses


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
