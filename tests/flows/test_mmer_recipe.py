"""The shipped recipe of MMER, with all its rows, on a few utterances of the sandbox and through tiny networks."""

from __future__ import annotations

import re

import pytest

from features.sandbox import iemocap
from flows.line import Line
from flows.recipe import RECIPES, read_recipe
from tests.features.tiny_recogniser import write_recogniser
from tests.features.tiny_speech import write_speech_encoder
from tests.features.tiny_synthesis import write_speaker
from tests.features.tiny_text import write_text_encoder
from tests.features.tiny_translation import write_translator
from tests.flows.tabled import printed_beside, rows_of_ours
from tests.flows.wholly import Wholly
from warehouse import Warehouse
from warehouse.audit.lineage import up
from warehouse.audit.verify import verify
from warehouse.schema import PREDICTIONS
from warehouse.tables import read_table

pytestmark = pytest.mark.slow

PROTOCOL = """
id = "one"
title = "One session is tested, one chosen on, one learned from"
reader = "iemocap"
scheme = "emotion"
rater = "summary"
test = "session = '1'"
dev = "session = '2'"
metrics = ["uar", "accuracy"]
labels = { ang = "angry", exc = "happy", hap = "happy", neu = "neutral", sad = "sad" }
"""
SMALL = {"width": 16, "heads": 2, "feed_forward": 32}


def small(text: str) -> str:
    """The shipped recipe with one epoch, small layers and the protocol above."""
    text = re.sub(r'"iemocap4-loso5(:dev=none)?"', '"one.toml"', text).replace("layers = [12]", "layers = [2]")
    text = text.replace('reader = "iemocap"', 'reader = "iemocap"\nsessions = [1, 2, 3]')
    fields = "".join(f"{name} = {value}\n" for name, value in SMALL.items())
    text = text.replace('student = "mmer"\n', f'student = "mmer"\n{fields}')
    return re.sub(r"epochs = \d+", "epochs = 1", text)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    folder = tmp_path_factory.mktemp("mmer")
    dialogues = [one for one in iemocap.plan(0, 0.1) if one.session < 4]
    iemocap.write(folder / "raw", dialogues, 0, lambda: None)
    (folder / "mmer.toml").write_text(small((RECIPES / "mmer.toml").read_text(encoding="utf-8")), encoding="utf-8")
    (folder / "one.toml").write_text(PROTOCOL, encoding="utf-8")
    recipe = read_recipe(folder / "mmer.toml")
    roots = {"iemocap": folder / "raw"}
    for name in recipe.checkpoints:
        roots[f"checkpoints/{name}"] = folder / name
        (folder / name).mkdir()
    write_speech_encoder(folder / "wav2vec2", "wav2vec2")
    write_text_encoder(folder / "roberta", "roberta", "Model")
    write_recogniser(folder / "recogniser")
    write_translator(folder / "en_de")
    write_translator(folder / "de_en", decoder_ffn_dim=40)
    write_speaker(folder / "voice")
    warehouse = Warehouse(folder / "lake", create=True)
    made = Line(recipe, warehouse, roots, Wholly(warehouse))
    made.run()
    return made


def test_every_row_ends_in_the_report(line: Line) -> None:
    assert line.recipe.report is not None
    for name in line.recipe.report.models:
        [(_, predicted)] = line.predictions(name)
        rows = read_table(predicted.path("predictions.parquet"), PREDICTIONS).to_pylist()
        assert len(rows) > 10 and {row["part"] for row in rows} >= {"test"}
    assert line.report().path("report.html").is_file()
    assert verify(line.warehouse) == []


def test_what_a_row_learns_from_is_what_its_weights_say(line: Line) -> None:
    def steps(name: str) -> set[str]:
        [fitted] = line.model(name)
        return {node.artifact.request.step for node in up(line.warehouse, fitted.checkpoint).walk()}

    told = {"extractors.translation", "extractors.synthesis"}
    assert told <= steps("mmer") and told <= steps("without_scl") and told <= steps("released")
    assert not told & steps("without_acl")
    assert "extractors.asr" in steps("heard") and "extractors.asr" not in steps("mmer")
    assert not {"extractors.waveform"} & steps("text") and not {"extractors.encoder"} & steps("audio")


def test_the_papers_table_has_our_rows_beside_theirs(line: Line) -> None:
    assert line.recipe.report is not None
    assert rows_of_ours(line) == {"mmer-1": set(line.recipe.report.models)}
    assert {row["model"] for row in printed_beside(line)} == set(line.recipe.report.models) - {"released"}
