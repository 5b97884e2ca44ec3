"""The LSTM against its equations, one step and one direction at a time."""

from __future__ import annotations

import torch

from models.networks.recurrent import MaskedBiLstm
from tests.models.slow import (
    Vector,
    Vectors,
    assert_same,
    draw,
    gradients,
    half,
    linear,
    mask_of,
    numbers,
    plus,
    shaken,
)
from tests.models.slow import tensor as of

LENGTHS = [4, 1, 3]


def _sigmoid(a: Vector) -> Vector:
    return [1 / (1 + torch.exp(-x)) for x in a]


def _run(lstm: torch.nn.LSTM, suffix: str, x: Vectors, hidden: int) -> Vectors:
    zero = x[0][0] * 0
    h, c = [zero] * hidden, [zero] * hidden
    rows = []
    for step in x:
        given = linear(step, getattr(lstm, f"weight_ih_l0{suffix}"), getattr(lstm, f"bias_ih_l0{suffix}"))
        kept = linear(h, getattr(lstm, f"weight_hh_l0{suffix}"), getattr(lstm, f"bias_hh_l0{suffix}"))
        i, f, g, o = (plus(given, kept)[k * hidden : (k + 1) * hidden] for k in range(4))
        i, f, g, o = _sigmoid(i), _sigmoid(f), [torch.tanh(v) for v in g], _sigmoid(o)
        c = [fj * cj + ij * gj for fj, cj, ij, gj in zip(f, c, i, g, strict=True)]
        h = [oj * torch.tanh(cj) for oj, cj in zip(o, c, strict=True)]
        rows.append(h)
    return rows


def test_both_directions_are_the_equations() -> None:
    torch.manual_seed(0)
    layer = shaken(MaskedBiLstm(3, 2))
    x, mask = draw(3, 4, 3).requires_grad_(), mask_of(LENGTHS, 4)
    found = layer(x, torch.tensor(LENGTHS))
    rows: Vectors = []
    for i, length in enumerate(LENGTHS):
        steps = numbers(x[i, :length])
        forwards, backwards = _run(layer.lstm, "", steps, 2), _run(layer.lstm, "_reverse", steps[::-1], 2)
        rows += [a + b for a, b in zip(forwards, backwards[::-1], strict=True)]
    expected = of(rows)
    torch.testing.assert_close(found[mask], expected, rtol=1e-9, atol=1e-11)
    assert_same(gradients(found[mask], layer, x), gradients(expected, layer, x))


def test_padding_changes_nothing_and_becomes_zeros() -> None:
    torch.manual_seed(0)
    layer = shaken(MaskedBiLstm(3, 2))
    outcomes = []
    for n_steps, junk in ((4, 0.0), (4, 1e3), (7, 0.0), (6, torch.nan)):
        mask = mask_of([*LENGTHS, 0], n_steps)
        mask_or_first = mask | mask_of([0, 0, 0, 1], n_steps)  # the first step of an empty row is read, not shown
        x = torch.where(mask_or_first[..., None], draw(4, 7, 3)[:, :n_steps], junk).requires_grad_()
        found = layer(x, torch.tensor([*LENGTHS, 0]))
        assert found.shape == (4, n_steps, 4) and found[~mask].abs().sum() == 0
        *by_parameter, by_x = gradients(found[mask], layer, x)
        assert by_x[~mask].abs().sum() == 0
        outcomes.append([found[mask], *by_parameter, by_x[mask]])
    for outcome in outcomes[1:]:
        assert_same(outcome, outcomes[0])


def test_half_precision_is_finite() -> None:
    layer, x = MaskedBiLstm(3, 2), draw(3, 4, 3).float().requires_grad_()
    with half():
        found = layer(x, torch.tensor([4, 1, 0]))
    assert all(gradient.isfinite().all() for gradient in gradients(found, layer, x))
