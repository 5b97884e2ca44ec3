"""The page and the tables for the terminal: whole, harmless, and the same whenever they are made."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from rich.console import Console

from flows import plots
from flows.leaks import Leak, Leakage
from flows.report import html_report, terminal_tables
from tests.flows.reported import LABELLED, LOSO, content_of, prediction
from warehouse.hashing import canonical_json
from warehouse.schema import UTTERANCES

FIGURES = (
    "fold_dots", "confusion_matrices", "reliability_diagrams", "learning_curves", "class_bars", "duration_histograms",
)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def drawn_once() -> Iterator[None]:
    """The same numbers are drawn once for all tests here, half a second for a page: that they are always the same
    figure is for `test_plots`."""
    found: dict[bytes, str] = {}

    def once(name: str, draw: Callable[[Any], str]) -> Callable[[Any], str]:
        def drawn(numbers: Any) -> str:
            key = name.encode() + canonical_json(numbers)
            if key not in found:
                found[key] = draw(numbers)
            return found[key]

        return drawn

    with pytest.MonkeyPatch.context() as patch:
        for name in FIGURES:
            patch.setattr(plots, name, once(name, getattr(plots, name)))
        yield


class _Page(HTMLParser):
    """Tags that are open, text, and whatever would be fetched."""

    VOID = frozenset({"meta", "br", "img", "link", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href") and value]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_page_is_one_file_and_says_everything() -> None:
    page = _Page(html_report(content_of()))
    assert page.open == []
    assert all(reference.startswith("#") for reference in page.fetched)
    assert "script" not in page.tags and "link" not in page.tags
    words = re.sub(r"\s+", " ", page.words)
    for said in (
        "A title & <more>", "<script>alert(1)</script>", "no word of <it>", "Scripts repeat over sessions.",
        "ab" * 16, "cd" * 32, "three-loso: three classes, leave one session out", "session = $next",
        "films-9", "2 × 2", "distilled",
    ):  # fmt: skip
        assert said in words, said
    score = content_of()["scores"][0]
    assert f"{score['mean']:.3f} ± {score['sd']:.3f}" in words
    assert f"{score['pooled']:.3f} [{score['low']:.3f}, {score['high']:.3f}]" in words
    assert page.tags.count("svg") == 6


def test_same_content_same_bytes_and_the_page_needs_the_json_alone() -> None:
    content = content_of()
    assert canonical_json(content) == canonical_json(content_of())
    page = html_report(content)
    assert page == html_report(content_of())
    assert page == html_report(json.loads(canonical_json(content)))
    for trace in (str(Path.cwd()), "Matplotlib", "python"):
        assert trace not in page


def test_the_page_tells_what_the_parts_share_or_that_it_is_nothing() -> None:
    shares = Leak("speaker", "test", "train", 3, 4, 1, 2, examples=(("acted/s",),))
    found = Leakage("three-loso", "A", {"test": 4, "train": 9}, (shares,), "ab" * 32)
    content = content_of(leakages={"plain": [found]})
    sentence = "three-loso: 1 of 2 speakers of test are in train too, with 75 % of the test utterances (3)."
    assert content["shared"] == [sentence] and content["warnings"][0] == sentence
    assert sentence in html_report(content) and "share none of what was looked for" not in html_report(content)
    nothing = html_report(content_of(leakages={"plain": [dataclasses.replace(found, leaks=())]}))
    assert "Train, dev and test share none of what was looked for." in nothing
    assert "<h2>Leakage</h2>" not in html_report(content_of()), "of what was not looked for nothing is said"


def test_the_page_and_the_terminal_tell_calibration(tmp_path: Path) -> None:
    content = content_of()
    row = content["calibration"][0]
    assert row["variant"] == "plain" and row["n"] == content["scores"][0]["n_utterances"]
    words = re.sub(r"\s+", "", _Page(html_report(content)).words)
    assert f"plain{row['brier']:.3f}{row['ece']:.3f}{row['n']}" in words
    path = tmp_path / "report.json"
    path.write_bytes(canonical_json(content))
    table = next(one for one in terminal_tables(path) if one.title == "calibration on the test part")
    assert [str(cell) for column in table.columns for cell in column.cells][::2] == [
        "plain", f"{row['brier']:.3f}", f"{row['ece']:.3f}",
    ]  # fmt: skip


def test_the_page_tells_sizes_where_they_are_known() -> None:
    sizes = {"distilled": {"parameters": 12_345_678, "trained_parameters": 4_000}}
    content = content_of(sizes=sizes)
    assert content["sizes"] == [{"model": "distilled"} | sizes["distilled"]]
    words = re.sub(r"\s+", "", _Page(html_report(content)).words)
    assert "Sizemodelparametersofthemtraineddistilled123456784000" in words
    assert "<h2>Size</h2>" not in html_report(content_of())


def test_the_size_that_a_paper_prints_stands_beside_ours(tmp_path: Path) -> None:
    ours = {"parameters": 12_345_678, "trained_parameters": 4_000}
    told = {"printed": "≈ 13 M", "citation": "Somebody 2020", "remark": "Theirs counts <more>."}
    content = content_of(sizes={"plain": ours, "distilled": ours | told})
    page = _Page(html_report(content)).words
    words = re.sub(r"\s+", "", page)
    assert "trainedthepaper'splain123456784000distilled123456784000≈13M(Somebody2020)" in words
    assert page.count("Theirs counts <more>.") == 1
    path = tmp_path / "report.json"
    path.write_bytes(canonical_json(content))
    *_, sizes, warnings = [one for one in terminal_tables(path) if one.title in (None, "the papers' own sizes")]
    assert [str(cell) for column in sizes.columns for cell in column.cells] == [
        "distilled", "Somebody 2020", "≈ 13 M", "12,345,678", "4,000",
    ]  # fmt: skip
    assert "Papers: Theirs counts <more>." in [str(cell) for cell in warnings.columns[0].cells]
    path.write_bytes(canonical_json(content_of(sizes={"plain": ours})))
    assert not [one for one in terminal_tables(path) if one.title == "the papers' own sizes"]


def test_a_selection_is_shown_title_by_title() -> None:
    whole = {"n_utterances": 40, "n_selected": 30, "hours": 0.5, "classes": {"angry": 10, "sad": 20}}
    title = {"title": "Old <House>", "n_utterances": 40, "n_selected": 30, "hours": 0.5, "classes": {"sad": 30}}
    page = _Page(html_report(content_of(selections=[whole | {"selection": "salient", "titles": [title]}])))
    told = re.sub(r"\s+", "", page.words)
    assert "Selection:salienttitleutteranceschosenhoursangrysad" in told
    assert "alltitles40300.501020" in told and "Old<House>40300.50030" in told


def test_a_model_selected_on_test_is_stamped(tmp_path: Path) -> None:
    content = content_of(protocols={"plain": LOSO, "distilled": LOSO | {"selected_on": "test"}})
    stamp = "Model 'distilled', or one it learned from, was selected on the test part: its numbers are test-selected."
    assert stamp in content["warnings"] and content["stamps"] == {"distilled": "test-selected"}
    assert {row["variant"]: row["selected_on"] for row in content["scores"]} == {"plain": "dev", "distilled": "test"}
    page = html_report(content)
    assert 'class="test">test<' in page
    assert page.count("distilled (test-selected)") == 3, "scores, F1 and calibration; figures hold no text"
    assert "plain (test-selected)" not in page
    (tmp_path / "report.json").write_bytes(canonical_json(content))
    console = Console(width=100, record=True, file=io.StringIO())
    for table in terminal_tables(tmp_path / "report.json"):
        console.print(table)
    printed = console.export_text()
    assert "scores on the test part of three-loso, selected on test: test-selected" in printed
    assert "distilled (test-selected)" in printed
    assert "test-selected" not in html_report(content_of())


def test_a_report_of_almost_nothing() -> None:
    nothing = pa.Table.from_pylist([prediction("plain", "A", 0, 0, None, "sad")])
    content = content_of(
        predictions=nothing, protocols={"plain": LOSO}, utterances=UTTERANCES.empty_table(), failures=[], trace=[],
        labels=LABELLED.slice(0, 0), caveats=[], histories={"plain": {"fold A": "epoch,train_loss\n"}},
    )  # fmt: skip
    assert content["warnings"] == ["Model 'plain' has no labelled test predictions, so it has no scores."]
    page = _Page(html_report(content))
    assert "There are no labelled test predictions." in page.words
    assert "Every utterance could be treated in every step." in page.words
    assert "svg" not in page.tags


def test_a_title_stands_on_one_line_above_a_narrower_table(tmp_path: Path) -> None:
    own = pa.Table.from_pylist([prediction("x", "A", 0, 0, "sad", "sad")])
    path = tmp_path / "report.json"
    path.write_bytes(canonical_json(content_of(predictions=own, protocols={"x": LOSO}, histories={})))
    console = Console(width=80, record=True, file=io.StringIO())
    for table in terminal_tables(path):
        console.print(table)
    assert "calibration on the test part" in console.export_text()


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_shows_whole_numbers_and_colours_on_a_terminal_only(tmp_path: Path, width: int) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(canonical_json(content_of(title="t", caveats=["[bold]mind[/bold] this"])))
    pipe = Console(width=width, force_terminal=False, record=True, file=(tmp_path / "out").open("w", encoding="utf-8"))
    for table in terminal_tables(path):
        pipe.print(table)
    printed = pipe.export_text(styles=True)
    pipe.file.close()
    assert (tmp_path / "out").read_text(encoding="utf-8").find("\x1b") == -1
    score = content_of()["scores"][0]
    assert f"{score['mean']:.3f} ± {score['sd']:.3f}" in re.sub(r"\x1b\[[\d;]*m", "", printed)
    assert "[bold]mind[/bold] this" in printed
    assert "scores on the test part of three-loso, selected on dev" in printed
    assert max(len(line) for line in (tmp_path / "out").read_text(encoding="utf-8").splitlines()) <= width
