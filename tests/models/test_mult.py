from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.batch import Batch, collate
from models.checkpoint import load
from models.networks.attention import sinusoids
from models.networks.mult import MultNetwork, PlacedTransformer
from models.students.mult import Mult
from tests.models.parity import unseen_accuracy
from tests.models.slow import (
    Vector,
    Vectors,
    assert_same,
    draw,
    gradients,
    layer_norm,
    numbers,
    plus,
    relu,
    shaken,
    tensor,
    through,
    total,
    transformer_layer,
)
from tests.models.tiny_lake import CLASSES, FIELDS, STATE_DIM, TinyLake, batch_of, fitted, order
from tests.sparing import first
from warehouse.errors import InvalidField, ShapeDiffers

SHAPES = {"audio_states": (7, STATE_DIM), "text_states": (1, 3, STATE_DIM)}
ALONE = [("audio", ("audio_states",)), ("text", ("text_states",))]


def _student(**fields: Any) -> Mult:
    return Mult(**FIELDS["mult"] | fields)


def _batch(*lengths: tuple[int, int], dim: int = STATE_DIM) -> Batch:
    """Random states of so many steps heard and read, and labels."""
    arrays = {
        role: [np.random.default_rng(pair).normal(size=(pair[i], dim)).astype(np.float32) for pair in lengths]
        for i, role in enumerate(SHAPES)
    }  # fmt: skip
    return collate([f"u{i}" for i in range(len(lengths))], arrays, {}, [i % len(CLASSES) for i in range(len(lengths))])


@pytest.mark.parametrize(("modalities", "inputs"), first(1, [("both", tuple(SHAPES)), *ALONE]))
@pytest.mark.parametrize("more", [{}, {"pooling": "last", "kernel": 3}])
def test_every_variant_is_fitted_and_read_again(
    lake: TinyLake, modalities: str, inputs: tuple[str, ...], more: dict[str, Any]
) -> None:
    fields = {"modalities": modalities} | more
    student = _student(**fields)
    assert student.inputs == inputs
    card, network = load(fitted(lake, order(lake, "mult", fields=fields, fit={"epochs": 1})).folder)
    assert card.student == student
    batch = batch_of(lake, inputs)
    with torch.inference_mode():
        together = network(batch)
        alone = torch.cat([network(batch_of(lake, inputs, ids=[one])) for one in batch.ids])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def _convolved(network: MultNetwork, role: str, rows: Vectors) -> Vectors:
    """The convolution of standardised steps: one sum per step and channel."""
    states, weight = network.states[role], network.convolutions[role].weight
    mean, scale = states.mean.flatten(), states.scale.flatten()  # type: ignore[operator]
    rows = [[(x - m) / s for x, m, s in zip(row, mean, scale, strict=True)] for row in rows]
    found = []
    for step in range(len(rows)):
        reached = [(k, step + k - 1) for k in range(3) if 0 <= step + k - 1 < len(rows)]
        channels = weight.unbind()  # type: ignore[operator]
        found.append([total([total([x * w for x, w in zip(rows[at], c[:, k], strict=True)]) for k, at in reached])
                      for c in channels])  # fmt: skip
    return found


def _placed(block: Any, rows: Vectors, context: Vectors | None = None) -> Vectors:
    """A transformer over sequences with positions; with a context, every layer asks the same one."""

    def with_positions(several: Vectors) -> Vectors:
        positions = numbers(sinusoids(len(several), len(several[0]), torch.device("cpu")).double())
        return [plus([len(a) ** 0.5 * x for x in a], p) for a, p in zip(several, positions, strict=True)]

    rows, context = with_positions(rows), with_positions(context) if context else None
    for layer in block.layers:
        rows = transformer_layer(layer, rows, context)
    return [layer_norm(row, block.norm) for row in rows]


