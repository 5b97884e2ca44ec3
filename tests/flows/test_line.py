"""The line itself: order from needs, one word per product, failures over all steps, and what it refuses."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from features.inventory import column
from features.sandbox import opensubtitles
from flows.doer import Waits
from flows.line import Line
from flows.plan import plan
from flows.recipe import Recipe, read_recipe
from tests.flows.partly import Partly
from tests.flows.small import Small
from warehouse import Artifact, Warehouse
from warehouse.audit.lineage import down, up
from warehouse.audit.verify import verify
from warehouse.errors import EmolakeError, InvalidField, TooManyFailures


def recipe_of(folder: Path, text: str) -> Recipe:
    path = folder / "small.toml"
    path.write_text(text, encoding="utf-8")
    return read_recipe(path)


def without(text: str, *sections: str) -> str:
    """A recipe's text without some of its tables."""
    for section in sections:
        text, n = re.subn(rf"\[{re.escape(section)}\].*?(?=\n\[|\Z)", "", text, flags=re.DOTALL)
        assert n == 1, section
    return text


def test_each_step_comes_once_and_after_what_it_needs(small: Small) -> None:
    names = [step.name for step in plan(read_recipe(small.recipe), small.warehouse, small.roots)]
    assert [name for name, n in Counter(names).items() if n > 1] == []
    for first, then in (
        ("record films", "ingest films"), ("ingest films", "align pocketsphinx"), ("pack films text", "fit language"),
        ("fit language", "fit teacher"), ("fit teacher", "extract teacher"), ("extract teacher", "select salient"),
        ("select salient", "pack films lld (salient)"), ("pack films lld (salient)", "fit pretrained"),
        ("fit pretrained", "fit distilled"), ("split for distilled", "fit distilled"), ("score", "report"),
    ):  # fmt: skip
        assert names.index(first) < names.index(then)


def test_the_order_of_tables_in_a_recipe_is_nothing(small: Small, tmp_path: Path) -> None:
    """Models may stand in any order: what one needs is made when it is asked for."""
    text = small.recipe.read_text(encoding="utf-8")
    (teacher,) = re.findall(r"\[models\.teacher\].*?(?=\n\[)", text, flags=re.DOTALL)
    moved = recipe_of(tmp_path, without(text, "models.teacher") + "\n" + teacher + "\n")
    there = plan(moved, small.warehouse, small.roots, explain=False)
    assert [step.name for step in there if step.waits_for or (step.works and step.name != "report")] == []


def test_what_waits_is_said_once_per_product(small: Small, tmp_path: Path) -> None:
    doer = Partly(Warehouse(tmp_path / "lake", create=True), "record")
    line = Line(read_recipe(small.recipe), doer.warehouse, small.roots, doer)
    line.run()
    line.pack()  # asked for again, through other products
    for _ in range(2):
        with pytest.raises(Waits, match="ingest meld"):
            line.model("teacher")
    names = [step.name for step in doer.steps]
    assert [name for name, n in Counter(names).items() if n > 1] == []
    waits = {step.name: step.waits_for for step in doer.steps if step.waits_for}
    assert waits["fit distilled"] == "ingest meld" and waits["pack films text"] == "ingest films"


def test_one_corpus_that_waits_keeps_no_other_back(small: Small, tmp_path: Path) -> None:
    doer = Partly(Warehouse(tmp_path / "lake", create=True), "record", "ingest meld", "pack meld text")
    Line(read_recipe(small.recipe), doer.warehouse, small.roots, doer).run()
    there = {step.name for step in doer.steps if not step.works and not step.waits_for}
    assert {"ingest meld", "pack meld text"} <= there and "ingest films" not in there


# -- failures --------------------------------------------------------------------------------------------------------

CLIPS = """
name = "small"
title = "Three clips"
[corpora.clips]
reader = "table"
file = "clips.csv"
[align.pocketsphinx]
aligner = "pocketsphinx"
corpora = ["clips"]
[features.wave]
extractor = "waveform"
corpora = ["clips"]
[failures]
allowed = {allowed}
"""


@pytest.fixture
def clips(small: Small, tmp_path: Path) -> dict[str, Path]:
    """A good clip, one that cannot be decoded and one without words: the last two fail, in different steps."""
    root = tmp_path / "clips"
    root.mkdir()
    sentences = sorted(small.roots["iemocap"].glob("Session1/sentences/wav/*/Ses*.wav"))
    shutil.copy(sentences[0], root / "good.wav")
    shutil.copy(sentences[1], root / "silent.wav")
    (root / "bad.wav").write_bytes(b"RIFF and nothing else")
    lines = ["path,text,speaker,label", "good.wav,hello there,s,happy", "silent.wav,,s,sad", "bad.wav,oh,s,sad"]
    (root / "clips.csv").write_text("\n".join(lines) + "\n")
    return {"clips": root}


