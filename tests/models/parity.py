"""A task whose answer needs both modalities: of two bits, one heard and one read, whether they differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from models.batch import Batch, collate
from models.determinism import reproducible
from models.plugin import Student

PARITY_CLASSES = ("alike", "apart")
PARITY_DIM = 6


def parity(seed: int, n: int = 96) -> Batch:
    """States of both modalities, of several lengths; each tells its bit by the sign of its first dimension's mean."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(2, size=(n, 2))
    arrays: dict[str, list[np.ndarray]] = {}
    for role, column in (("audio_states", 0), ("text_states", 1)):
        for bit in bits[:, column]:
            states = rng.normal(size=(rng.integers(3, 9), PARITY_DIM))
            states[:, 0] += 3 * (2 * bit - 1)
            arrays.setdefault(role, []).append(states.astype(np.float32))
    labels = (bits[:, 0] ^ bits[:, 1]).tolist()
    return collate([f"u{i}" for i in range(n)], arrays, {}, labels)


def unseen_accuracy(student: Student, seed: int, steps: int = 100, learning_rate: float = 0.01) -> float:
    """The share that a student tells right of utterances it was not taught, after so many steps over those it was."""
    taught, unseen = parity(seed), parity(seed + 1000)
    shapes = {role: tuple(array.shape[1:]) for role, array in taught.arrays.items()}
    with reproducible(seed):
        network: Any = student.module(shapes, PARITY_CLASSES, None)
        network.prepare([taught])
        optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
        for _ in range(steps):
            optimizer.zero_grad()
            network.losses(taught, ["label"])["label"].backward()
            optimizer.step()
        with torch.inference_mode():
            right = network.eval()(unseen).argmax(dim=-1) == unseen.labels
    return float(right.double().mean())
