"""A little lake with a report, made in seconds in this process: tones of three speakers, a linear model."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from flows.line import Line
from flows.recipe import read_recipe
from flows.run import Setup
from tests.flows.wholly import Wholly
from warehouse import Warehouse, Work
from warehouse.errors import EmolakeError

RECIPE = """
name = "little"
title = "Tones"

[corpora.tones]
reader = "table"
file = "tones.csv"

[features.functionals]
extractor = "opensmile"
corpora = ["tones"]
feature_set = "eGeMAPSv02"
level = "functionals"

[features.frames]
extractor = "mfcc"
corpora = ["tones"]
n_mfcc = 13

[models.linear]
student = "linear"
corpus = "tones"
protocol = "emodb4-loso6"
inputs = { vector = "functionals" }

[report]
models = ["linear"]

[failures]
allowed = 100
"""
EMOTIONS = ("angry", "happy", "neutral", "sad")


@dataclass(frozen=True)
class Little:
    """The lake, its recipe's path and where the tones lie."""

    warehouse: Warehouse
    recipe: Path
    roots: Mapping[str, Path]

    def setup(self, **roots: Path) -> Setup:
        """Where things are; without roots of its own, where they were ingested from."""
        return Setup(self.warehouse.root, roots, "cpu", 1)


def write_little(folder: Path) -> Little:
    """Writes it."""
    tones = folder / "tones"
    tones.mkdir(parents=True)
    lines, time_s = ["path,text,speaker,label"], np.arange(12_000) / 16_000
    for speaker in range(3):
        for number, emotion in enumerate(EMOTIONS):
            pitch_hz, tremor_hz = 110 + 30 * speaker, 2 + 3 * number
            wave = np.sin(2 * np.pi * pitch_hz * time_s) * (0.6 + 0.3 * np.sin(2 * np.pi * tremor_hz * time_s))
            soundfile.write(tones / f"{speaker}-{emotion}.wav", wave.astype(np.float32), 16_000)
            lines.append(f"{speaker}-{emotion}.wav,tone {speaker} {number},s{speaker},{emotion}")
    (tones / "tones.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "little.toml").write_text(RECIPE, encoding="utf-8")
    Warehouse(folder / "lake", create=True)
    little = little_in(folder)
    Line(read_recipe(little.recipe), little.warehouse, little.roots, Wholly(little.warehouse)).run()
    return little


def little_in(folder: Path) -> Little:
    """That which was written there."""
    return Little(Warehouse(folder / "lake"), folder / "little.toml", {"tones": folder / "tones"})


def little_copy(little: Little, folder: Path) -> Little:
    """The same under another path. Artifacts are immutable, so their files are links."""
    shutil.copytree(little.warehouse.root, folder, copy_function=os.link, ignore=shutil.ignore_patterns(".*"))
    return Little(Warehouse(folder), little.recipe, little.roots)


def at_once(warehouse: Warehouse) -> Callable[[Sequence[Work], Any], Iterator[tuple[str, str]]]:
    """Makes works in this process, one after the other, and tells of those that could not be made."""
    doer = Wholly(warehouse)

    def answer(works: Sequence[Work], bar: Any) -> Iterator[tuple[str, str]]:
        for work in works:
            function = work.function or partial(doer._job, work)
            try:
                warehouse.materialize(work.request, partial(function, **work.arguments))
            except EmolakeError as error:
                yield work.request.key, str(error)

    return answer


def rewritten(path: Path, content: bytes) -> None:
    """Other content for a file that may be a link to another lake's."""
    path.unlink()
    path.write_bytes(content)


def flip(path: Path) -> None:
    """One bit of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    rewritten(path, bytes(content))
