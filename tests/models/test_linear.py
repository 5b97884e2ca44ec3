from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models.batch import Batch
from models.orders import build_student
from warehouse.errors import InvalidField, LabelsMissing, ShapeDiffers


def _batch(labels: list[int], dim: int = 4) -> Batch:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(len(labels), dim)) + np.array(labels)[:, None] * rng.normal(size=dim) * 2 + 50
    ids = tuple(f"u{i}" for i in range(len(labels)))
    return Batch(ids, {"vector": torch.tensor(x, dtype=torch.float32)}, {}, {}, torch.tensor(labels))


@pytest.mark.parametrize("labels", [[0, 1, 2] * 20, [0, 1] * 20, [0] * 30 + [1] * 8 + [2] * 4])
@pytest.mark.parametrize("balanced", [False, True])
def test_probabilities_are_those_of_scikit_learn(labels: list[int], balanced: bool) -> None:
    batch = _batch(labels)
    student = build_student("students.linear", 1, {"inverse_strength": 0.3, "balanced": balanced})
    network = student.module({"vector": (4,)}, [str(i) for i in set(labels)], None)
    network.solve([batch])
    oracle = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.3, class_weight="balanced" if balanced else None, max_iter=10_000)
    )
    x = batch.arrays["vector"].double().numpy()
    np.testing.assert_allclose(
        network(batch).softmax(-1).numpy(), oracle.fit(x, labels).predict_proba(x), rtol=0, atol=2e-4
    )


def test_a_class_without_an_utterance_has_probability_zero() -> None:
    network = build_student("students.linear", 1, {}).module({"vector": (4,)}, ["a", "b", "c", "d"], None)
    network.solve([_batch([0, 2, -100] * 10)])
    probabilities = network(_batch([0, 1, 2])).softmax(-1)
    assert probabilities[:, [1, 3]].abs().max() == 0
    assert probabilities.isfinite().all()


def test_a_dimension_that_never_changes_does_no_harm() -> None:
    batch = _batch([0, 1] * 10)
    batch.arrays["vector"][:, 1] = 1e6
    network = build_student("students.linear", 1, {}).module({"vector": (4,)}, ["a", "b"], None)
    network.solve([batch])
    assert network(batch).isfinite().all()


def test_mistakes() -> None:
    student = build_student("students.linear", 1, {})
    network = student.module({"vector": (4,)}, ["a", "b"], None)
    with pytest.raises(LabelsMissing, match=r"part 'train' of the split has 1 different labels, but 'students.linear'"):
        network.solve([_batch([0, 0, -100])])
    with pytest.raises(ShapeDiffers, match=re.escape("'vector' has shape (9, 4), but this student reads one vector")):
        student.module({"vector": (9, 4)}, ["a", "b"], None)
    with pytest.raises(InvalidField, match="field 'init' cannot be given: its one solution depends on no beginning"):
        student.module({"vector": (4,)}, ["a", "b"], Path("anywhere"))
