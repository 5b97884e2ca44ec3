"""The audit of a report as a page: each question is answered, and answers change with the lake."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from flows.audit.pages import _anew, _Subject, audit_of
from flows.line import Line
from flows.recipe import read_recipe
from flows.sections import Section
from tests.flows.swept import QUICK, swept_line
from tests.flows.wholly import Wholly
from tests.warehouse.small_lake import small_lake
from warehouse import Warehouse
from warehouse.audit.errors import NoReport
from warehouse.audit.lineage import closure_up
from warehouse.compaction import merge, merge_of
from warehouse.tables import array_cells, array_columns

TITLES = (
    "Where do these numbers come from?", "One number, to its bytes", "Protocols", "Code and environments",
    "What was made anew, and why?", "Is the lake sound?", "Was anybody withdrawn?",
    "Was a test part met before? As declared", "Was a test part met before? As measured", "Whose terms hold?",
    "Have the corpora changed since?", "Can others rebuild it?", "What could go?",
)  # fmt: skip


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    return swept_line(tmp_path_factory.mktemp("swept"), QUICK)


def page_of(warehouse: Warehouse, reference: str = "reports/swept", deep: bool = False) -> dict[str, Section]:
    _, sections = audit_of(warehouse, reference, deep)
    assert all(len(row) == len(one.head) for one in sections for row in one.rows)
    return {one.title: one for one in sections}


def test_every_question_has_its_section(line: Line) -> None:
    title, _ = audit_of(line.warehouse, "reports/swept")
    page = page_of(line.warehouse)
    assert title == "Audit of Two grids and their mean" and tuple(page) == TITLES
    origin = page[TITLES[0]]
    assert origin.rows == [("clips", 19, origin.rows[0][2], 18, "9.0")] and str(origin.figure).startswith("<svg")
    hops = [row[0] for row in page[TITLES[1]].rows]
    assert hops[0] == "prediction" and hops[-1] == "raw file"
    assert page["Protocols"].rows[0][:2] == ("calm2", "speaker_id = $fold")
    assert page["Is the lake sound?"].rows == [] and " 0 faults" in page["Is the lake sound?"].text[0]
    assert page["What was made anew, and why?"].text == ["This lake holds no earlier report of the same recipe."]
    unchanged = page["Have the corpora changed since?"].rows
    assert [row[:2] for row in unchanged] == [("clips", name) for name in ("files", "utterances", "labels")]
    assert all(row[4:] == (0, 0, 0) for row in unchanged)
    assert {row[0] for row in page["Was a test part met before? As measured"].rows} >= {"swept:sound", "swept:words"}


def test_a_second_run_says_what_it_made_anew_and_what_changed(tmp_path: Path) -> None:
    line = swept_line(tmp_path, QUICK)
    first = line.warehouse.resolve("reports/swept")
    table = tmp_path / "clips" / "clips.csv"
    table.write_text(table.read_text().replace("sleep tea snow", "sleep tea rain", 1), encoding="utf-8")
    again = Line(read_recipe(tmp_path / "swept.toml"), line.warehouse, dict(line.roots), Wholly(line.warehouse))
    again.run()
    page = page_of(line.warehouse)
    anew = page["What was made anew, and why?"]
    assert first.key[:12] in anew.text[0]
    steps = {row[0]: row for row in anew.rows}
    assert {"corpora.table", "flows.pack", "students.text_encoder", "flows.report"} <= steps.keys()
    assert "inputs." in steps["students.text_encoder"][3] and "extractors.opensmile" not in steps, "sound is as it was"
    old = page_of(line.warehouse, first.key)
    changed = {row[1]: row[4:] for row in old["Have the corpora changed since?"].rows}
    assert changed == {"files": (0, 0, 1), "utterances": (0, 0, 1), "labels": (0, 0, 0)}
    told = {row[0] for row in old["Was a test part met before? As measured"].rows}
    assert any(re.fullmatch("[0-9a-f]{12}", name) for name in told), "an older report's fits go by keys"


def test_damage_under_a_report_stands_on_its_page(line: Line, tmp_path: Path) -> None:
    lake = Warehouse(shutil.copytree(line.warehouse.root, tmp_path / "lake"))
    features = lake.artifacts("features")[0]
    path = features.path("features.parquet")
    content = bytearray(path.read_bytes())
    content[50] ^= 1
    path.write_bytes(content)
    assert page_of(lake)["Is the lake sound?"].rows == [], "sizes are as they were"
    sound = page_of(lake, deep=True)["Is the lake sound?"]
    assert [row[0] for row in sound.rows] == [features.key[:12]] and sound.rows[0][2] == "yes"
    assert "every byte was hashed again. 1 faults, 1 of them under this report" in sound.text[0]


def test_what_is_no_report_is_refused(line: Line) -> None:
    split = line.warehouse.artifacts("split")[0]
    with pytest.raises(NoReport, match=f"'{split.key}' is of kind 'split', and a page of audit is about a report"):
        audit_of(line.warehouse, split.key)


def test_what_was_merged_is_compared_as_it_was(tmp_path: Path) -> None:
    small = small_lake(tmp_path / "lake")
    made, reports = [], []
    for name in ("early", "late"):
        rows = [{"input_id": name} | array_cells("x", np.ones((1, 1), np.float32))]
        made.append(small.features(name, "extractors.merged", small.utterances, rows, array_columns("x")))

        def write(folder: Path, name: str = name) -> None:
            (folder / "report.json").write_text(name)

        reports.append(
            small.make(f"report {name}", "report", "flows.report", write, {"features": made[-1:]}, recipe='name = "x"')
        )

    def told() -> Sequence[tuple[object, ...]]:
        artifacts = Warehouse(small.lake.root).artifacts()
        return _anew(_Subject(small.lake, reports[1], artifacts, closure_up(artifacts, [reports[1].key]))).rows

    before = told()
    assert ("extractors.merged", made[1].key[:12], made[0].key[:12]) in {row[:3] for row in before}
    merge(small.lake, merge_of(made))
    for one in made:
        shutil.rmtree(one.folder)
    assert sorted(told()) == sorted(before)
