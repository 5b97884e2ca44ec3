"""The shipped recipe of cross-modal attention, all rows, on a few utterances of the sandbox through tiny networks."""

from __future__ import annotations

import re

import pytest

from features.sandbox import iemocap
from flows.line import Line
from flows.paper_table import table
from flows.recipe import read_recipe, recipe_path
from models import checkpoint
from models.students.cross_attention import CrossAttention
from tests.features.tiny_bert import write_bert
from tests.features.tiny_speech import write_speech_encoder
from tests.flows.tabled import printed_beside, rows_of_ours
from tests.flows.wholly import Wholly
from warehouse import Warehouse
from warehouse.audit.lineage import up
from warehouse.audit.verify import verify
from warehouse.schema import PREDICTIONS
from warehouse.tables import read_table

pytestmark = pytest.mark.slow

PROTOCOL = """
id = "three"
title = "A session to learn from, one to choose on, one to test on"
reader = "iemocap"
test = "session = '1'"
dev = "$dev"
metrics = ["uar", "accuracy"]
options.dev = { next = "session = '2'", none = "false" }
labels = { ang = "angry", exc = "happy", hap = "happy", neu = "neutral", sad = "sad" }
"""
SMALL = "channels = 16\nlstm = 8\nheads = 2\nfeed_forward = 16\n"


def small(text: str) -> str:
    """The shipped recipe with one fit of one epoch per row, small layers and the protocol above."""
    text = text.replace('"iemocap4-loso5', '"three.toml')
    text = text.replace('reader = "iemocap"', 'reader = "iemocap"\nsessions = [1, 2, 3]')
    text = re.sub(r"\nlayers = \[.*\]", "\nlayers = [2]", text)
    text = text.replace('student = "cross_attention"\n', f'student = "cross_attention"\n{SMALL}')
    return re.sub(r"epochs = \d+", "epochs = 1", text)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    folder = tmp_path_factory.mktemp("krishna")
    iemocap.write(folder / "raw", [one for one in iemocap.plan(0, 0.1) if one.session < 4], 0, lambda: None)
    (folder / "krishna.toml").write_text(small(recipe_path("krishna").read_text(encoding="utf-8")), "utf-8")
    (folder / "three.toml").write_text(PROTOCOL, encoding="utf-8")
    recipe = read_recipe(folder / "krishna.toml")
    roots = {"iemocap": folder / "raw"} | {f"checkpoints/{name}": folder / name for name in recipe.checkpoints}
    write_speech_encoder(folder / "wav2vec2_large", "wav2vec2-large")
    write_bert(folder / "bert", "BertModel")
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


def test_a_row_has_what_its_name_says(line: Line) -> None:
    inside = {}
    for name in line.recipe.models:
        [fitted] = line.model(name)
        student = checkpoint.read_card(fitted.checkpoint.folder).student
        assert isinstance(student, CrossAttention)
        inside[name] = student.encoders
        extracted = {node.artifact.request.step for node in up(line.warehouse, fitted.checkpoint).walk()}
        assert ("extractors.speech_encoder" in extracted) == (name == "frozen")
    both = ("audio", "text")
    assert inside == {
        "trained": both, "frozen": (), "printed_scale": both, "test_selected": both, "audio": ("audio",),
        "text": ("text",),
    }  # fmt: skip


def test_the_papers_tables_have_our_rows_beside_theirs(line: Line) -> None:
    assert rows_of_ours(line) == {
        "krishna-1": {"frozen", "trained", "test_selected"}, "krishna-2": {"audio", "text"},
    }  # fmt: skip
    assert {row["model"] for row in printed_beside(line)} == {"frozen", "trained", "audio", "text"}
    assert "Ours, test-selected: krishna: test_selected." in table("krishna-1", line.warehouse)["caveats"]
