"""The strict check of OpenSubtitles: both layouts, every trap, and the one published count."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from features.corpora.opensubtitles import OpenSubtitles
from features.releases.opensubtitles_check import ANOMALIES, PUBLISHED
from features.sandbox import opensubtitles
from features.sandbox.opensubtitles import ALIGNMENT, DOCUMENTS, MOSES, TEXT
from features.sandbox.traps.opensubtitles import DOCUMENT_TRAPS, MOSES_TRAPS
from warehouse.errors import EmolakeError, MissingFolder

PROBLEMS = {
    "missing_part": "neither a text such as OpenSubtitles.en-zh_cn.en nor documents such as en/<year>/<film>/ are",
    "two_layouts": "OpenSubtitles.en-zh_cn.en and documents in 'en/' are there: only the former is checked",
    "unequal_lines": "it has 240 lines, but OpenSubtitles.en-zh_cn.en has 241",
    "malformed_ids": "1 lines are not two documents and two lists of sentences (first: line 1)",
    "not_utf8": "1 lines are not UTF-8 (first: line ",
    "broken_text": "1 lines hold control or replacement characters (first: line ",
    "malformed_document": "it cannot be unpacked (Compressed file ended before",
    "declared_entity": "it declares the entity 'a', which no document of OPUS does",
    "foreign_entity": "it refers to the entity 'hellip', which only another file could declare: it is not read",
    "empty_document": "it has no sentence",
    "malformed_alignment": "a link of 1968/62622/5157083 has not two sides ('2')",
    "missing_document": "it names 1968/62622/1.xml, which is not there",
    "missing_sentence": "it names sentence '900' of 1968/62622/5157083.xml, which has none",
    "misnamed_file": "its name is not UTF-8: rename it",
}
CASES = [(MOSES, *trap) for trap in MOSES_TRAPS.items()] + [(DOCUMENTS, *trap) for trap in DOCUMENT_TRAPS.items()]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("opensubtitles")
    opensubtitles.write(root)
    return root


@pytest.mark.parametrize("layout", [MOSES, DOCUMENTS])
def test_a_clean_tree_is_clean(root: Path, layout: str) -> None:
    findings = OpenSubtitles().check(root / layout, opensubtitles.expected(layout))
    assert findings.is_clean and findings.anomalies == []
    assert [count for count in findings.counts if count.expected is None] == []
    counts = {count.what: count.found for count in findings.counts}
    whole = counts.pop("lines" if layout == MOSES else "sentences")
    assert sum(n for what, n in counts.items() if what not in ("documents", "films")) == whole
    assert json.loads(json.dumps(findings.as_json()))["clean"] is True


@pytest.mark.parametrize(("layout", "name", "plant"), CASES)
def test_a_planted_trap_is_found_and_nothing_else(
    root: Path, tmp_path: Path, layout: str, name: str, plant: Callable[[Path], None]
) -> None:
    tree = Path(shutil.copytree(root / layout, tmp_path / layout))
    plant(tree)
    findings = OpenSubtitles().check(tree, opensubtitles.expected(layout))
    (anomaly,) = findings.anomalies
    assert anomaly.name == name and PROBLEMS[name] in anomaly.problem and not anomaly.known
    assert not findings.is_clean and str(tree) not in repr(findings)
    json.dumps(findings.as_json(), ensure_ascii=False).encode()


def test_every_anomaly_has_its_trap() -> None:
    assert MOSES_TRAPS.keys() | DOCUMENT_TRAPS.keys() == ANOMALIES.keys() == PROBLEMS.keys()


def test_what_is_there_and_empty_is_missing(root: Path, tmp_path: Path) -> None:
    (tmp_path / "xml" / "en" / "1968" / "1").mkdir(parents=True)
    (anomaly,) = OpenSubtitles().check(tmp_path).anomalies
    assert (anomaly.name, anomaly.problem) == ("missing_part", "its folder holds no document")
    shutil.rmtree(tmp_path / "xml")
    (tmp_path / "OpenSubtitles.de-en.en").touch()
    (anomaly,) = OpenSubtitles().check(tmp_path).anomalies
    assert (anomaly.name, anomaly.problem) == ("missing_part", "it has no line")


def test_the_published_count_is_that_of_one_text(root: Path, tmp_path: Path) -> None:
    (found,) = [c for c in OpenSubtitles().check(root / MOSES).counts if c.difference]
    assert (found.what, found.expected, found.found) == ("lines", PUBLISHED["lines"], 241)
    shutil.copy(root / MOSES / TEXT, tmp_path / "OpenSubtitles.de-en.en")
    assert {count.expected for count in OpenSubtitles().check(tmp_path).counts} == {None}


def test_evaluation_lines_are_counted(root: Path, tmp_path: Path) -> None:
    tree = Path(shutil.copytree(root / MOSES, tmp_path / MOSES))
    (tree / "test.txt").write_text("YES!\n")
    counts = {c.what: c.found for c in OpenSubtitles(without=("test.txt",)).check(tree).counts}
    clean = opensubtitles.expected(MOSES)
    assert counts["lines, evaluation lines"] == clean["lines, duplicates"] + 1
    assert (counts["lines, duplicates"], counts["lines, kept"]) == (0, clean["lines, kept"] - 1)


def test_only_what_is_aligned_counts_where_an_alignment_is_given(root: Path, read_all) -> None:
    reader = OpenSubtitles(alignment=ALIGNMENT)
    findings = reader.check(root / DOCUMENTS)
    counts = {count.what: count.found for count in findings.counts}
    assert findings.is_clean and counts["sentences"] == len(opensubtitles.plan(0))
    n_documents = len(opensubtitles.FILMS)
    assert counts["sentences, not aligned"] == n_documents * (opensubtitles.N_LINES // 5)
    assert counts["sentences, kept"] == len(read_all(reader, root / DOCUMENTS).utterances)
    assert OpenSubtitles(alignment=f"./{ALIGNMENT}").check(root / DOCUMENTS) == findings


@pytest.mark.parametrize(("layout", "name", "plant"), [case for case in CASES if case[1] != "misnamed_file"])
def test_as_many_are_kept_as_are_read(
    root: Path, tmp_path: Path, read_all, layout: str, name: str, plant: Callable[[Path], None]
) -> None:
    """In trees with traps, too, where they can be read at all; a line of no known document is a failure there. A name
    that is not UTF-8 is refused before, when files are recorded."""
    tree = Path(shutil.copytree(root / layout, tmp_path / layout))
    plant(tree)
    counts = {count.what: count.found for count in OpenSubtitles().check(tree).counts}
    try:
        n_read = len(read_all(OpenSubtitles(), tree).utterances)
    except EmolakeError:
        assert name in ("missing_part", "two_layouts", "unequal_lines")
        return
    what = "lines" if layout == MOSES else "sentences"
    assert counts[f"{what}, kept"] - (name == "malformed_ids") == n_read


def test_a_root_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(MissingFolder, match="OpenSubtitles is not at"):
        OpenSubtitles().check(tmp_path / "nowhere")
