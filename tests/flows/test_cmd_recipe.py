"""The shipped recipe of CMD, with all its rows, on a few utterances of the sandbox and through tiny networks."""

from __future__ import annotations

import json
import re

import pytest

from features.sandbox import iemocap
from flows.line import Line
from flows.recipe import RECIPES, read_recipe
from tests.features.tiny_bert import write_bert
from tests.features.tiny_glove import write_glove
from tests.features.tiny_recogniser import write_recogniser
from tests.features.tiny_speech import write_speech_encoder
from tests.flows.wholly import Wholly
from warehouse import Warehouse
from warehouse.lineage import up, verify
from warehouse.schema import PREDICTIONS
from warehouse.tables import read_table

pytestmark = pytest.mark.slow

PROTOCOL = """
id = "one"
title = "A random split, as the paper's"
reader = "iemocap"
scheme = "emotion"
rater = "summary"
test = "drawn < 0.2"
dev = "drawn < 0.25"
metrics = ["macro_f1", "uar"]
labels = { ang = "angry", exc = "happy", fru = "angry", hap = "happy", neu = "neutral", sad = "sad" }
"""
SMALL = "blocks = 1\nchannels = 8\nfeed_forward = 16\n"


def small(text: str) -> str:
    """The shipped recipe with one epoch, one seed, small layers and the protocol above."""
    text = text.replace('"iemocap4-cmd-a"', '"one.toml"').replace("layers = [12]", "layers = [LAST]")
    text = text.replace("LAST", "2", 1).replace("LAST", "3")  # of the tiny wav2vec 2.0 and of the tiny BERT
    text = text.replace('reader = "iemocap"', 'reader = "iemocap"\nsessions = [1, 2]')
    text = re.sub(r'(student = "(cmd|mult)"\n)', rf"\g<1>{SMALL}", text)
    return re.sub(r"seeds = \[.*\]\n", "", re.sub(r"epochs = \d+", "epochs = 1", text))


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    folder = tmp_path_factory.mktemp("cmd")
    dialogues = [one for one in iemocap.plan(0, 0.1) if one.session < 3]
    iemocap.write(folder / "raw", dialogues, 0, lambda: None)
    (folder / "cmd.toml").write_text(small((RECIPES / "cmd.toml").read_text(encoding="utf-8")), encoding="utf-8")
    (folder / "one.toml").write_text(PROTOCOL, encoding="utf-8")
    recipe = read_recipe(folder / "cmd.toml")
    roots = {"iemocap": folder / "raw"}
    for name in recipe.checkpoints:
        roots[f"checkpoints/{name}"] = folder / name
        (folder / name).mkdir()
    write_speech_encoder(folder / "wav2vec2", "wav2vec2")
    write_bert(folder / "bert", "BertModel")
    write_recogniser(folder / "recogniser")
    write_glove(folder / "glove")
    warehouse = Warehouse(folder / "lake", create=True)
    made = Line(recipe, warehouse, roots, Wholly(warehouse))
    made.run()
    return made


def test_every_row_ends_in_the_report(line: Line) -> None:
    assert line.recipe.report is not None
    assert len(line.recipe.report.models) == 13
    for name in line.recipe.report.models:
        [(_, predicted)] = line.predictions(name)
        rows = read_table(predicted.path("predictions.parquet"), PREDICTIONS).to_pylist()
        assert rows and {row["part"] for row in rows} >= {"test"}
    assert line.report().path("report.html").is_file()
    assert verify(line.warehouse) == []


def test_what_is_tuned_was_distilled_before(line: Line) -> None:
    for name, entry in line.recipe.models.items():
        [fitted] = line.model(name)
        card = json.loads(fitted.checkpoint.path("student.json").read_bytes())
        assert (entry.init is None) == (card["fresh"] is None)
        if entry.init:
            assert entry.init == f"distilled_{name}"
            assert {weight.split(".")[0] for weight in card["fresh"]} == {"heads"}


def test_heard_words_stand_in_for_what_was_said_where_a_row_says_so(line: Line) -> None:
    def steps(name: str) -> set[str]:
        [fitted] = line.model(name)
        return {node.artifact.request.step for node in up(line.warehouse, fitted.checkpoint).walk()}

    told = {"extractors.asr", "features.retell"}
    assert told <= steps("cmd_asr") and told <= steps("bert_asr_distill")
    assert not told & steps("cmd")
    assert "extractors.waveform" not in steps("bert_asr_distill"), "it hears nothing itself"
    assert not {"extractors.encoder", "extractors.speech_encoder"} & steps("cmd_scratch")
