"""The shipped recipes of CMD, with all their rows, on a few utterances of the sandbox and through tiny networks."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from features.sandbox import iemocap, meld, mosei
from flows.line import Line
from flows.paper_table import table
from flows.recipe import RECIPES, read_recipe
from tests.features.tiny_bert import write_bert
from tests.features.tiny_glove import write_glove
from tests.features.tiny_recogniser import write_recogniser
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
id = "one"
title = "Parts as the paper's"
reader = "{reader}"
scheme = "emotion"
rater = "summary"
{parts}
metrics = ["macro_f1", "uar"]
labels = {labels}
"""
PROTOCOLS = {
    "iemocap": PROTOCOL.format(
        reader="iemocap", parts='test = "drawn < 0.2"\ndev = "drawn < 0.25"',
        labels='{ ang = "angry", exc = "happy", fru = "angry", hap = "happy", neu = "neutral", sad = "sad" }',
    ),
    "meld": PROTOCOL.format(
        reader="meld", parts="test = \"split = 'test'\"\ndev = \"split = 'dev'\"",
        labels='{ anger = "angry", joy = "happy", neutral = "neutral", sadness = "sad" }',
    ),
}  # fmt: skip
"""Corpus -> its protocol without counts; that of CMU-MOSEI only warns of counts."""
SMALL = "blocks = 1\nchannels = 8\nfeed_forward = 16\n"


def small(text: str) -> str:
    """A shipped recipe with one epoch, one seed, small layers and, where there is one, the protocol above."""
    text = re.sub(r'"(iemocap|meld)4-cmd(-a)?"', '"one.toml"', text).replace("layers = [12]", "layers = [LAST]")
    text = text.replace("LAST", "2", 1).replace("LAST", "3")  # of the tiny wav2vec 2.0 and of the tiny BERT
    text = text.replace('reader = "iemocap"', 'reader = "iemocap"\nsessions = [1, 2]')
    text = re.sub(r'(student = "(cmd|mult)"\n)', rf"\g<1>{SMALL}", text)
    return re.sub(r"seeds = \[.*\]\n", "", re.sub(r"epochs = \d+", "epochs = 1", text))


def speak(corpus: str, root: Path) -> None:
    """A few utterances in the layout of a corpus."""
    if corpus == "iemocap":
        iemocap.write(root, [one for one in iemocap.plan(0, 0.1) if one.session < 3], 0, lambda: None)
    elif corpus == "meld":
        meld.write(root, meld.plan(0, 0.1), 0, lambda: None)
    else:
        mosei.write(root)


def made(name: str, folder: Path) -> Line:
    """The small form of a shipped recipe, run."""
    corpus = name.removeprefix("cmd").strip("_").removeprefix("search") or "iemocap"
    speak(corpus, folder / "raw")
    (folder / f"{name}.toml").write_text(small((RECIPES / f"{name}.toml").read_text(encoding="utf-8")), "utf-8")
    (folder / "one.toml").write_text(PROTOCOLS.get(corpus, ""), encoding="utf-8")
    recipe = read_recipe(folder / f"{name}.toml")
    roots = {corpus: folder / "raw"} | {f"checkpoints/{one}": folder / one for one in recipe.checkpoints}
    for one in ("wav2vec2", "bert", "recogniser", "glove"):
        (folder / one).mkdir()
    write_speech_encoder(folder / "wav2vec2", "wav2vec2")
    write_bert(folder / "bert", "BertModel")
    write_recogniser(folder / "recogniser")
    write_glove(folder / "glove")
    warehouse = Warehouse(folder / "lake", create=True)
    line = Line(recipe, warehouse, roots, Wholly(warehouse))
    line.run()
    return line


@pytest.fixture(scope="module", params=["cmd", "cmd_meld", "cmd_mosei"])
def line(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Line:
    return made(request.param, tmp_path_factory.mktemp(request.param))


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


def test_the_papers_tables_have_our_rows_beside_theirs(line: Line) -> None:
    found = rows_of_ours(line)
    assert found["cmd-3"] == {"mfcc_glove", "wav2_bert", "cmd"}
    assert len(found["cmd-4"]) == 8
    [part] = table("cmd-5", line.warehouse)["parts"]
    [row] = [row for row in part["rows"] if row["figures"][1]["ours"]]
    assert row["made_by"] == f"{line.recipe.name}: heard" and row["figures"][1]["ours"]["mean"] > 0.5
    [part] = table("cmd-6", line.warehouse)["parts"]
    ours = [[figure["ours"] for figure in row["figures"]] for row in part["rows"]]
    shares = [share["mean"] for share, tokens in ours if share]
    assert len(shares) == 2 and sum(shares) == pytest.approx(1) and any(tokens and tokens["mean"] for _, tokens in ours)
    shown = {row["model"]: row["ours"] for row in printed_beside(line) if row["metric"] == "macro_f1"}
    assert len(shown) == 11 and None not in shown.values()


def test_a_search_tunes_each_point_from_its_own(tmp_path: Path) -> None:
    line = made("cmd_search", tmp_path)
    points = line.recipe.behind("cmd")
    assert len(points) == 9 and len(line.recipe.models) == 18
    for name in points:
        assert line.recipe.models[name].init == name.replace("cmd(", "distilled_cmd(")
    content = json.loads(line.report().path("report.json").read_text(encoding="utf-8"))
    [search] = content["points"]
    assert [point["chosen"] for point in search["points"]].count(True) == 1
    assert {row["variant"] for row in content["scores"]} == {"cmd"}
