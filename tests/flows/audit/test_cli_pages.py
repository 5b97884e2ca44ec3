"""`emolake audit`: the page, and the same as JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flows.audit.little import Little
from tests.flows.audit.test_pages import TITLES
from tests.flows.saying import saying


def test_the_page_is_written_and_told_as_json(
    little: Little, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    say = saying(monkeypatch, capsys)
    lake = str(little.warehouse.root)
    said = say("audit", "reports/little", "--lake", lake, "--out", "a.html")
    assert said.out == "Audit of Tones: a.html\n"
    page = Path("a.html").read_text(encoding="utf-8")
    assert all(f"<h2>{title}</h2>" in page for title in TITLES) and page.count("<svg") == 1
    told = say("audit", "reports/little", "--lake", lake, "--out", "a.html", "--json").json
    assert [one["title"] for one in told["sections"]] == list(TITLES)


def test_what_is_no_report_is_refused_in_a_sentence(
    little: Little, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reading = little.warehouse.artifacts("utterances")[0]
    said = saying(monkeypatch, capsys)("audit", reading.key, "--lake", str(little.warehouse.root))
    assert said.code == 1 and "is of kind 'utterances', and a page of audit is about a report" in said.err
