"""`emolake diff` as it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flows.saying import Say, saying
from tests.warehouse.small_lake import MAIN, SmallLake, small_lake, utterance


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    monkeypatch.chdir(tmp_path)
    return saying(monkeypatch, capsys)


def test_a_changed_reading_is_told_by_table_column_and_row(shell: Say, tmp_path: Path) -> None:
    small = small_lake(tmp_path / "lake")
    old = small.utterances
    new = small.reading("main", [MAIN | {"speaker_id": "s2"}, utterance("main", "u7", "New.")], version=2)
    said = shell("diff", old.key, new.key, "--rows", "1")
    assert said.code == 0 and said.err == ""
    lines = [line.split() for line in said.out.splitlines()]
    assert lines[0] == ["table", "before", "after", "added", "removed", "changed"]
    assert any(line[0] == "utterances" and line[3] == "1" and line[5] == "1" for line in lines if line)
    assert ["speaker_id", "1"] in lines and ["added", "u7"] in lines
    assert ["changed", "u1", "speaker_id", "s1", "s2"] in lines
    tables = {one["table"]: one for one in shell("diff", old.key, new.key, "--json").json}
    assert tables["utterances"]["columns"] == [{"column": "speaker_id", "n_rows": 1, "largest": None}]


def test_what_is_the_same_in_another_lake_is_said_to_be(shell: Say, tmp_path: Path) -> None:
    small_lake(tmp_path / "lake")
    small_lake(tmp_path / "other")
    said = shell("diff", "corpora/main", "corpora/main", "--other-lake", "other")
    assert said.code == 0 and said.out.endswith("\nthe same rows\n")


def test_sides_without_a_table_in_common(shell: Say, tmp_path: Path) -> None:
    small: SmallLake = small_lake(tmp_path / "lake")
    said = shell("diff", small.predictions.key, "corpora/main")
    assert said.code == 1 and "name two of which both hold the same table" in said.err
