"""The strict check of XED: the real files, a tree of the same size, and every trap."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from features.check import Findings
from features.corpora.xed import Xed
from features.releases.xed_check import ANOMALIES, PUBLISHED
from features.sandbox import xed
from features.sandbox.traps.xed import TRAPS

PROBLEMS = {
    "missing_part": "'neu_en.txt' is not there (looked 3 folders deep)",
    "misnamed_file": "its name is not UTF-8: rename it",
    "malformed_file": "it is not UTF-8 (invalid start byte at byte ",
    "other_line_ends": "1 lines do not end in CR LF",
    "blank_line": "line 2 is blank",
    "malformed_line": "line 2 is not 9, a tab and the text",
    "unknown_label": "line 2 has the unknown label '0'",
    "repeated_label": "has a label twice: 5, 5",
    "repeated_text": "line 2 has the text of line 1",
    "broken_text": "holds the character U+FFFD",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("xed") / xed.FOLDER
    xed.write(root)
    return root


@pytest.fixture(scope="module")
def clean(root: Path) -> Findings:
    return Xed().check(root)


def test_the_published_files_have_the_published_counts(real: Path) -> None:
    findings = Xed().check(real / "xed")
    assert [count for count in findings.counts if count.difference or count.expected is None] == []
    assert [(a.name, a.where, a.known) for a in findings.anomalies] == [("blank_line", "neu_en.txt", True)]
    assert findings.is_clean


def test_the_counts_are_those_of_the_public_list(real: Path) -> None:
    listed = json.loads((real / "expected_counts.json").read_text())["xed_en"]
    assert {
        "lines, annotated": listed["annotated_rows"], "lines of one label, annotated": listed["single_label_rows"],
        "lines, neutral": listed["neutral_lines"], "texts, neutral": listed["neutral_unique"],
        **listed["label_occurrences"],
    }.items() <= PUBLISHED.items()  # fmt: skip


def test_a_tree_of_the_published_size_is_clean(clean: Findings) -> None:
    assert [count for count in clean.counts if count.difference or count.expected is None] == []
    assert [(a.name, a.problem, a.known) for a in clean.anomalies] == [("blank_line", "line 74 is blank", True)]
    assert json.loads(json.dumps(clean.as_json()))["clean"] is True


@pytest.mark.parametrize("name", TRAPS)
def test_a_planted_trap_is_found_and_nothing_else(name: str, root: Path, clean: Findings, tmp_path: Path) -> None:
    tree = Path(shutil.copytree(root, tmp_path / "XED"))
    TRAPS[name](tree)
    findings = Xed().check(tree)
    added = [anomaly for anomaly in findings.anomalies if anomaly not in clean.anomalies]
    lost = [anomaly for anomaly in clean.anomalies if anomaly not in findings.anomalies]
    assert [anomaly.name for anomaly in added] == [name]
    assert PROBLEMS[name] in added[0].problem and added[0].known == (name == "misnamed_file")
    assert not lost or name == "missing_part"
    assert findings.is_clean == (name == "misnamed_file") and str(tree) not in repr(findings)


def test_every_anomaly_has_its_trap() -> None:
    assert TRAPS.keys() == ANOMALIES.keys() == PROBLEMS.keys()


def test_what_is_counted_can_be_given(root: Path) -> None:
    findings = Xed().check(root, {"joy": 1})
    assert {count.what: count.difference for count in findings.counts if count.difference} == {"joy": 2832}
