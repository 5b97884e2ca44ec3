"""A teacher of each fold and seed, and soft labels, through a recipe on the sandbox."""

from __future__ import annotations

import pytest

from features.sandbox import iemocap
from flows.line import Line
from flows.plan import is_done, plan
from flows.recipe import read_recipe
from models.orders import shard_roles
from models.stream import read_split, read_votes
from tests.flows.wholly import Wholly
from warehouse import Warehouse
from warehouse.audit.verify import verify
from warehouse.schema import LABELS
from warehouse.shards import ShardReader
from warehouse.tables import read_table

RECIPE = """
name = "taught"
title = "A student with a teacher"

[corpora.iemocap]
reader = "iemocap"
sessions = [1, 2, 3]

[features.mfcc]
extractor = "mfcc"
corpora = ["iemocap"]
n_mfcc = 13
n_mels = 40
hop_length = 160

[models.teacher]
student = "pooled"
modalities = "audio"
hidden = 5
corpus = "iemocap"
protocol = "sandbox4-loso5"
inputs = { audio_states = "mfcc" }
objective = { label = 1.0 }
fit = { epochs = 1, learning_rate = 1e-3, batch_frames = 8000, soft_labels = true }
seeds = [0, 1]

[models.student]
student = "pooled"
modalities = "audio"
pooling = "statistics"
corpus = "iemocap"
protocol = "sandbox4-loso5"
inputs = { audio_states = "mfcc" }
objective = { label = 0.5, logits = 1.0, features = 0.1 }
fit = { epochs = 1, learning_rate = 1e-3, batch_frames = 8000, teacher_temperature = 3.0 }
teacher = "teacher"
seeds = [1, 2]

[report]
models = ["teacher", "student"]
"""


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    folder = tmp_path_factory.mktemp("taught")
    iemocap.write(folder / "raw", [one for one in iemocap.plan(0, 0.1) if one.session < 4], 0, lambda: None)
    (folder / "taught.toml").write_text(RECIPE, encoding="utf-8")
    warehouse = Warehouse(folder / "lake", create=True)
    made = Line(read_recipe(folder / "taught.toml"), warehouse, {"iemocap": folder / "raw"}, Wholly(warehouse))
    made.run()
    return made


def test_every_fold_has_its_own_teacher_of_the_same_seed_or_its_first(line: Line) -> None:
    teachers = {(fit.fold, fit.seed): fit for fit in line.model("teacher")}
    fitted = line.model("student")
    assert {(fit.fold, fit.seed) for fit in fitted} == {(fold, seed) for fold in "123" for seed in (1, 2)}
    for fit in fitted:
        roles = shard_roles(fit.checkpoint.request)
        assert set(roles) == {"audio_states", "teacher_logits", "teacher_pooled"}
        teacher = teachers[fit.fold, {1: 1, 2: 0}[fit.seed]]
        parts = read_split(fit.split.path("split.parquet"))
        for role, width in (("teacher_logits", 4), ("teacher_pooled", 5)):
            [shard] = [line.warehouse.resolve(digest) for digest in roles[role]]
            assert shard.request.inputs["checkpoint"] == (teacher.checkpoint.digest,)
            told = ShardReader(shard.folder)
            assert set(told) == {*parts["train"], *parts["dev"]} and not set(told) & set(parts["test"])
            assert {told.shape(name) for name in told} == {(width,)}


def test_the_teacher_learned_from_nothing_that_its_student_is_tested_on(line: Line) -> None:
    heard = {fit.fold: read_split(fit.split.path("split.parquet")) for fit in line.model("teacher")}
    for fit in line.model("student"):
        tested = read_split(fit.split.path("split.parquet"))["test"]
        assert tested and not tested.keys() & (heard[fit.fold]["train"].keys() | heard[fit.fold]["dev"].keys())


def test_what_it_was_fitted_with_is_the_share_of_the_external_raters(line: Line) -> None:
    """By an oracle that goes through all labels in plain words."""
    classes = {"Anger": "angry", "Excited": "happy", "Happiness": "happy", "Neutral state": "neutral",
               "Sadness": "sad"}  # fmt: skip
    said: dict[str, dict[str, set[str]]] = {}
    for artifact in line.corpus("iemocap").labels:
        for row in read_table(artifact.path("labels.parquet"), LABELS).to_pylist():
            if row["scheme"] == "emotion" and row["rater"].startswith("E") and row["value"] in classes:
                said.setdefault(row["utterance_id"], {}).setdefault(classes[row["value"]], set()).add(row["rater"])
    torn = 0
    for fit in line.model("teacher"):
        [votes] = [line.warehouse.resolve(digest) for digest in fit.checkpoint.request.inputs["votes"]]
        parts = read_split(fit.split.path("split.parquet"))
        found = read_votes(votes.path("votes.parquet"))
        asked = {*parts["train"], *parts["dev"]}
        assert found == {
            name: {label: len(raters) for label, raters in own.items()} for name, own in said.items() if name in asked
        }
        torn += sum(len(own) > 1 for own in found.values())
    assert torn, "raters of the sandbox differ"
    assert all("votes" not in fit.checkpoint.request.inputs for fit in line.model("student"))


def test_both_end_in_the_report_and_nothing_is_left_to_do(line: Line) -> None:
    assert line.report().path("report.html").is_file()
    assert verify(line.warehouse) == []
    steps = plan(line.recipe, line.warehouse, line.roots)
    assert is_done(steps)
    names = [step.name for step in steps]
    assert {"votes for teacher", "teach student"} <= set(names)
    assert names.index("fit teacher") < names.index("teach student") < names.index("fit student")
