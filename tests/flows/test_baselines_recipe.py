"""The shipped baselines, all rows of them, on a few utterances of the sandbox and through tiny networks."""

from __future__ import annotations

import re

import pytest

from features.sandbox import iemocap
from flows.line import Line
from flows.recipe import read_recipe, recipe_path
from models import checkpoint
from tests.features.tiny_bert import write_bert
from tests.features.tiny_glove import write_glove
from tests.features.tiny_speech import write_speech_encoder
from tests.features.tiny_text import write_text_encoder
from tests.flows.wholly import Wholly
from warehouse import Warehouse
from warehouse.audit.verify import verify
from warehouse.schema import PREDICTIONS
from warehouse.tables import read_table

pytestmark = pytest.mark.slow

PROTOCOL = """
id = "three"
title = "A session to learn from, one to choose on, one to test on"
reader = "iemocap"
test = "session = '1'"
dev = "session = '2'"
metrics = ["uar", "accuracy"]
labels = { ang = "angry", exc = "happy", hap = "happy", neu = "neutral", sad = "sad" }
"""


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    folder = tmp_path_factory.mktemp("baselines")
    iemocap.write(folder / "raw", [one for one in iemocap.plan(0, 0.1) if one.session < 4], 0, lambda: None)
    text = recipe_path("baselines").read_text(encoding="utf-8").replace('"iemocap4-loso5"', '"three.toml"')
    text = text.replace('reader = "iemocap"', 'reader = "iemocap"\nsessions = [1, 2, 3]')
    text = re.sub(r"epochs = \d+", "epochs = 1", text.replace("layers = [12]", "layers = [2]"))
    (folder / "baselines.toml").write_text(text, encoding="utf-8")
    (folder / "three.toml").write_text(PROTOCOL, encoding="utf-8")
    recipe = read_recipe(folder / "baselines.toml")
    roots = {"iemocap": folder / "raw"} | {f"checkpoints/{name}": folder / name for name in recipe.checkpoints}
    (folder / "glove").mkdir()
    write_glove(folder / "glove")
    for name in ("wav2vec2", "wavlm", "hubert"):
        write_speech_encoder(folder / name, name)
    write_bert(folder / "bert", "BertModel")
    write_text_encoder(folder / "roberta", "roberta", "Model")
    warehouse = Warehouse(folder / "lake", create=True)
    made = Line(recipe, warehouse, roots, Wholly(warehouse))
    made.run()
    return made


def test_every_row_ends_in_the_report(line: Line) -> None:
    assert line.recipe.report is not None and set(line.recipe.report.models) == set(line.recipe.models)
    for name in line.recipe.report.models:
        [(_, predicted)] = line.predictions(name)
        rows = read_table(predicted.path("predictions.parquet"), PREDICTIONS).to_pylist()
        assert len(rows) > 10 and {row["part"] for row in rows} == {"dev", "test"}
    assert line.report().path("report.html").is_file()
    assert verify(line.warehouse) == []


def test_a_probe_reads_all_layers_and_the_others_one(line: Line) -> None:
    n_layers = {}
    for name in line.recipe.models:
        [fitted] = line.model(name)
        shapes = checkpoint.read_card(fitted.checkpoint.folder).shapes
        n_layers[name] = {role: shape[0] if len(shape) == 3 else None for role, shape in shapes.items()}
    assert n_layers["mult_wav2vec2_bert"] == {"audio_states": 1, "text_states": 1}
    assert n_layers["mult_mfcc_glove"] == {"audio_states": None, "text_states": None}
    assert n_layers["probe_wav2vec2"] == n_layers["probe_wavlm"] == n_layers["probe_hubert"] == {"audio_states": 3}
    assert n_layers["probe_bert"] == {"text_states": 4} and n_layers["probe_roberta"]["text_states"] > 1
