"""Pooling against loops over the valid steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.networks.pools import LayerMean, masked_max, masked_mean, masked_statistics
from tests.models.slow import (
    Vector,
    assert_same,
    draw,
    gradients,
    half,
    layer_norm,
    mask_of,
    numbers,
    shaken,
    tensor,
    total,
)

POOLS = [masked_mean, masked_max, masked_statistics]


def _mean(steps: list[Vector]) -> Vector:
    return [total(list(column)) / len(steps) for column in zip(*steps, strict=True)]


def _pooled(pool: Any, steps: list[Vector]) -> Vector:
    if pool is masked_mean:
        return _mean(steps)
    if pool is masked_max:
        return [max(column, key=lambda value: value.item()) for column in zip(*steps, strict=True)]
    mean = _mean(steps)
    squares = [[(x - m) ** 2 for x, m in zip(step, mean, strict=True)] for step in steps]
    return mean + [torch.sqrt(v) if v > 1e-9 else 0 * v.detach() for v in _mean(squares)]


@pytest.mark.parametrize("pool", POOLS)
@settings(max_examples=20, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    more=st.integers(0, 2),
    junk=st.sampled_from([0.0, 1e6]),
)
def test_pools_and_their_gradients_are_those_of_the_valid_steps(
    pool: Any, lengths: list[int], more: int, junk: float
) -> None:
    mask = mask_of(lengths, max(1, *lengths) + more)
    x = torch.where(mask[..., None], draw(*mask.shape, 3), junk).requires_grad_()
    found = pool(x, mask)
    rows = [_pooled(pool, numbers(x[i, :n])) if n else [x.sum() * 0] * found.shape[1] for i, n in enumerate(lengths)]
    expected = tensor(rows)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    by_pool, by_loops = (gradients(value, torch.nn.Identity(), x) for value in (found, expected))
    assert_same(by_pool, by_loops)
    assert by_pool[0][~mask].abs().sum() == 0


@pytest.mark.parametrize("pool", POOLS)
def test_gradients_by_finite_differences(pool: Any) -> None:
    mask = mask_of([3, 2], 3)
    assert torch.autograd.gradcheck(lambda x: pool(x, mask), (draw(2, 3, 2).requires_grad_(),))


@pytest.mark.parametrize("pool", POOLS)
def test_not_even_nan_in_padding_is_seen(pool: Any) -> None:
    mask = mask_of([2, 0], 4)
    x = torch.where(mask[..., None], draw(2, 4, 3), torch.nan).requires_grad_()
    found = pool(x, mask)
    found.sum().backward()
    assert found.isfinite().all() and found[1].abs().sum() == 0
    assert x.grad is not None and x.grad.isfinite().all()


def test_a_dimension_that_does_not_change_has_no_deviation_and_no_gradient_by_it() -> None:
    x = torch.full((1, 3, 2), 0.7).requires_grad_()
    statistics = masked_statistics(x, torch.ones(1, 3, dtype=torch.bool))
    assert statistics[0, 2:].tolist() == [0.0, 0.0]
    statistics[0, 2:].sum().backward()
    assert x.grad is not None and x.grad.abs().sum() == 0


@pytest.mark.parametrize("pool", POOLS)
def test_half_precision_is_finite(pool: Any) -> None:
    x, mask = draw(2, 4, 3).bfloat16().requires_grad_(), mask_of([4, 1], 4)
    with half():
        found = pool(x, mask)
    found.float().sum().backward()
    assert found.isfinite().all() and x.grad is not None and x.grad.isfinite().all()


def _layer_mean(n_layers: int) -> LayerMean:
    return shaken(LayerMean(n_layers, 4))


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
def test_the_mean_of_layers_is_equation_1(batch: int, n_layers: int, n_steps: int) -> None:
    module, stack = _layer_mean(n_layers), draw(batch, n_layers, n_steps, 4).requires_grad_()
    w = torch.exp(module.scores)

    def step(b: int, k: int) -> Vector:
        mean = [total([w[i] * stack[b, i, k, d] for i in range(n_layers)]) / total(list(w)) for d in range(4)]
        return layer_norm(mean, module.norm)

    expected = torch.stack([tensor([step(b, k) for k in range(n_steps)]) for b in range(batch)])
    found = module(stack)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    assert_same(gradients(found, module, stack), gradients(expected, module, stack))


def test_layers_weigh_alike_at_first_and_each_step_is_for_itself() -> None:
    module = LayerMean(13, 4)
    torch.testing.assert_close(module.weights, torch.full((13,), 1 / 13))
    stack = draw(2, 13, 5, 4).float()
    changed = stack.clone()
    changed[:, :, 3:] = 1e6
    found: Tensor = module(changed)
    torch.testing.assert_close(found[:, :3], module(stack)[:, :3], rtol=0, atol=0)


def test_layers_in_half_precision_are_finite() -> None:
    module, stack = LayerMean(3, 4), draw(2, 3, 5, 4).float()
    with half():
        found = module(stack)
    assert all(gradient.isfinite().all() for gradient in gradients(found, module))
