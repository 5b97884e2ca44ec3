"""The shipped recipe of multi-level fusion, all its rows, on a few utterances of the sandbox through tiny networks."""

from __future__ import annotations

import re

import numpy as np
import pytest

from features.sandbox import iemocap
from flows.line import Line
from flows.recipe import read_recipe, recipe_path
from models import checkpoint
from models.students.multilevel import Multilevel
from tests.features.tiny_bert import write_bert
from tests.features.tiny_speech import write_speech_encoder
from tests.flows.wholly import Wholly
from warehouse import Artifact, Warehouse
from warehouse.lineage import verify
from warehouse.schema import PREDICTIONS
from warehouse.shards import ShardReader
from warehouse.tables import read_table

pytestmark = pytest.mark.slow

PROTOCOL = """
id = "three"
title = "A session to learn from, one to choose on, one to test on"
reader = "iemocap"
test = "session = '1'"
dev = "session = '2'"
metrics = ["uar"]
labels = { ang = "angry", exc = "happy", hap = "happy", neu = "neutral", sad = "sad" }
"""
SMALL = "hidden = 8\nwidth = 16\nlayers = 1\nheads = 2\nfeed_forward = 8\n"


def small(text: str) -> str:
    """The shipped recipe with one fit of one epoch per row, small layers and the protocol above."""
    text = text.replace('"iemocap4-loso5:dev=random10"', '"three.toml"')
    text = text.replace("seeds = [0, 1, 2, 3, 4]", "seeds = [0]")
    text = text.replace('reader = "iemocap"', 'reader = "iemocap"\nsessions = [1, 2, 3]')
    text = re.sub(r"\nlayers = \[.*\]", "\nlayers = [1, 2]", text)
    text = text.replace('student = "multilevel"\n', f'student = "multilevel"\n{SMALL}')
    return re.sub(r"epochs = \d+", "epochs = 1", text)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    folder = tmp_path_factory.mktemp("multilevel")
    iemocap.write(folder / "raw", [one for one in iemocap.plan(0, 0.1) if one.session < 4], 0, lambda: None)
    (folder / "multilevel.toml").write_text(small(recipe_path("multilevel").read_text(encoding="utf-8")), "utf-8")
    (folder / "three.toml").write_text(PROTOCOL, encoding="utf-8")
    recipe = read_recipe(folder / "multilevel.toml")
    roots = {"iemocap": folder / "raw"} | {f"checkpoints/{name}": folder / name for name in recipe.checkpoints}
    write_speech_encoder(folder / "wav2vec2", "wav2vec2")
    write_bert(folder / "bert", "BertModel")
    warehouse = Warehouse(folder / "lake", create=True)
    made = Line(recipe, warehouse, roots, Wholly(warehouse))
    made.run()
    return made


def arrays(shards: list[Artifact]) -> dict[str, np.ndarray]:
    readers = [ShardReader(shard.folder) for shard in shards]
    return {name: reader.array(name) for reader in readers for name in reader}


def test_every_row_ends_in_the_report_and_all_are_tested_on_the_same_utterances(line: Line) -> None:
    assert line.recipe.report is not None and set(line.recipe.report.models) == set(line.recipe.models)
    tested = set()
    for name in line.recipe.report.models:
        [(_, predicted)] = line.predictions(name)
        rows = read_table(predicted.path("predictions.parquet"), PREDICTIONS).to_pylist()
        tested.add(tuple(row["utterance_id"] for row in rows if row["part"] == "test"))
    assert len(tested) == 1 and len(tested.pop()) > 5
    assert line.report().path("report.html").is_file()
    assert verify(line.warehouse) == []


def test_a_row_is_called_what_it_is_and_reads_two_layers_of_each_role(line: Line) -> None:
    letters = {"frame": "f", "phone": "p", "syllable": "s", "word": "w"}
    for name in line.recipe.models:
        [fitted] = line.model(name)
        card = checkpoint.read_card(fitted.checkpoint.folder)
        student = card.student
        assert isinstance(student, Multilevel)
        first = "".join(letters[one] for one in student.granularities)
        alone = "_".join([*student.granularities, *(["text"] if student.text else []), student.fusion])
        assert name in (f"{student.fusion}_{first}", alone)
        assert card.shapes.keys() == set(student.inputs)
        assert all(len(shape) == 3 and (shape[0], shape[2]) == (2, 16) for shape in card.shapes.values())


def test_segments_are_means_of_the_frames_they_lie_in(line: Line) -> None:
    shards = {role: arrays(own) for role, own in line.shards("late_fpsw").items()}
    for name, frames in shards["frames"].items():
        n_words, n_syllables, n_phones = (shards[role][name].shape[1] for role in ("words", "syllables", "phones"))
        assert 0 < n_words <= n_syllables <= n_phones <= frames.shape[1]
        low, high = frames.min(axis=1, keepdims=True), frames.max(axis=1, keepdims=True)
        for role in ("phones", "syllables", "words"):
            means = shards[role][name]
            assert (low - 1e-3 <= means).all() and (means <= high + 1e-3).all()
