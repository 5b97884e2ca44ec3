from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flows import papers
from flows.paper_table import table, table_list, terminal_tables
from flows.papers import paper_tables
from tests.flows.partly import lake_copy
from tests.flows.small import Small
from warehouse import Warehouse
from warehouse.errors import UnknownName

PAPER = """
name = "mine"
citation = "Somebody 2020"
caveats = ["Its split is unknown."]

[tables.1]
title = "What the small recipe makes"

[[tables.1.parts]]
name = "MELD"
recipe = "{recipe}"
metrics = ["uar", "wf1"]
printed = {{ uar = "UA" }}
beside = ["accuracy"]
rows = [
    {{ row = "theirs", model = "distilled", figures = [0.5, 0.25], sd = [0.125, nan] }},
    {{ row = "other", figures = [0.75, nan], without = "another paper's system" }},
]
"""


@pytest.fixture
def mine(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A paper whose one row the small recipe makes."""
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "mine.toml").write_text(PAPER.format(recipe=small.recipe), encoding="utf-8")
    monkeypatch.setattr(papers, "PAPERS", tmp_path / "papers")
    paper_tables.cache_clear()
    yield
    paper_tables.cache_clear()


def printed(content: dict[str, Any]) -> list[str]:
    console = Console(width=240, no_color=True)
    with console.capture() as caught:
        for one in terminal_tables(content):
            console.print(one)
    return [" ".join(line.split()) for line in caught.get().splitlines()]


def test_ours_are_the_figures_of_the_last_report(small: Small, mine: None) -> None:
    report = json.loads(small.warehouse.resolve("reports/small").path("report.json").read_text(encoding="utf-8"))
    scores = {row["metric"]: row for row in report["scores"]}
    content = table("mine-1", small.warehouse)
    theirs, other = content["parts"][0]["rows"]
    assert [figure["metric"] for figure in theirs["figures"]] == ["uar", "wf1", "accuracy"]
    assert [(figure["paper"], figure["paper_sd"]) for figure in theirs["figures"]] == [
        (0.5, 0.125), (0.25, None), (None, None),
    ]  # fmt: skip
    for figure in theirs["figures"]:
        ours = scores[figure["metric"]]
        assert figure["ours"] == {name: ours[name] for name in figure["ours"]} and figure["ours"]["n_folds"] == 1
    assert other["without"] == "another paper's system" and [one["ours"] for one in other["figures"]] == [None] * 3
    [recipe] = content["recipes"]
    assert (recipe["has_report"], recipe["n_fitted"], recipe["n_missing"], recipe["remark"]) == (True, 4, 0, "")
    assert content["caveats"] == ["Its split is unknown."]


def test_as_a_person_sees_it(small: Small, mine: None) -> None:
    content = table("mine-1", small.warehouse)
    lines = printed(content)
    means = [figure["ours"]["mean"] for figure in content["parts"][0]["rows"][0]["figures"]]
    assert lines[0] == "MELD uar (UA) wf1 accuracy made by"
    assert lines[1] == "theirs paper 0.500 ± 0.125 0.250 –"
    assert lines[2].startswith(f"ours {means[0]:.3f} {means[1]:.3f} {means[2]:.3f} ") and "distilled" in lines[2]
    assert lines[3].startswith("95 % [") and "sandbox5-official, 1 × 1 fits, n = " in lines[3]
    assert lines[4] == "other paper 0.750 – – not here: another paper's system"
    assert lines[5].startswith("recipe report models fitted fits missing epochs at most rows to extract time")
    assert lines[6].endswith("yes 4 of 4 0 of 4 0 0 –")
    assert lines[-2:] == ["keep in mind", "Its split is unknown."]


def test_without_a_lake_ours_are_blank(mine: None) -> None:
    content = table("mine-1")
    assert {figure["ours"] for row in content["parts"][0]["rows"] for figure in row["figures"]} == {None}
    [recipe] = content["recipes"]
    assert not recipe["has_report"] and (recipe["n_fits"], recipe["n_fitted"]) == (4, None)
    lines = printed(content)
    assert lines[2].startswith("ours – – – ")
    assert not any(line.startswith("95 %") for line in lines)
    assert any(line.endswith("no ? of 4 4 of 4 8 ? ? not planned: there is no lake") for line in lines)


def test_a_report_of_another_text_of_the_recipe_says_so(small: Small, mine: None) -> None:
    text = small.recipe.read_text(encoding="utf-8")
    small.recipe.write_text(text + "\n# one more line\n", encoding="utf-8")
    try:
        [recipe] = table("mine-1", small.warehouse)["recipes"]
    finally:
        small.recipe.write_text(text, encoding="utf-8")
    assert recipe["remark"] == "the report in this lake is of another text of this recipe"


def test_what_was_selected_on_test_is_stamped(small: Small, mine: None, tmp_path: Path) -> None:
    warehouse = lake_copy(small, tmp_path)
    path = warehouse.resolve("reports/small").path("report.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    for row in content["scores"]:
        row["selected_on"] = "test"
    path.unlink()  # a link to the small lake's own file
    path.write_text(json.dumps(content), encoding="utf-8")
    stamped = table("mine-1", Warehouse(warehouse.root))
    assert stamped["caveats"][0].startswith("Ours, test-selected: ") and "distilled" in stamped["caveats"][0]
    assert any(line.startswith("95 %") and line.endswith(", test-selected") for line in printed(stamped))


@pytest.mark.parametrize("name", ["cmd-3", "cmd-4", "cmd-5", "cmd-6", "krishna-2", "mced-7", "mmer-1", "zhao-3"])
def test_every_table_prints_with_blanks_where_nothing_has_run(name: str) -> None:
    content = table(name)
    lines = printed(content)
    n_rows = sum(len(part["rows"]) for part in content["parts"])
    n_made = sum(bool(row["made_by"]) for part in content["parts"] for row in part["rows"])
    assert sum(" paper " in f" {line} " for line in lines) >= n_rows
    assert sum(line.startswith("ours –") for line in lines) == n_made
    assert lines.count("keep in mind") == 1


def test_the_tables_are_listed_with_what_makes_them() -> None:
    listed = {row["table"]: row for row in table_list()}
    assert (listed["krishna-1"]["rows"], listed["krishna-1"]["recipes"]) == ("3 of 8", "krishna")
    assert listed["cmd-6"]["rows"] == "6 of 6"


def test_an_unknown_table_is_refused() -> None:
    with pytest.raises(UnknownName, match="no table 'cmd-7'"):
        table("cmd-7")


def test_a_time_that_other_fits_say_is_marked() -> None:
    content = table("krishna-1")
    content["recipes"][0] |= {"unlike": ("a", "b", "c", "d"), "seconds": 60.0}
    told = "time as of fits with other fields or data, so not to be relied on: a, b, c and 1 more"
    assert sum(told in line for line in printed(content)) == 1
    content["recipes"][0] |= {"unlike": ("a",)}
    assert any(line.endswith("so not to be relied on: a") for line in printed(content))
