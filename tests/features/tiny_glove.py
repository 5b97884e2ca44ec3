"""A text file of word vectors as large as a test needs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

WORDS = "you are so happy today I am sad The train leaves at seven as usual angry Oh"


def write_glove(folder: Path, dim: int = 5) -> Path:
    """Writes a vector for each of WORDS, always the same; returns the folder."""
    table = np.random.default_rng(0).normal(size=(len(WORDS.split()), dim)).round(4)
    lines = (" ".join([word, *map(str, row)]) for word, row in zip(WORDS.split(), table.tolist(), strict=True))
    (folder / "vectors.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder
