"""A recipe whose aligner is trained first: a step of its own, then rows under the model's digest. MFA is a stand-in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from flows.line import Line
from flows.plan import plan
from flows.recipe import read_recipe
from tests.features.mfa.stand_in import write_stand_in
from tests.flows.partly import Partly, by_name, new, waiting
from warehouse import Warehouse

RECIPE = """
name = "own"
title = "A model of our own"
[corpora.clips]
reader = "table"
file = "clips.csv"
speaker = ""
label = ""
[align.own]
aligner = "mfa"
dictionary = "DICTIONARY"
train = ["clips"]
corpora = ["clips"]
"""


def test_the_model_is_trained_once_and_cited_by_the_intervals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = write_stand_in(tmp_path / "stand_in", ["hello", "there"])
    monkeypatch.setenv("EMOLAKE_MFA", str(stand_in.command))
    root = tmp_path / "raw"
    root.mkdir()
    for number in range(2):
        soundfile.write(root / f"{number}.wav", np.random.default_rng(number).uniform(-0.1, 0.1, 16_000), 16_000)
    (root / "clips.csv").write_text("path,text\n0.wav,Hello.\n1.wav,Hello there!\n")
    (tmp_path / "own.toml").write_text(RECIPE.replace("DICTIONARY", str(stand_in.dictionary)))
    recipe, roots = read_recipe(tmp_path / "own.toml"), {"clips": root}
    lake = Warehouse(tmp_path / "lake", create=True)
    Line(recipe, lake, roots, Partly(lake, "record", "ingest")).ingest()

    planned = by_name(plan(recipe, lake, roots, "align"))
    assert new(planned) == {"train own": 2} and waiting(planned) == {"align own": "train own"}
    for _ in range(2):
        Line(recipe, lake, roots, Partly(lake, "train", "align")).align()
    assert stand_in.verbs() == ["validate", "train", "align"]
    (model,), (intervals,) = lake.artifacts("acoustic_model"), lake.artifacts("intervals")
    assert intervals.request.inputs["acoustic_model"] == (model.digest,)
    assert {row[0] for row in lake.sql("SELECT DISTINCT tier FROM intervals").fetchall()} == {
        "word", "phone", "syllable"
    }  # fmt: skip
