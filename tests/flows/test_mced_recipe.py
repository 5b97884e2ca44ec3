"""The shipped recipe of MCED, from subtitles to all its rows, on a few lines and utterances through tiny networks."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from features.sandbox import emotionlines, films, iemocap, meld, opensubtitles, xed
from flows.line import Line
from flows.recipe import read_recipe, recipe_path
from models import checkpoint
from models.students.mced import Mced
from tests.features.tiny_bert import write_bert
from tests.flows.tabled import printed_beside, rows_of_ours
from tests.flows.wholly import Wholly
from warehouse import Warehouse
from warehouse.audit.lineage import up
from warehouse.audit.verify import verify
from warehouse.schema import SPLIT
from warehouse.tables import read_table

pytestmark = pytest.mark.slow

PROTOCOL = """
id = "{name}"
title = "Three parts; less to learn from"
reader = "{reader}"
test = "{test}"
dev = "{dev}"
train = "$train"
metrics = ["uar", "accuracy", "wf1", "macro_f1"]
labels = {labels}
options.train = {{ all = "true", half = "drawn < 0.5", third = "3 * drawn < 1", fifth = "drawn < 0.2" }}
"""
SMALL = "channels = 16\nwidth = 16\nheads = 2\nfeed_forward = 32\n"


def small(text: str) -> str:
    """The shipped recipe with one fit of one epoch per row, small layers, and protocols without counts."""
    text = text.replace('"iemocap4-speaker10', '"ten.toml').replace('"meld7', '"seven.toml')
    text = text.replace("seeds = [0, 1, 2]", "seeds = [0]").replace("layers = [6, 8, 10, 12]", "layers = [0, 1, 2, 3]")
    text = text.replace('"films-unlabelled"', '"films-unlabelled:dev=none"')
    text = text.replace("threshold = 0.4", "threshold = 0.01").replace("neutral = 0.8", "neutral = 0.01")
    text = text.replace('reader = "iemocap"', 'reader = "iemocap"\nsessions = [1, 2, 3]')
    text = text.replace('student = "mced"\n', f'student = "mced"\n{SMALL}')
    return re.sub(r"epochs = \d+", "epochs = 1", text)


def write_texts(root: Path) -> None:
    """Subtitles, and a hundred lines or so of each file of the two corpora of emotions."""
    opensubtitles.write(root / "subtitles")
    xed.write(root / "xed")
    for name in (xed.ANNOTATED, xed.NEUTRAL):
        path = root / "xed" / name
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:120]))
    emotionlines.write(root / "emotionlines")
    for part in emotionlines.SIZES:
        path = root / "emotionlines" / emotionlines.path_of(part)
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8"))[:8]), encoding="utf-8")


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    folder = tmp_path_factory.mktemp("mced")
    write_texts(folder)
    films.write(folder / "films", films.plan(0, 0.1)[:2], 0, lambda: None)
    iemocap.write(folder / "iemocap", [one for one in iemocap.plan(0, 0.1) if one.session < 4], 0, lambda: None)
    meld.write(folder / "meld", meld.plan(0, 0.1), 0, lambda: None)
    (folder / "mced.toml").write_text(small(recipe_path("mced").read_text(encoding="utf-8")), encoding="utf-8")
    four = '{ ang = "angry", exc = "happy", hap = "happy", neu = "neutral", sad = "sad" }'
    ten = PROTOCOL.format(name="ten", reader="iemocap", test="session = '1'", dev="session = '2'", labels=four)
    five = '{ anger = "anger", joy = "joy", neutral = "neutral", sadness = "sadness", surprise = "surprise" }'
    seven = PROTOCOL.format(name="seven", reader="meld", test="split = 'test'", dev="split = 'dev'", labels=five)
    (folder / "ten.toml").write_text(ten, encoding="utf-8")
    (folder / "seven.toml").write_text(seven, encoding="utf-8")
    recipe = read_recipe(folder / "mced.toml")
    write_bert(folder / "bert", "BertForMaskedLM")
    roots = {name: folder / name for name in recipe.corpora} | {"checkpoints/bert": folder / "bert"}
    roots["subtitles"] = folder / "subtitles" / opensubtitles.MOSES
    warehouse = Warehouse(folder / "lake", create=True)
    made = Line(recipe, warehouse, roots, Wholly(warehouse))
    made.run()
    return made


def test_every_row_ends_in_the_report(line: Line) -> None:
    assert line.recipe.report is not None and len(line.recipe.report.models) == 22
    scored = json.loads(line.report().path("report.json").read_text(encoding="utf-8"))["scores"]
    assert {row["variant"] for row in scored} == set(line.recipe.report.models)
    assert verify(line.warehouse) == []


def test_both_teachers_begin_with_the_placed_network_and_one_has_read_subtitles(line: Line) -> None:
    above = {}
    for name in ("teacher", "teacher_base"):
        [fitted] = line.model(name)
        above[name] = [node.artifact for node in up(line.warehouse, fitted.checkpoint).walk()]
        assert "weights" in {artifact.request.kind for artifact in above[name]}
        fresh = checkpoint.read_card(fitted.checkpoint.folder).fresh
        assert fresh is not None and all(not weight.startswith("bert.encoder") for weight in fresh)
    read = {name: {a.request.step for a in own} for name, own in above.items()}
    assert "corpora.opensubtitles" in read["teacher"] and "corpora.opensubtitles" not in read["teacher_base"]


def test_a_student_is_taught_what_its_name_says(line: Line) -> None:
    taught = {}
    for name in line.recipe.models:
        if name.startswith("taught"):
            [fitted] = line.model(name)
            student = checkpoint.read_card(fitted.checkpoint.folder).student
            assert isinstance(student, Mced)
            objective = fitted.checkpoint.request.params["objective"]
            taught[name] = "response" in objective, len(student.student_layers) if "feature" in objective else 0
    assert taught == {
        "taught": (True, 4), "taught_rl": (True, 0), "taught_fl4": (False, 4), "taught_rl_fl1": (True, 1),
        "taught_rl_fl2": (True, 2), "taught_rl_fl3": (True, 3),
    }  # fmt: skip


def test_less_to_learn_from_is_less_of_the_same(line: Line) -> None:
    def ids(name: str, part: str) -> set[str]:
        [fitted] = line.model(name)
        rows = read_table(fitted.split.path("split.parquet"), SPLIT).to_pylist()
        return {row["utterance_id"] for row in rows if row["part"] == part}

    for corpus in ("iemocap", "meld"):
        whole, half, third, fifth = (ids(f"{corpus}_{one}", "train") for one in ("mced", "half", "third", "fifth"))
        assert fifth < third < half < whole
        n_left = [len(whole) - n * len(some) for n, some in ((2, half), (3, third), (5, fifth))]
        assert all(-5 < left <= 0 for left in n_left), "of what is left out of the shards too"
        assert all(ids(f"{corpus}_{one}", "test") == ids(f"{corpus}_mced", "test") for one in ("half", "fifth"))


def test_the_papers_tables_have_our_rows_beside_theirs(line: Line) -> None:
    found = rows_of_ours(line)
    assert {name: len(models) for name, models in found.items()} == {
        "mced-4": 2, "mced-5": 4, "mced-6": 12, "mced-7": 8,
    }  # fmt: skip
    assert {row["model"] for row in printed_beside(line)} == set.union(*found.values())
