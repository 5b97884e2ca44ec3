"""A student with pretrained encoders inside, from a recipe's checkpoints to predictions of a job of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from flows.line import Line
from flows.recipe import Recipe, read_recipe
from flows.workers import workers
from models.checkpoint import read_card
from tests.features.tiny_bert import write_bert
from tests.features.tiny_speech import write_speech_encoder
from tests.flows.partly import Partly
from tests.flows.test_retelling import PROTOCOL, write_clips
from tests.flows.wholly import Wholly
from warehouse import Artifact, Warehouse, Work
from warehouse.audit.lineage import up
from warehouse.audit.verify import verify
from warehouse.errors import InvalidField

RECIPE = """
name = "inside"
title = "Encoders inside a student"

[corpora.clips]
reader = "table"
file = "clips.csv"
session = "session"

[checkpoints.w2v]
folder = "w2v"
licence = "Apache-2.0"

[checkpoints.bert]
folder = "bert"
licence = "Apache-2.0"

[features.wave]
extractor = "waveform"
corpora = ["clips"]

[models.crossed]
student = "cross_attention"
corpus = "clips"
protocol = "two.toml"
inputs = { wave = "wave", text = "text" }
encoders = { audio = "w2v", text = "bert" }
channels = 8
lstm = 4
heads = 2
feed_forward = 8
objective = { label = 1.0 }
fit = { epochs = 1, learning_rate = 1e-3, batch_frames = 16_000 }
"""


class Fitting(Partly):
    """Makes the steps before the fits in this process, and the fits and predictions by jobs."""

    def step(self, name: str, works: Sequence[Work], n_rows: int | None = None) -> list[Artifact]:
        if name.startswith(("fit ", "predict ")):
            with workers(self.warehouse.root, 1, "cpu") as pool:
                for batch in pool.batches(works):
                    pool.answer(batch, lambda done, total, note: None)
        return super().step(name, works, n_rows)


def _recipe(folder: Path, old: str = "", new: str = "") -> Recipe:
    assert old in RECIPE
    (folder / "inside.toml").write_text(RECIPE.replace(old, new, 1) if old else RECIPE, encoding="utf-8")
    (folder / "two.toml").write_text(PROTOCOL.replace('folds = "session"\n', "").replace("$fold", "'1'").replace(
        'dev = "session = $next"\n', ""), encoding="utf-8")  # fmt: skip
    return read_recipe(folder / "inside.toml")


@pytest.mark.slow
def test_a_job_finds_the_recorded_encoders_and_predicts_without_them(tmp_path: Path) -> None:
    write_clips(tmp_path / "clips")
    places = {"w2v": write_speech_encoder(tmp_path / "w2v", "wav2vec2"), "bert": write_bert(tmp_path / "bert")}
    roots = {"clips": tmp_path / "clips"} | {f"checkpoints/{name}": folder for name, folder in places.items()}
    warehouse = Warehouse(tmp_path / "lake", create=True)
    steps = ("record", "ingest", "canary", "weights", "extract", "pack", "split")
    line = Line(_recipe(tmp_path), warehouse, roots, Fitting(warehouse, *steps))
    [(fitted, predicted)] = line.predictions("crossed")
    inputs = fitted.checkpoint.request.inputs
    assert inputs["encoder:audio"] == (line.weights("w2v").digest,)
    assert inputs["encoder:text"] == (line.weights("bert").digest,)
    assert {"encoders/audio/config.json", "encoders/text/tokenizer.json"} <= fitted.checkpoint.files.keys()
    assert "encoder:audio" not in predicted.request.inputs
    placed = [node.artifact for node in up(warehouse, predicted).walk() if node.artifact.request.kind == "weights"]
    assert {a.digest for a in placed} == {line.weights(name).digest for name in places}
    assert verify(warehouse) == []


TOLD = """
[models.told]
student = "text_encoder"
task = "classify"
corpus = "clips"
protocol = "two.toml"
init = "bert"
inputs = { text = "text" }
objective = { label = 1.0 }
fit = { epochs = 1, learning_rate = 1e-3, batch_frames = 16 }
"""


@pytest.mark.parametrize("by_job", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_fit_begins_with_a_network_that_somebody_placed(tmp_path: Path, by_job: bool) -> None:
    write_clips(tmp_path / "clips")
    roots = {"clips": tmp_path / "clips", "checkpoints/bert": write_bert(tmp_path / "bert", "BertForMaskedLM")}
    warehouse = Warehouse(tmp_path / "lake", create=True)
    recipe = _recipe(tmp_path, "[models.crossed]", f"{TOLD}\n[models.crossed]")
    fitting = Fitting(warehouse, "record", "ingest", "weights", "pack", "split") if by_job else Wholly(warehouse)
    line = Line(recipe, warehouse, roots, fitting)
    [fitted] = line.model("told")
    assert fitted.checkpoint.request.inputs["init"] == (line.weights("bert").digest,)
    fresh = read_card(fitted.checkpoint.folder).fresh
    assert fresh and all(name.startswith(("classifier.", "bert.pooler.")) for name in fresh)


def test_only_what_begins_with_others_networks_may_name_one(tmp_path: Path) -> None:
    problem = r"'models\.crossed\.init' names the checkpoint 'bert', but 'cross_attention' starts from a model of the"
    with pytest.raises(InvalidField, match=problem):
        _recipe(tmp_path, "[models.crossed]", '[models.crossed]\ninit = "bert"')


@pytest.mark.parametrize(("old", "new", "problem"), [
    ('text = "bert" }', 'text = "bart" }', r"names 'bart', which is no checkpoint of the recipe \(there are: bert"),
    (', text = "bert" }', " }", "must say which checkpoint of the recipe is the student's 'text'"),
    ('text = "bert" }', 'text = "bert", smell = "bert" }', "slot 'smell', but 'cross_attention' as it is set has a"),
    ('student = "cross_attention"', 'student = "cross_attention"\ntrained = false', "as it is set has none"),
])  # fmt: skip
def test_slots_that_nothing_fills(tmp_path: Path, old: str, new: str, problem: str) -> None:
    with pytest.raises(InvalidField, match=r"'models\.crossed\.encoders' .*" + problem):
        _recipe(tmp_path, old, new)
