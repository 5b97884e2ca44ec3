"""The end of the line, over the small lake: what a report is made of, and what it finds in the lineage."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from flows.leakage_work import read_leakage
from flows.line import Line
from flows.recipe import read_recipe
from tests.flows.saying import Say
from tests.flows.small import Small
from tests.flows.test_firewall import CALM, write_clips
from tests.flows.test_firewall import RECIPE as LAW
from tests.flows.wholly import Wholly
from warehouse import Warehouse


def test_the_report_of_a_run_has_looked_at_all_that_the_student_comes_from(small: Small) -> None:
    (report,) = small.warehouse.artifacts("report")
    found = [read_leakage(small.warehouse.with_digest(digest)[0]) for digest in report.request.inputs["leakage"]]
    assert len(found) == 1, "one model, one fold"
    teachers = {leak.against for leak in found[0].leaks if leak.against.startswith("teacher")}
    checkpoints = {f"teacher {a.key}": a.request.step for a in small.warehouse.artifacts("checkpoint")}
    assert sorted(checkpoints[name] for name in teachers) == [
        "students.mced", "students.text_encoder", "students.text_encoder",
    ], "the student that imitated the teacher's layers, the teacher, and the language model"  # fmt: skip
    content = json.loads(report.path("report.json").read_text(encoding="utf-8"))
    assert content["leakage"] == [{"model": "distilled", "folds": [found[0].as_json()]}]


def test_the_steps_of_the_end_are_planned_as_the_others(say: Say, small: Small) -> None:
    planned = say("plan", str(small.recipe), "--json").json
    names = [step["step"] for step in planned]
    assert names[-3:] == ["score", "leakage", "report"] and not any(step["new"] for step in planned)


def test_members_of_an_average_need_not_be_reported_nor_have_lost_the_same_utterances(tmp_path: Path) -> None:
    """An utterance that one of them cannot read and that belongs to no class: other keys of splits, the same bytes."""
    model = LAW[LAW.index('student = "mced"') : LAW.index("\n[models.chosen]")]
    reader = (
        model[: model.index("channels")].replace('"mced"', '"text_encoder"').replace('speech = "mfcc"', 'text = "text"')
    )
    reader += 'task = "classify"\nvocabulary_size = 60\nwidth = 8\nlayers = 1\nheads = 2\nmax_tokens = 16\n'
    models = f"[models.a]\n{model}\n[models.b]\n{reader}\n[models.c]\n{model}\n"
    report = '[report]\nmodels = ["c"]\naverages = { m = ["a", "b"] }\n'
    (tmp_path / "law.toml").write_text(LAW[: LAW.index("[models.plain]")] + models + report, encoding="utf-8")
    (tmp_path / "calm.toml").write_text(CALM, encoding="utf-8")
    write_clips(tmp_path / "raw")
    shutil.copy(tmp_path / "raw" / "0.wav", tmp_path / "raw" / "99.wav")
    with open(tmp_path / "raw" / "clips.csv", "a", encoding="utf-8") as rows:
        rows.write("99.wav,,s99,other,train\n")
    warehouse = Warehouse(tmp_path / "lake", create=True)
    line = Line(read_recipe(tmp_path / "law.toml"), warehouse, {"clips": tmp_path / "raw"}, Wholly(warehouse))
    line.run()
    splits = [line.model(name)[0].split for name in "ab"]
    assert splits[0].key != splits[1].key and splits[0].digest == splits[1].digest
    content = json.loads(line.report().path("report.json").read_text(encoding="utf-8"))
    assert {row["variant"] for row in content["scores"]} == {"c", "m"}
