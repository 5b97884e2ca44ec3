from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from models.batch import collate
from models.checkpoint import load
from models.determinism import reproducible
from models.students.pooled import Pooled
from tests.models.parity import unseen_accuracy
from tests.models.tiny_lake import CLASSES, STATE_DIM, TEACHER_LAYERS, TinyLake, batch_of, fitted, order
from tests.sparing import first
from warehouse.errors import InvalidField, ShapeDiffers

SHAPES = {"audio_states": (7, STATE_DIM), "text_states": (1, 3, STATE_DIM)}


@pytest.mark.parametrize(("modalities", "inputs"), first(1, [
    ("both", ("audio_states", "text_states")), ("audio", ("audio_states",)), ("text", ("text_states",)),
]))  # fmt: skip
@pytest.mark.parametrize("more", [{}, {"pooling": "statistics", "hidden": 6, "dropout": 0.2}])
def test_every_variant_is_fitted_and_read_again(
    lake: TinyLake, modalities: str, inputs: tuple[str, ...], more: dict[str, Any]
) -> None:
    fields = {"modalities": modalities} | more
    assert Pooled(**fields).inputs == inputs
    card, network = load(fitted(lake, order(lake, "pooled", fields=fields, fit={"epochs": 1})).folder)
    assert card.student == Pooled(**fields)
    batch = batch_of(lake, inputs)
    with torch.inference_mode():
        together = network(batch)
        alone = torch.cat([network(batch_of(lake, inputs, ids=[one])) for one in batch.ids])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_a_stack_of_layers_is_one_line_too(lake: TinyLake) -> None:
    shards = {"text_states": lake.shards["teacher_hidden"]}
    request = order(lake, "pooled", fields={"modalities": "text"}, shards=shards, fit={"epochs": 3})
    _, network = load(fitted(lake, request).folder)
    weights = network.states["text_states"].layers.weights
    assert weights.shape == (TEACHER_LAYERS,) and weights.std() > 0, "they were learned"


def test_without_a_hidden_layer_it_is_a_linear_model_of_the_mean() -> None:
    """Fitted to the end it says what scikit-learn says of the standardised means."""
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=60)
    arrays = [rng.normal(size=(rng.integers(2, 9), 3)).astype(np.float32) + 2 * np.eye(3)[c] for c in labels]
    batch = collate([f"u{i}" for i in range(60)], {"audio_states": arrays}, {}, labels.tolist())
    batch.arrays["audio_states"][~batch.mask("audio_states")] = 99.0  # what stands in the padding
    with reproducible(0):
        network = Pooled(modalities="audio").module({"audio_states": (7, 3)}, CLASSES, None)
        network.prepare([batch])
        assert sum(parameter.numel() for parameter in network.parameters()) == 3 * 3 + 3
        optimizer = torch.optim.LBFGS(network.parameters(), max_iter=500, tolerance_grad=1e-7)

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            squares = sum(weight.square().sum() for weight in [network.classify.weight])
            loss: torch.Tensor = network.losses(batch, ["label"])["label"] + squares / (2 * 60)
            loss.backward()
            return loss

        optimizer.step(closure)  # type: ignore[no-untyped-call]
    steps = np.concatenate(arrays).astype(np.float64)
    means = np.stack([(array - steps.mean(0)).mean(0) / steps.std(0) for array in arrays])
    model = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(means, labels)
    found = network(batch).softmax(dim=-1).detach().numpy()
    np.testing.assert_allclose(found, model.predict_proba(means), atol=1e-3)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_hidden_layer_answers_what_needs_both_modalities(seed: int) -> None:
    """One modality cannot, and no linear layer can."""
    both = unseen_accuracy(Pooled(hidden=16), seed)
    alone = [unseen_accuracy(Pooled(modalities=m, hidden=16), seed) for m in ("audio", "text")]
    assert both > 0.9 and max(*alone, unseen_accuracy(Pooled(), seed)) < 0.7


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(InvalidField, match="student 'pooled': field 'init' cannot be given: it begins anew"):
        Pooled().module(SHAPES, CLASSES, tmp_path)
    with pytest.raises(ShapeDiffers, match="steps are wanted"):
        Pooled().module(SHAPES | {"audio_states": (7,)}, CLASSES, None)
