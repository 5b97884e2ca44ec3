from __future__ import annotations

import json

from flows.doer import Step, Waits, new_step, set_remark
from warehouse import Request, Work
from warehouse.audit.why import Difference


def work(name: str, n_rows: int = 1) -> Work:
    return Work(Request("made", name, 1), n_rows=n_rows)


def test_a_step_counts_the_rows_of_its_works() -> None:
    works = [work("a", 3), work("b", 4)]
    step = new_step("make", works, works[1:], None)
    assert (step.n_rows, step.n_new, step.works) == (7, 4, works[1:])


def test_rows_that_are_present_are_wanted_too() -> None:
    """Extraction makes works for missing rows only: how many are wanted is told apart."""
    step = new_step("extract", [work("a", 3)], [work("a", 3)], 10)
    assert (step.n_rows, step.n_new) == (10, 3)
    assert new_step("extract", [], [], 10).n_rows == 10


def test_a_step_as_json_says_why_in_words() -> None:
    difference = Difference("params.level", "lld", "functionals")
    step = Step("extract lld", 10, 3, [work("a", 3)], differences=[difference], seconds=1.23456)
    assert json.loads(json.dumps(step.as_json())) == {
        "step": "extract lld", "rows": 10, "new": 3, "artifacts": 1, "waits_for": "",
        "why": ['params.level: "lld" instead of "functionals"'], "seconds": 1.23, "remark": "", "unmade": 0,
    }  # fmt: skip


def test_what_waits_names_the_step() -> None:
    waits = Waits("fit teacher")
    assert str(waits) == waits.step == "fit teacher"


def test_a_remark_is_for_one_step() -> None:
    steps = [Step("canary lld"), Step("extract lld")]
    set_remark(steps, "canary lld", "to be run")
    assert [step.as_json()["remark"] for step in steps] == ["to be run", ""]
