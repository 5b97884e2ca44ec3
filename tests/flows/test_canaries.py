"""What a line does where a library has moved: nothing twice, nothing mixed, and a plan that claims nothing."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from features.extractors.mfcc import Mfcc
from flows.canaries import canary_list
from flows.doer import Step
from flows.line import Line
from flows.plan import is_done, plan
from flows.recipe import Recipe, read_recipe
from tests.flows.partly import Partly, by_name, new, waiting
from warehouse import Artifact, Warehouse

RECIPE = """
name = "three"
title = "Three clips"
[corpora.clips]
reader = "table"
file = "clips.csv"
[features.mfcc]
extractor = "mfcc"
corpora = ["clips"]
[features.wave]
extractor = "waveform"
corpora = ["clips"]
"""

Move = Callable[[str, float], None]


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    path = tmp_path / "three.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return read_recipe(path)


@pytest.fixture
def roots(tmp_path: Path) -> dict[str, Path]:
    root = tmp_path / "clips"
    root.mkdir()
    lines = ["path,text,speaker,label"]
    for number in range(3):
        noise = np.random.default_rng(number).uniform(-0.1, 0.1, 8_000)
        soundfile.write(root / f"{number}.wav", noise, 16_000)
        lines.append(f"{number}.wav,words,s,calm")
    (root / "clips.csv").write_text("\n".join(lines) + "\n")
    return {"clips": root}


@pytest.fixture
def move(monkeypatch: pytest.MonkeyPatch) -> Move:
    """Another version of numpy, with which coefficients are others."""
    version, row = importlib.metadata.version, Mfcc._row

    def moved(to: str, gain: float) -> None:
        def other(self: Mfcc, *arguments: Any) -> np.ndarray:
            return row(self, *arguments) * np.float32(gain)

        monkeypatch.setattr(importlib.metadata, "version", lambda name: to if name == "numpy" else version(name))
        monkeypatch.setattr(Mfcc, "_row", other)

    moved("1.0", 1.0)
    return moved


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


def extracted(recipe: Recipe, lake: Warehouse, roots: dict[str, Path]) -> dict[str, Step]:
    doer = Partly(lake, "")
    Line(recipe, lake, roots, doer).extract()
    return by_name(doer.steps)


def planned(recipe: Recipe, lake: Warehouse, roots: dict[str, Path]) -> dict[str, Step]:
    return by_name(plan(recipe, lake, roots, "extract"))


def test_the_first_canary_runs_before_its_feature_and_counts_no_row(
    recipe: Recipe, lake: Warehouse, roots: dict[str, Path], move: Move
) -> None:
    Line(recipe, lake, roots, Partly(lake, "record", "ingest")).ingest()
    steps = planned(recipe, lake, roots)
    assert steps["canary mfcc"].remark == "to be run" and len(steps["canary mfcc"].works) == 1
    assert waiting(steps) == {} and new(steps) == {"extract mfcc": 3, "extract wave": 3}, "it will change no namespace"
    assert list(steps).index("canary mfcc") + 1 == list(steps).index("extract mfcc")
    extracted(recipe, lake, roots)
    steps = planned(recipe, lake, roots)
    assert is_done(list(steps.values())) and sum(step.n_new for step in steps.values()) == 0
    assert steps["canary mfcc"].remark == "" and steps["canary mfcc"].n_rows == 0
    assert len(lake.artifacts("canary")) == 2


def test_a_library_that_moves_without_drift_keeps_every_row(
    recipe: Recipe, lake: Warehouse, roots: dict[str, Path], move: Move
) -> None:
    extracted(recipe, lake, roots)
    before = [a.key for a in lake.artifacts("features")]
    move("2.0", 1.000_01)
    steps = planned(recipe, lake, roots)
    assert not is_done(list(steps.values()))
    assert steps["canary mfcc"].remark == "to be run: numpy 1.0 → 2.0"
    assert waiting(steps) == {"extract mfcc": "canary mfcc", "extract wave": "canary wave"}, "no row is claimed"
    steps = extracted(recipe, lake, roots)
    assert new(steps) == {} and steps["canary mfcc"].remark == ""
    assert [a.key for a in lake.artifacts("features")] == before
    assert is_done(list(planned(recipe, lake, roots).values()))


def test_drift_forks_and_old_and_new_rows_never_mix(
    recipe: Recipe, lake: Warehouse, roots: dict[str, Path], move: Move
) -> None:
    extracted(recipe, lake, roots)
    old, ref = rows(lake), lake.ref("features/mfcc")
    move("2.0", 1.5)
    steps = extracted(recipe, lake, roots)
    told = steps["canary mfcc"].remark
    assert re.fullmatch(
        r"numpy 1\.0 → 2\.0 moved 'frames' \(mfcc_\d+, clip '\w+'\) by 0\.5 of its scale \(0\.0001 is allowed\): "
        "its rows are kept apart from those made before", told
    )  # fmt: skip
    fresh = rows(lake)
    assert fresh.keys() == old.keys() and not set(fresh.values()) & set(old.values()), "the view has the fork's alone"
    now = lake.ref("features/mfcc")
    assert ref is not None and now is not None and now["plugin_key"] != ref["plugin_key"]
    assert steps["canary wave"].remark == "" and len(lake.artifacts("features")) == 3, "the waves stayed"

    steps = planned(recipe, lake, roots)
    assert is_done(list(steps.values())) and steps["canary mfcc"].remark == told
    move("1.0", 1.0)
    assert new(extracted(recipe, lake, roots)) == {} and rows(lake) == old and lake.ref("features/mfcc") == ref


def rows(lake: Warehouse) -> dict[str, str]:
    return dict(lake.sql("SELECT input_id, artifact FROM features_mfcc").fetchall())


def test_a_pack_of_a_fork_reads_the_forks_rows(
    recipe: Recipe, lake: Warehouse, roots: dict[str, Path], move: Move
) -> None:
    def packed() -> Artifact:
        line = Line(recipe, lake, roots, Partly(lake, ""))
        (shard,) = line._packed_of("clips", "mfcc", None).shards
        return shard

    first = packed()
    move("2.0", 1.5)
    second = packed()
    assert first.request.params["members"] == second.request.params["members"]
    assert first.digest != second.digest and first.request.inputs != second.request.inputs
    assert "canary" in second.request.params["source"]["plugin"]
    move("1.0", 1.0)
    assert packed().key == first.key


def test_the_history_tells_each_environment_drift_and_namespace(
    recipe: Recipe, lake: Warehouse, roots: dict[str, Path], move: Move
) -> None:
    for version, gain in (("1.0", 1.0), ("1.1", 1.0), ("2.0", 1.5), ("2.1", 1.500_01)):
        move(version, gain)
        extracted(recipe, lake, roots)
    history = [row for row in canary_list(lake) if row["step"] == "extractors.mfcc"]
    assert [row["namespace"] for row in history[:2]] == ["first", "same"]
    fork = history[2]["namespace"]
    assert len(fork) == 12 and history[3]["namespace"] == fork
    assert [row["moved"] for row in history] == ["", *(f"numpy 1.0 → {version}" for version in ("1.1", "2.0", "2.1"))]
    assert [row["drift"] for row in history] == pytest.approx([0, 0, 0.5, 0.50001], abs=1e-5)
    assert "numpy 2.1" in history[3]["environment"] and "device cpu" in history[3]["environment"]
    assert [row["name"] for row in history] == ["", "", "mfcc", "mfcc"], "a recipe's name is that of what it uses now"
