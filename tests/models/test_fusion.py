"""Each form of fusion against the loops of `slow`."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from models.networks.fusion import AcousticGate, CoAttention, MultimodalInteraction, ResidualFusion
from tests.models.slow import (
    Vectors,
    assert_same,
    draw,
    gradients,
    half,
    layer_norm,
    mask_of,
    numbers,
    plus,
    relu,
    shaken,
    tensor,
    through,
    transformer_layer,
)

AUDIO, TEXT = [5, 2, 1], [1, 3, 2]


def _streams(n_audio: int = 5, n_text: int = 3, junk: float = 0.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    masks = mask_of(AUDIO, n_audio), mask_of(TEXT, n_text)
    audio, text = draw(3, 9, 4, seed=1)[:, :n_audio], draw(3, 9, 4, seed=2)[:, :n_text]
    audio, text = (
        torch.where(m[..., None], x, junk).requires_grad_() for m, x in zip(masks, (audio, text), strict=True)
    )
    return audio, masks[0], text, masks[1]


def _gated(gate: nn.Linear, r: Vectors, q: Vectors) -> Vectors:
    """Eq. 2 of Ghosh et al. 2023."""
    rows = []
    for a, b in zip(r, q, strict=True):
        g = [1 / (1 + torch.exp(-x)) for x in through(gate)(a + b)]
        rows.append([x * y for x, y in zip(g, b, strict=True)])
    return rows


def test_co_attention_is_two_layers_that_read_what_was_there_before() -> None:
    torch.manual_seed(0)
    layers = shaken(nn.ModuleList([CoAttention(4, 2, 5, 0.0) for _ in range(2)]))
    audio, audio_mask, text, text_mask = _streams()
    a, t = audio, text
    for layer in layers:
        a, t = layer(a, audio_mask, t, text_mask)
    rows: Vectors = []
    for i in range(3):
        x, y = numbers(audio[i, : AUDIO[i]]), numbers(text[i, : TEXT[i]])
        for layer in layers:
            x, y = transformer_layer(layer.branches[0], x, y), transformer_layer(layer.branches[1], y, x)
        rows += x + y
    found = torch.cat([torch.cat([a[i, : AUDIO[i]], t[i, : TEXT[i]]]) for i in range(3)])
    expected = tensor(rows)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)
    assert_same(gradients(found, layers, audio, text), gradients(expected, layers, audio, text), atol=1e-9)


def test_the_gate_is_equation_2() -> None:
    gate, r, q = shaken(AcousticGate(4)), draw(2, 3, 4, seed=1), draw(2, 3, 4, seed=2)
    found = gate(r, q)
    for i in range(2):
        expected = tensor(_gated(gate.gate, numbers(r[i]), numbers(q[i])))
        torch.testing.assert_close(found[i], expected, rtol=1e-10, atol=1e-12)
    with torch.no_grad():
        gate.gate.bias += 100
    torch.testing.assert_close(gate(r, q), q)  # an open gate lets all pass


def test_the_interaction_is_what_section_3_2_2_says() -> None:
    torch.manual_seed(0)
    module = shaken(MultimodalInteraction(4, 2, 5, 0.0))
    audio, audio_mask, text, text_mask = _streams()
    found = module(audio, audio_mask, text, text_mask)
    assert found.shape == text.shape
    rows: Vectors = []
    for i in range(3):
        a, t = numbers(audio[i, : AUDIO[i]]), numbers(text[i, : TEXT[i]])
        p = transformer_layer(module.b, a, t)
        r = transformer_layer(module.c, t, p)
        q = _gated(module.e.gate, r, transformer_layer(module.d, t, a))
        rows += [through(module.project)(y + x) for x, y in zip(r, q, strict=True)]
    expected = tensor(rows)
    torch.testing.assert_close(found[text_mask], expected, rtol=1e-8, atol=1e-9)
    by_module, by_loops = (gradients(value, module, audio, text) for value in (found[text_mask], expected))
    assert_same(by_module, by_loops, atol=1e-9)


def test_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    module, layer = shaken(MultimodalInteraction(4, 2, 5, 0.0)), shaken(CoAttention(4, 2, 5, 0.0))
    outcomes = []
    for n_audio, n_text, junk in ((5, 3, 0.0), (5, 3, 1e3), (9, 7, 0.0), (6, 9, -1e3)):
        audio, audio_mask, text, text_mask = _streams(n_audio, n_text, junk)
        a, t = layer(audio, audio_mask, text, text_mask)
        found = module(a, audio_mask, t, text_mask)[text_mask]
        *by_parameter, by_audio, by_text = gradients(found, module, audio, text)
        assert by_audio[~audio_mask].abs().sum() == 0 and by_text[~text_mask].abs().sum() == 0
        outcomes.append([found, *by_parameter, by_audio[audio_mask], by_text[text_mask]])
    for outcome in outcomes[1:]:
        assert_same(outcome, outcomes[0])


def test_residual_fusion_is_equation_4() -> None:
    module, c = shaken(ResidualFusion(4)), draw(3, 4).requires_grad_()
    rows = [plus(relu(through(module.linear)(row)), row) for row in numbers(c)]
    expected = tensor([layer_norm(row, module.norm) for row in rows])
    found = module(c)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    assert_same(gradients(found, module, c), gradients(expected, module, c))


@pytest.mark.parametrize(("audio_length", "text_length"), [(0, 2), (2, 0), (0, 0)])
def test_a_stream_without_a_step_leaves_numbers_finite(audio_length: int, text_length: int) -> None:
    torch.manual_seed(0)
    module = MultimodalInteraction(4, 2, 5, 0.0)
    audio, text = draw(1, 3, 4, seed=1).float().requires_grad_(), draw(1, 2, 4, seed=2).float().requires_grad_()
    with half():
        found = module(audio, mask_of([audio_length], 3), text, mask_of([text_length], 2))
    assert found.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients(found, module, audio, text))