@pytest.mark.parametrize("allowed", [0, 1, 2])
def test_failures_are_counted_over_all_steps(clips: dict[str, Path], tmp_path: Path, allowed: int) -> None:
    doer = Partly(Warehouse(tmp_path / "lake", create=True), "")
    line = Line(recipe_of(tmp_path, CLIPS.format(allowed=allowed)), doer.warehouse, clips, doer)
    if allowed < 2:
        complaint = rf"could not treat {allowed + 1} utterances, and the recipe allows {allowed} \(first: .*bad\.wav"
        with pytest.raises(TooManyFailures, match=complaint):
            line.run()
    else:
        line.run()
        assert [(row["step"], row["reason"]) for row in line.failures.values() if "pocket" in row["step"]] == [
            ("aligners.pocketsphinx", "the transcript is empty")
        ]
        assert len(line.failures) == 2
    made = {step.name for step in doer.steps}
    assert ("align pocketsphinx" in made) == (allowed > 0), "a run stops where the failures are too many"


def test_the_alignment_that_a_corpus_ships_serves_as_any_other(small: Small, tmp_path: Path) -> None:
    """No sound is decoded for it, and the views hold its intervals."""
    warehouse = Warehouse(tmp_path / "lake", create=True)
    text = small.recipe.read_text(encoding="utf-8")
    text = text.replace('aligner = "pocketsphinx"\ncorpora = ["films"]', 'aligner = "provided"\ncorpora = ["iemocap"]')
    line = Line(recipe_of(tmp_path, text), warehouse, small.roots, Partly(warehouse, "record", "ingest", "align"))
    line.align()
    shipped = warehouse.table("SELECT tier, count(*) AS n FROM intervals GROUP BY ALL").to_pylist()
    assert {row["tier"] for row in shipped} == {"word", "phone", "syllable"} and line.failures == {}
    ids = warehouse.table("SELECT count(DISTINCT input_id) FROM intervals").column(0).to_pylist()
    assert ids == warehouse.table("SELECT count(*) FROM utterances WHERE corpus = 'iemocap'").column(0).to_pylist()


SUBTITLES = """
name = "subtitles"
title = "Lines of documents"
[corpora.lines]
reader = "opensubtitles"
"""


def test_what_all_units_share_is_found_out_before_any_is_read(tmp_path: Path) -> None:
    """A run that was killed in between has the records, and goes on with the survey."""
    opensubtitles.write(tmp_path / "opus")
    roots = {"lines": tmp_path / "opus" / opensubtitles.DOCUMENTS}
    recipe, warehouse = recipe_of(tmp_path, SUBTITLES), Warehouse(tmp_path / "lake", create=True)

    def steps_after(*words: str) -> dict[str, tuple[int, int, str]]:
        Line(recipe, warehouse, roots, Partly(warehouse, *words)).ingest()
        return {s.name: (s.n_rows, s.n_new, s.waits_for) for s in plan(recipe, warehouse, roots, "ingest")}

    n_files = len(list(roots["lines"].rglob("*.xml*"))) - 1  # the alignment is not asked for
    assert steps_after("record") == {
        "record lines": (n_files, 0, ""), "survey lines": (1, 1, ""), "ingest lines": (0, 0, "survey lines")
    }  # fmt: skip
    assert steps_after("survey") == {
        "record lines": (n_files, 0, ""), "survey lines": (1, 0, ""), "ingest lines": (4, 4, "")
    }  # fmt: skip
    assert {n_new for _, n_new, _ in steps_after("ingest").values()} == {0}
    n = warehouse.table("SELECT count(*) FROM utterances").column(0).to_pylist()
    assert n == [opensubtitles.expected(opensubtitles.DOCUMENTS)["sentences, kept"]]
    assert verify(warehouse) == []
    (survey,) = warehouse.artifacts("survey")
    raw = {artifact.key for artifact in warehouse.artifacts("raw")}
    for utterances in warehouse.artifacts("utterances"):
        assert raw | {survey.key} <= {node.artifact.key for node in up(warehouse, utterances).walk()}
    assert len(list(down(warehouse, survey).walk())) == 1 + 4


