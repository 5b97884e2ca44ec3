"""Tasks whose answer needs both modalities: of two bits, one heard and one read, whether they differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.batch import Batch, collate
from models.determinism import reproducible
from models.plugin import Student

PARITY_CLASSES = ("alike", "apart")
PARITY_DIM = 6
MARKS = ("lost", "won")
FILLERS = ("how", "you", "me", "out", "there", "it", "now", "what", "a", "day")
"""Words that the encoder of text in `tiny_lake` knows."""


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


def tone_and_word(seed: int, n: int = 96) -> Batch:
    """The same for encoders that are inside: how high a tone is, and which of two words stands among others."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(2, size=(n, 2))
    waves, texts = [], []
    for high, mark in bits:
        time_s = np.arange(rng.integers(800, 1600)) / 16_000
        tone = 0.5 * np.sin(2 * np.pi * (3600 if high else 400) * time_s)
        waves.append((tone + 0.02 * rng.normal(size=len(time_s)))[:, None])
        words = [str(word) for word in rng.choice(FILLERS, size=rng.integers(1, 4))]
        words.insert(int(rng.integers(len(words) + 1)), MARKS[mark])
        texts.append(" ".join(words))
    return collate([f"u{i}" for i in range(n)], {"wave": waves}, {"text": texts}, (bits[:, 0] ^ bits[:, 1]).tolist())


def unseen_accuracy(
    student: Student, seed: int, steps: int = 100, learning_rate: float = 0.01, n: int = 96,
    task: Callable[[int, int], Batch] = parity, encoders: Mapping[str, Path] | None = None,
) -> float:  # fmt: skip
    """The share that a student tells right of 96 utterances it was not taught, after so many steps over n it was."""
    taught, unseen = task(seed, n), task(seed + 1000, 96)
    shapes = {role: tuple(array.shape[1:]) for role, array in taught.arrays.items()} | dict.fromkeys(taught.texts, ())
    with reproducible(seed):
        placed: Any = {"encoders": encoders} if encoders else {}
        network: Any = student.module(shapes, PARITY_CLASSES, None, **placed)
        if hasattr(network, "audio_encoder"):
            remember_frames(network)
        network.train().prepare([taught])
        optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=learning_rate)
        for _ in range(steps):
            optimizer.zero_grad()
            network.losses(taught, ["label"])["label"].backward()
            optimizer.step()
        with torch.inference_mode():
            right = network.eval()(unseen).argmax(dim=-1) == unseen.labels
    return float(right.double().mean())


def remember_frames(network: Any) -> None:
    """What the convolutions of a network's encoder of sound, which do not learn, make of a clip is computed once."""
    front, known = network.audio_encoder.front, dict[bytes, Tensor]()
    convolved = front._convolved

    def remembered(clip: Tensor) -> Tensor:
        key = clip.numpy().tobytes()
        if key not in known:
            known[key] = convolved(clip).detach()
        return known[key]

    front._convolved = remembered
