from __future__ import annotations

from functools import cache
from pathlib import Path
from statistics import fmean

import pytest

from flows.papers import (
    PAPERS,
    PaperTable,
    Part,
    Row,
    figures_of,
    paper_table,
    paper_tables,
    printed_for,
    read_paper,
    sizes_beside,
    with_ours,
)
from flows.recipe import Recipe, read_recipe, recipe_path
from warehouse.errors import InvalidField, MalformedSource, UnknownName

TABLES = (
    "cmd-3", "cmd-4", "cmd-5", "cmd-6", "krishna-1", "krishna-2", "mced-4", "mced-5", "mced-6", "mced-7", "mmer-1",
    "zhao-1", "zhao-2", "zhao-3",
)  # fmt: skip
GOOD = """
name = "mine"
citation = "Somebody 2020"
caveats = ["of the paper"]

[tables.2]
title = "A table"
caveats = ["of the table"]

[[tables.2.parts]]
recipe = "demo"
metrics = ["uar", "wf1"]
printed = { uar = "UA" }
rows = [
    { row = "a", model = "distilled", figures = [0.5, nan], sd = [0.1, nan] },
    { row = "b", figures = [0.5, 0.25], without = "another paper's system" },
]
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def rows(name: str) -> list[tuple[Part, Row]]:
    return [(part, row) for part in paper_table(name).parts for row in part.rows]


@cache
def recipe_of(name: str) -> Recipe:
    return read_recipe(recipe_path(name))


# -- what is shipped -------------------------------------------------------------------------------------------------


def test_every_table_is_there_and_named_after_its_paper() -> None:
    assert tuple(paper_tables()) == TABLES
    assert {name.partition("-")[0] for name in TABLES} == {path.stem for path in PAPERS.glob("*.toml")}


@pytest.mark.parametrize("name", TABLES)
def test_a_row_is_made_by_what_a_shipped_recipe_has_or_says_why_not(name: str) -> None:
    for part, row in rows(name):
        if row.without:
            continue
        recipe = recipe_of(row.recipe)
        if row.feature:
            assert row.corpus in recipe.features[row.feature].corpora and part.metrics == ["cer", "wer"]
            continue
        if row.stream:
            assert recipe.report is not None and row.model in recipe.report.explain
            assert part.metrics == ["share", "tokens"]
            continue
        assert recipe.report is not None and row.model in recipe.report.names, (recipe.name, row.model)
        assert {*part.metrics, *part.beside} <= set(recipe.protocol(row.model).metrics), (recipe.name, row.model)


@pytest.mark.parametrize("name", TABLES)
def test_what_is_a_share_lies_between_0_and_1(name: str) -> None:
    for part, row in rows(name):
        pairs = zip(part.metrics, figures_of(row), strict=True)
        shares = [figure for metric, (figure, _) in pairs if metric != "tokens" and figure is not None]
        assert all(0 <= share <= 1 for share in shares), row.row


@pytest.mark.parametrize("name", ["cmd-3", "cmd-4"])
def test_the_macro_f1_of_cmd_is_the_mean_of_its_four_classes(name: str) -> None:
    """Copied wrongly, a figure would not fit the others of its row."""
    for part, row in rows(name):
        figures = dict(zip(part.metrics, row.figures, strict=True))
        assert figures.pop("macro_f1") == pytest.approx(fmean(figures.values()), abs=1.1e-4), row.row


def test_the_shares_of_the_two_streams_add_up() -> None:
    shares = [row.figures[0] for _, row in rows("cmd-6")]
    assert [a + b for a, b in zip(shares[::2], shares[1::2], strict=True)] == pytest.approx([1.0, 1.0, 1.0])


def test_no_two_rows_of_a_part_have_one_name() -> None:
    for table in paper_tables().values():
        for part in table.parts:
            assert len({row.row for row in part.rows}) == len(part.rows), (table.name, part.name)


def test_a_size_is_of_models_that_a_shipped_recipe_reports() -> None:
    sizes = [size for table in paper_tables().values() for size in table.sizes]
    for size in sizes:
        for name in size.recipes:
            report = recipe_of(name).report
            assert report is not None and set(size.models) <= set(report.names), (name, size.printed)
    assert {size.printed for size in sizes} == {"5 M + 24 M", "5 M", "24 M", "≈ 228 M"}


# -- reading ---------------------------------------------------------------------------------------------------------


def test_a_row_takes_what_its_part_says_and_a_table_what_its_paper_says(tmp_path: Path) -> None:
    [table] = read_paper(write(tmp_path, GOOD))
    assert isinstance(table, PaperTable)
    assert (table.name, table.citation, table.caveats) == ("mine-2", "Somebody 2020", ["of the table", "of the paper"])
    [part] = table.parts
    assert [(row.recipe, row.model, row.without) for row in part.rows] == [
        ("demo", "distilled", ""), ("demo", "", "another paper's system"),
    ]  # fmt: skip
    assert figures_of(part.rows[0]) == [(0.5, 0.1), (None, None)]
    assert figures_of(part.rows[1]) == [(0.5, None), (0.25, None)]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('title = "A table"', 'titel = "A table"', r"paper 'mine': field 'tables\.2\.titl?el?' is wrong: "),
        ('metrics = ["uar", "wf1"]', "metrics = 3", r"field 'tables\.2\.parts\.0\.metrics' is wrong: input should be"),
        ('name = "mine"', 'name = "other"', "field 'name' is 'other', but the file is mine.toml"),
        ("figures = [0.5, 0.25]", "figures = [0.5]",
         "paper 'mine', table 2, row 'b': field 'figures' are 1, but the table has 2: uar, wf1"),
        ("sd = [0.1, nan]", "sd = [0.1]", "row 'a': field 'sd' are 1, but the row has 2 figures"),
        ('model = "distilled", ', "", "row 'a': field 'model' must say what makes the row, or else `feature` or"),
        ('model = "distilled", ', 'model = "distilled", without = "x", ', "row 'a': field 'model' must say what makes"),
        ('recipe = "demo"\n', "", "row 'a': field 'recipe' must be given, for the row or its part"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert old in GOOD
    with pytest.raises(InvalidField, match=sentence):
        read_paper(write(tmp_path, GOOD.replace(old, new)))


def test_what_is_no_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MalformedSource, match=r"mine\.toml: is not TOML"):
        read_paper(write(tmp_path, "name = "))


def test_an_unknown_table_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"no table 'cmd-33'; did you mean 'cmd-3'\? \(there are: cmd-3, cmd-4, "):
        paper_table("cmd-33")


# -- beside a report -------------------------------------------------------------------------------------------------


def test_what_is_printed_for_the_models_of_a_recipe() -> None:
    printed = printed_for("mmer", ["heard", "mmer", "released"])
    assert [(row["model"], row["table"], row["metric"], row["printed"], row["figure"]) for row in printed["rows"]] == [
        ("heard", "mmer-1", "accuracy", "WA", 0.75), ("mmer", "mmer-1", "accuracy", "WA", 0.812),
    ]  # fmt: skip
    assert any("test-selected" in sentence for sentence in printed["caveats"])
    assert len(printed["caveats"]) == len(set(printed["caveats"]))


def test_a_model_of_several_tables_has_each_of_its_figures() -> None:
    found = printed_for("mced", ["iemocap_mced"])["rows"]
    assert [(row["table"], row["metric"]) for row in found] == [
        ("mced-5", "uar"), ("mced-6", "uar"), ("mced-6", "macro_f1"),
    ]  # fmt: skip


def test_other_recipes_have_nothing_printed() -> None:
    assert printed_for("demo", ["distilled"]) == {"rows": [], "caveats": []}
    assert with_ours(None, []) == {"rows": [], "caveats": []}


def test_ours_are_the_scores_of_the_same_model_and_metric() -> None:
    scores = [
        {"variant": "mmer", "metric": "accuracy", "mean": 0.7, "sd": 0.1},
        {"variant": "mmer", "metric": "uar", "mean": 0.6, "sd": None},
    ]
    rows = with_ours(printed_for("mmer", ["mmer", "audio"]), scores)["rows"]
    assert [(row["model"], row["ours"], row["ours_sd"]) for row in rows] == [("mmer", 0.7, 0.1), ("audio", None, None)]


def test_the_size_that_a_paper_prints_stands_beside_ours() -> None:
    ours = {"parameters": 118_023_072, "trained_parameters": 113_822_624}
    found = sizes_beside("mmer", {"mmer": ours, "audio": ours})
    assert found["audio"] == ours, "nothing is printed"
    remark = found["mmer"].pop("remark")
    assert found["mmer"] == ours | {"printed": "≈ 228 M", "citation": "Ghosh et al. 2023"}
    assert "124,055,040" in remark and "227,910,816" in remark
    assert sizes_beside("demo", {"mmer": ours}) == {"mmer": ours}, "a model of the same name in another recipe"
