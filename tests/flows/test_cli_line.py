"""The verbs of a recipe on the small lake, which has all that they ask for; and its plan."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from flows import run as runs
from tests.flows.partly import contents
from tests.flows.saying import Say
from tests.flows.small import Small

VERBS = ("ingest", "align", "extract", "pack", "run")


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_finds_all_there_says_so(say: Say, small: Small, verb: str) -> None:
    outcome = say(verb, "small.toml", "--json").json
    assert outcome["new"] == 0 and outcome["rows"] > 0 and outcome["recipe"] == "small"
    assert bool(outcome["report"]) == bool(outcome["trace"]) == bool(outcome["metrics"]) == (verb == "run")
    told = say(verb, "small.toml")
    assert f"0 of {outcome['rows']} rows new" in told.out
    assert f"lake:   {small.lake}" in told.out.splitlines() and told.err == ""
    assert ("report: " in told.out) == (verb == "run")


def test_the_demo_ends_with_its_numbers_and_the_way_of_one_to_its_bytes(
    say: Say, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    def quick(folder: Path, n_workers: int, console: Any) -> runs.Outcome:
        return runs.run(small.recipe, runs.Setup(small.lake, small.roots, "cpu", n_workers), "run", console)

    monkeypatch.setattr(runs, "demo", quick)
    told = say("demo").out
    assert told.index("rows new") < told.index("scores on the test part") < told.index("one number, traced: wf1")
    assert say("demo", "--json").json["trace"][-1]["what"] == "raw file"


def test_a_plan_is_a_table_or_json_and_changes_nothing(say: Say, small: Small, tmp_path: Path) -> None:
    before = contents(small.lake)
    steps = say("plan", "small.toml", "--json").json
    assert {step["new"] for step in steps} == {0}
    assert {step["step"] for step in steps} > {"align pocketsphinx", "report"}
    lines = say("plan", "small.toml").out.splitlines()
    assert lines[0].split() == ["step", "rows", "new", "why"]
    assert len(lines) == len(steps) + 2 and lines[-1] == f"0 of {sum(s['rows'] for s in steps)} rows new"
    longer = tmp_path / "longer.toml"
    longer.write_text(small.recipe.read_text().replace("epochs = 2", "epochs = 3", 1))
    missing = {step["step"]: step["why"] for step in say("plan", str(longer), "--json").json if step["new"]}
    assert missing == {"fit language": ["params.fit.epochs: 3 instead of 2"]}
    assert re.search(r"fit teacher +\? +\? +waits for: fit language", say("plan", str(longer)).out)
    assert contents(small.lake) == before