TWO = """
name = "two"
title = "Two corpora, one model"
[corpora.here]
reader = "table"
file = "clips.csv"
[corpora.there]
reader = "table"
file = "clips.csv"
[models.reader]
student = "text_encoder"
task = "classify"
corpus = ["here", "there"]
protocol = "calm2.toml"
inputs = { text = "text" }
objective = { label = 1.0 }
fit = { epochs = 1, learning_rate = 1e-3, batch_frames = 64 }
"""
CALM = """
id = "calm2"
reader = "table"
title = "Two classes"
test = "split = 'test'"
[labels]
calm = "calm"
loud = "loud"
[counts]
calm = 4
loud = 2
"""


def test_a_model_may_learn_from_several_corpora(tmp_path: Path) -> None:
    roots = {name: tmp_path / name for name in ("here", "there")}
    for name, root in roots.items():
        root.mkdir()
        lines = ["path,text,speaker,label,part"]
        for number, label in enumerate(("calm", "calm", "loud")):
            sound = np.full(1600, 0.01 * (number + len(name)), np.float32)
            soundfile.write(root / f"{number}.wav", sound, 16_000)
            lines.append(f"{number}.wav,words of {name} {number},s,{label},{('train', 'test', 'train')[number]}")
        (root / "clips.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "calm2.toml").write_text(CALM, encoding="utf-8")
    text = TWO.replace('file = "clips.csv"', 'file = "clips.csv"\nsplit = "part"')
    warehouse = Warehouse(tmp_path / "lake", create=True)
    doer = Partly(warehouse, "record", "ingest", "pack", "split")
    line = Line(recipe_of(tmp_path, text), warehouse, roots, doer)
    line.run()
    assert [step.name for step in doer.steps if step.works] == ["fit reader"]
    (work,) = doer.steps[-1].works
    inputs = {a.digest: a for a in warehouse.artifacts()}
    packed = [row for digest in work.request.inputs["shards:text"] for row in _ids(inputs[digest], "index.parquet")]
    split = _ids(inputs[work.request.inputs["split"][0]], "split.parquet")
    everybody = {f"{name}-{number}" for name in roots for number in range(3)}
    assert sorted(packed) == split == sorted(everybody)


def _ids(artifact: Artifact, file: str) -> list[str]:
    return list(column(artifact.path(file), "utterance_id"))


# -- what is refused -------------------------------------------------------------------------------------------------

DISTILLED = 'corpus = "meld"\nprotocol = "sandbox5-official"\ninit = "pretrained"'


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (DISTILLED, DISTILLED.replace("sandbox5-official", "sandbox4-loso5"),
         "recipe 'small': field 'models.distilled.protocol' is for the reader 'iemocap', but 'meld' is read by 'meld'"),
        ('teacher_hidden = "teacher.hidden"', 'teacher_hidden = "teacher.hiden"',
         "recipe 'small': field 'teacher.hiden' names no output of feature 'teacher': "
         "use 'teacher.hidden', 'teacher.logits'"),
        ('teacher_hidden = "teacher.hidden"', 'teacher_hidden = "teacher"',
         "recipe 'small': field 'teacher' names no output of feature 'teacher': "
         "use 'teacher.hidden', 'teacher.logits'"),
        ('corpus = "films"\nlogits = "teacher.logits"', 'corpus = "films"\nlogits = "lld.logits"',
         "recipe 'small': field 'lld.logits' names no output of feature 'lld': use 'lld.frames'"),
        ('task = "mlm"', 'task = "mlm"\nseeds = [0, 1]',
         "recipe 'small': field 'models.language' has 2 fits, so nothing can start from its checkpoint or extract with "
         "it: give it a protocol without folds and one seed"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused_with_a_way_out(
    small: Small, tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    text = small.recipe.read_text(encoding="utf-8")
    assert text.count(old) == 1
    with pytest.raises(EmolakeError) as raised:
        recipe = recipe_of(tmp_path, text.replace(old, new))
        plan(recipe, small.warehouse, small.roots)
    assert str(raised.value) == sentence


def test_what_the_recipe_does_not_declare_cannot_be_asked_for(small: Small, tmp_path: Path) -> None:
    text = without(small.recipe.read_text(encoding="utf-8"), "report", "align.pocketsphinx")
    line = Line(recipe_of(tmp_path, text), small.warehouse, small.roots, Partly(small.warehouse))
    with pytest.raises(InvalidField, match="recipe 'small': field 'report' must be given to report"):
        line.report()
    line.align()  # a verb of which the recipe says nothing does nothing
