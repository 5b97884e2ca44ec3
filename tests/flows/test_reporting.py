"""The end of the line, over the small lake: what a report is made of, and what it finds in the lineage."""

from __future__ import annotations

import json

from flows.leakage_work import read_leakage
from tests.flows.small import Small


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


def test_the_steps_of_the_end_are_planned_as_the_others(small: Small) -> None:
    planned = json.loads(small.cli("plan", str(small.recipe), "--json").stdout)
    names = [step["step"] for step in planned]
    assert names[-3:] == ["score", "leakage", "report"] and not any(step["new"] for step in planned)
