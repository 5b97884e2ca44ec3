from __future__ import annotations

from pathlib import Path

import pytest

from tests.flows.audit.lent import lent_lake
from tests.flows.saying import saying


def test_two_tables_or_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    say, lake = saying(monkeypatch, capsys), str(lent_lake(tmp_path / "lake").lake.root)
    told = say("contamination", "mine:best", "--lake", lake)
    assert told.code == 0
    declared, _, measured = told.out.partition("measured in this lake")
    assert "LibriSpeech 960 h" in declared and "their words and sounds were not compared" in declared
    (outside,) = [line for line in measured.splitlines() if line.startswith("w2v")]
    assert outside.split().count("unknown") == 8
    found = say("contamination", "mine:best", "--lake", lake, "--json").json
    assert found["unknown"] == ["w2v"] and {one["protocol"] for one in found["measured"]} == {"p", "q"}
    assert found["declared"][0]["source"].startswith("Baevski et al. 2020")
    wrong = say("contamination", "mine:worst", "--lake", lake)
    assert wrong.code == 1 and "no model with fits in the report of 'mine' 'worst'" in wrong.err