def _slow(network: Any, audio: Vectors, text: Vectors) -> Vector:
    z = {role: _convolved(network, role, rows) for role, rows in zip(SHAPES, (audio, text), strict=True)}
    pooled: Vector = []
    for role, other in (tuple(SHAPES), tuple(SHAPES)[::-1]):
        rows = _placed(network.within[role], _placed(network.across[role], z[role], z[other]))
        mean = [total([*column]) / len(rows) for column in zip(*rows, strict=True)]
        pooled += rows[-1] if network.student.pooling == "last" else mean
    return through(network.classify)(plus(pooled, through(network.outer)(relu(through(network.inner)(pooled)))))


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_it_is_the_equations_and_so_are_its_gradients(pooling: Any) -> None:
    torch.manual_seed(0)
    network = Mult(channels=4, kernel=3, blocks=2, feed_forward=5, dropout=0.0, pooling=pooling).module(
        {"audio_states": (9, 3), "text_states": (1, 9, 2)}, ("a", "b", "c"), None
    )
    for role in SHAPES:
        network.states[role].mean += 0.3
        network.states[role].scale *= 1.7
    network = shaken(network)
    arrays = {"audio_states": draw(2, 4, 3, seed=1), "text_states": draw(2, 1, 3, 2, seed=2)}
    lengths = {"audio_states": [4, 2], "text_states": [1, 3]}
    tensors = {role: torch.tensor(own) for role, own in lengths.items()}
    found = network(Batch(("u0", "u1"), arrays, tensors, {}, torch.tensor([0, 1])))
    pairs = [
        (numbers(arrays["audio_states"][i, : lengths["audio_states"][i]]),
         numbers(arrays["text_states"][i, 0, : lengths["text_states"][i]]))
        for i in range(2)
    ]  # fmt: skip
    expected = tensor([_slow(network, *pair) for pair in pairs])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert_same(gradients(found, network), gradients(expected, network), atol=1e-8)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_it_answers_what_needs_both_modalities_and_its_unimodal_forms_do_not(seed: int) -> None:
    both, *alone = (unseen_accuracy(_student(modalities=m), seed, steps=60) for m in ("both", "audio", "text"))
    assert both > 0.9 and max(alone) < 0.7


def test_its_size_with_the_features_that_are_compared() -> None:
    """mfcc (80) and GloVe (300); Kim & Kang 2022 print no size for this row."""
    n = {modalities: _n_parameters(modalities) for modalities in ("both", "audio", "text")}
    assert n == {"both": 173_444, "audio": 42_980, "text": 50_020}


def _n_parameters(modalities: Any) -> int:
    shapes = {"audio_states": (450, 80), "text_states": (12, 300)}
    network = Mult(modalities=modalities).module(shapes, ("angry", "happy", "neutral", "sad"), None)
    return sum(parameter.numel() for parameter in network.parameters())


def test_each_stream_asks_the_other_one_as_it_was_convolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block reads the other stream's lowest level, not what its blocks made of it."""
    network = _student(blocks=2).module(SHAPES, CLASSES, None).eval()
    seen: list[tuple[PlacedTransformer, torch.Tensor, torch.Tensor | None]] = []
    forward = PlacedTransformer.forward

    def watched(self: PlacedTransformer, x: torch.Tensor, mask: torch.Tensor, context: Any = None) -> torch.Tensor:
        seen.append((self, x, context))
        return forward(self, x, mask, context)

    monkeypatch.setattr(PlacedTransformer, "forward", watched)
    network(_batch((5, 3), (2, 4)))
    crossing = {one: (x, context) for one, x, context in seen if context is not None}
    audio, text = (crossing[network.across[role]] for role in SHAPES)
    assert len(crossing) == 2 and len(seen) == 4
    assert torch.equal(audio[0], text[1]) and torch.equal(text[0], audio[1])


def test_the_last_valid_step_is_pooled() -> None:
    network = _student(pooling="last").module(SHAPES, CLASSES, None)
    x = torch.randn(3, 4, 8)
    mask = torch.tensor([[True] * 4, [True, True, False, False], [False] * 4])
    expected = torch.stack([x[0, 3], x[1, 1], torch.zeros(8)])
    assert torch.equal(network._pool(x, mask), expected)


@pytest.mark.parametrize("kernel", [1, 3])
def test_an_utterance_without_a_step_is_no_reason_to_stop(kernel: int) -> None:
    network = _student(kernel=kernel).module(SHAPES, CLASSES, None).eval()
    batch = _batch((5, 3), (0, 4), (6, 0), (0, 0))
    logits = network(batch)
    assert logits.isfinite().all()
    network.losses(batch, ["label"])["label"].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
    for i, lengths in enumerate(((5, 3), (0, 4), (6, 0), (0, 0))):
        torch.testing.assert_close(network(_batch(lengths))[0], logits[i], rtol=1e-5, atol=1e-5)


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(InvalidField, match="student 'mult': field 'kernel' is 2, but must be odd"):
        _student(kernel=2)
    with pytest.raises(InvalidField, match=r"'channels' are 9, but must be even and a multiple of heads \(3\)"):
        _student(channels=9, heads=3)
    with pytest.raises(InvalidField, match="student 'mult': field 'init' cannot be given: it begins anew"):
        _student().module(SHAPES, CLASSES, tmp_path)
    with pytest.raises(ShapeDiffers, match="steps are wanted"):
        _student().module(SHAPES | {"text_states": (7,)}, CLASSES, None)
