"""The convolution against loops over the valid steps alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.networks.convolution import MaskedConvolution
from tests.models.slow import (
    Vectors,
    assert_same,
    dot,
    draw,
    gradients,
    half,
    mask_of,
    numbers,
    plus,
    relu,
    shaken,
    tensor,
    total,
)


def _layer(kernel: int = 3, stride: int = 2) -> MaskedConvolution:
    torch.manual_seed(0)
    return shaken(MaskedConvolution(2, 3, kernel, stride))


def _convolved(layer: MaskedConvolution, x: Vectors) -> Vectors:
    """Every stride-th place of the kernel's middle, with zeros outside the utterance."""
    weight, bias = layer.convolution.weight, list(dict(layer.named_parameters())["convolution.bias"].unbind())
    kernel = weight.shape[2]
    rows = []
    for middle in range(0, len(x), layer.stride):
        places = [(k, middle + k - kernel // 2) for k in range(kernel)]
        parts = [[dot(row, x[t]) for row in numbers(weight[:, :, k])] for k, t in places if 0 <= t < len(x)]
        found = bias
        for part in parts:
            found = plus(found, part)
        rows.append(found)
    return rows


def _normalised(layer: MaskedConvolution, steps: Vectors) -> Vectors:
    columns = list(zip(*steps, strict=True))
    mean = [total(list(column)) / len(steps) for column in columns]
    variance = [total([(x - m) ** 2 for x in column]) / len(steps) for column, m in zip(columns, mean, strict=True)]
    gain, offset = layer.norm.weight.unbind(), layer.norm.bias.unbind()
    return [
        relu([g * (x - m) / torch.sqrt(v + layer.norm.eps) + o
              for x, m, v, g, o in zip(step, mean, variance, gain, offset, strict=True)])
        for step in steps
    ]  # fmt: skip


def _valid(layer: MaskedConvolution, x: Tensor, lengths: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    mask = mask_of(lengths, x.shape[1])
    found, shorter, valid = layer(x.transpose(1, 2), torch.tensor(lengths), mask)
    return found.transpose(1, 2), shorter, valid


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 2), (5, 1), (5, 2)])
def test_two_blocks_of_convolution_normalisation_and_relu(kernel: int, stride: int) -> None:
    layer, lengths = _layer(kernel, stride), [7, 1, 4]
    x = draw(3, 7, 2).requires_grad_()
    found, shorter, mask = _valid(layer, x, lengths)
    rows = [_convolved(layer, numbers(x[i, :length])) for i, length in enumerate(lengths)]
    assert shorter.tolist() == [len(row) for row in rows] == mask.sum(1).tolist()
    expected = tensor(_normalised(layer, [step for row in rows for step in row]))
    torch.testing.assert_close(found[mask], expected, rtol=1e-9, atol=1e-10)
    assert found[~mask].abs().sum() == 0
    assert_same(gradients(found[mask], layer, x), gradients(expected, layer, x), atol=1e-9)


@pytest.mark.parametrize("training", [True, False])
def test_padding_changes_nothing(training: bool) -> None:
    lengths, outcomes = [5, 2, 0], []
    for n_steps, junk in ((5, 0.0), (5, 1e3), (9, 0.0), (8, -1e3)):
        layer = _layer().train(training)
        mask = mask_of(lengths, n_steps)
        x = torch.where(mask[..., None], draw(3, 9, 2)[:, :n_steps], junk).requires_grad_()
        found, _, valid = _valid(layer, x, lengths)
        *by_parameter, by_x = gradients(found[valid], layer, x)
        assert by_x[~mask].abs().sum() == 0
        outcomes.append([found[valid], *layer.buffers(), *by_parameter, by_x[mask]])
    for outcome in outcomes[1:]:
        assert_same(outcome, outcomes[0])


@pytest.mark.parametrize(("lengths", "n_valid"), [([1], 1), ([2, 0], 1), ([0, 0], 0)])
def test_a_lone_step_is_normalised_by_what_was_seen_before(lengths: list[int], n_valid: int) -> None:
    layer, x = _layer().train(), draw(len(lengths), 2, 2).requires_grad_()
    before = [buffer.clone() for buffer in layer.buffers()]
    found, _, mask = _valid(layer, x, lengths)
    assert mask.sum() == n_valid
    torch.testing.assert_close(found, _valid(layer.eval(), x, lengths)[0])
    assert_same(list(layer.buffers()), before)
    assert all(gradient.isfinite().all() for gradient in gradients(found, layer, x))


def test_half_precision_is_finite() -> None:
    layer, x = _layer().float(), draw(2, 5, 2).float().requires_grad_()
    with half():
        found, _, _ = _valid(layer, x, [5, 1])
    assert all(gradient.isfinite().all() for gradient in gradients(found, layer, x))
