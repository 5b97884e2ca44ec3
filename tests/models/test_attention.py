"""Attention and its layer against the loops of `slow`; and what stands in padding is never seen."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.networks.attention import TransformerLayer, attend, sinusoids
from tests.models.slow import (
    assert_same,
    attention,
    draw,
    gradients,
    half,
    mask_of,
    numbers,
    shaken,
    tensor,
    transformer_layer,
)

KINDS = [(False, None), (True, None), (True, 0.5)]  # post-norm; pre-norm; pre-norm, and divided by d_q as printed


def _layer(pre_norm: bool = False, scale: float | None = None) -> TransformerLayer:
    torch.manual_seed(0)
    return shaken(TransformerLayer(4, 2, 5, 0.0, pre_norm, scale))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(1, 3), st.sampled_from([1, 2]), st.data())
def test_attention_is_the_equation(lengths: list[int], n_queries: int, heads: int, drawn: st.DataObject) -> None:
    scale = drawn.draw(st.sampled_from([None, 0.25]))
    batch, n_keys = len(lengths), max(lengths) + drawn.draw(st.integers(0, 2))
    query = draw(batch, n_queries, 4, seed=1)
    key, value = (draw(batch, n_keys, 4, seed=seed) for seed in (2, 3))
    found = attend(query, key, value, mask_of(lengths, n_keys), heads, scale)
    for i, length in enumerate(lengths):
        q, k, v = numbers(query[i]), numbers(key[i, :length]), numbers(value[i, :length])
        torch.testing.assert_close(found[i], tensor(attention(q, k, v, heads, scale)), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("pre_norm", "scale"), KINDS)
@pytest.mark.parametrize("crossed", [False, True])
def test_a_layer_is_algorithm_1_and_so_are_its_gradients(pre_norm: bool, scale: float | None, crossed: bool) -> None:
    layer = _layer(pre_norm, scale)
    x, context = draw(2, 3, 4, seed=1).requires_grad_(), draw(2, 5, 4, seed=2).requires_grad_()
    own, other = [3, 2], [2, 5]
    mask = mask_of(other, 5) if crossed else mask_of(own, 3)
    found = layer(x, mask, context if crossed else None)
    valid = torch.cat([found[i, :length] for i, length in enumerate(own)])
    rows = []
    for i, length in enumerate(own):
        rows += transformer_layer(layer, numbers(x[i, :length]), numbers(context[i, : other[i]]) if crossed else None)
    expected = tensor(rows)
    torch.testing.assert_close(valid, expected, rtol=1e-9, atol=1e-10)
    assert_same(gradients(valid, layer, x, context), gradients(expected, layer, x, context))


def test_a_context_that_is_the_stream_itself_is_no_context() -> None:
    layer, x, mask = _layer(), draw(2, 3, 4), mask_of([3, 2], 3)
    torch.testing.assert_close(layer(x, mask, x), layer(x, mask), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("pre_norm", [False, True])
def test_padding_is_never_seen(pre_norm: bool) -> None:
    """Neither values nor gradients change with what stands in padding, nor with how much of it there is."""
    layer, own, other = _layer(pre_norm), [3, 1, 2], [1, 4, 2]

    def outcome(n_own: int, n_other: int, junk: float) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        masks = mask_of(own, n_own), mask_of(other, n_other)
        leaves = [draw(3, 6, 4, seed=seed)[:, :n].clone() for seed, n in ((1, n_own), (2, n_other))]
        leaves = [torch.where(m[..., None], x, junk).requires_grad_() for m, x in zip(masks, leaves, strict=True)]
        crossed = layer(layer(leaves[0], masks[0]), masks[1], leaves[1])[masks[0]]
        *by_parameter, by_own, by_other = gradients(crossed, layer, *leaves)
        assert by_own[~masks[0]].abs().sum() == 0 and by_other[~masks[1]].abs().sum() == 0
        return crossed, by_parameter, [by_own[masks[0]], by_other[masks[1]]]

    plain = outcome(3, 4, 0.0)
    for n_own, n_other, junk in ((3, 4, 1e3), (6, 6, 0.0), (6, 5, -1e3)):
        found = outcome(n_own, n_other, junk)
        assert_same([found[0], *found[1], *found[2]], [plain[0], *plain[1], *plain[2]])


def test_utterances_do_not_see_each_other() -> None:
    layer, x, c, mask = _layer(), draw(3, 4, 4, seed=1), draw(3, 5, 4, seed=2), mask_of([5, 1, 3], 5)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(layer(x[order], mask[order], c[order]), layer(x, mask, c)[order], rtol=0, atol=1e-12)


@pytest.mark.parametrize("pre_norm", [False, True])
def test_who_has_nobody_to_ask_keeps_what_it_has(pre_norm: bool) -> None:
    """Attention gives zeros then, and the gradients are finite; one step attends to itself alone."""
    layer, mask = _layer(pre_norm), mask_of([0, 1], 3)
    x, context = draw(2, 2, 4, seed=1).requires_grad_(), draw(2, 3, 4, seed=2).requires_grad_()
    assert attend(x, context, context, mask, 2)[0].abs().sum() == 0
    torch.testing.assert_close(attend(x, context, context, mask, 2)[1], context[1, :1].expand(2, 4))
    found = gradients(layer(x, mask, context), layer, x, context)
    assert all(gradient.isfinite().all() for gradient in found)
    assert found[-1][0].abs().sum() == 0


@pytest.mark.parametrize("pre_norm", [False, True])
def test_half_precision_is_finite(pre_norm: bool) -> None:
    layer = _layer(pre_norm).float()
    x, mask = draw(2, 3, 4).float().requires_grad_(), mask_of([0, 2], 3)
    with half():
        found = layer(layer(x, mask), mask, x)
    assert found.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients(found, layer, x))


def test_positions_are_sines_and_cosines() -> None:
    found = sinusoids(7, 6, torch.device("cpu")).double()
    for step in range(7):
        for i in range(3):
            angle = torch.tensor(step / 10_000 ** (2 * i / 6), dtype=torch.float64)
            torch.testing.assert_close(found[step, 2 * i], angle.sin(), rtol=0, atol=1e-6)
            torch.testing.assert_close(found[step, 2 * i + 1], angle.cos(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("pre_norm", "scale"), KINDS)
def test_the_weights_that_a_layer_tells_are_those_it_attends_with(pre_norm: bool, scale: float | None) -> None:
    """With one head, what is attended to is the weighted sum of the values; nothing falls on padding."""
    torch.manual_seed(0)
    layer = shaken(TransformerLayer(4, 1, 5, 0.0, pre_norm, scale))
    x, context, mask = draw(2, 3, 4, seed=1), draw(2, 5, 4, seed=2), mask_of([5, 2], 5)
    weights = layer.weights(x, mask, context)
    assert weights.shape == (2, 3, 5) and not weights[1, :, 2:].any()
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 3, dtype=torch.float64))
    normed = [layer.norms[0](one) if pre_norm else one for one in (x, context)]
    query, key, value = layer._projected(*normed)
    torch.testing.assert_close(weights @ value, attend(query, key, value, mask, 1, scale))
    heads = shaken(TransformerLayer(4, 2, 5, 0.0, pre_norm, scale)).weights(x, mask, context)
    torch.testing.assert_close(heads.sum(dim=-1), torch.ones(2, 3, dtype=torch.float64))
