"""The command about the papers' tables, in this process."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flows import cli
from flows.papers import paper_tables

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """`emolake …` where there is no lake: exit code, stdout and stderr."""
    monkeypatch.delenv("EMOLAKE_LAKE", raising=False)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["emolake", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), *capsys.readouterr()

    return call


def test_without_a_name_the_tables_are_listed(say: Say) -> None:
    code, out, _ = say("table")
    assert code == 0 and [line.split()[0] for line in out.splitlines()] == ["table", *paper_tables()]
    assert [row["table"] for row in json.loads(say("table", "--json")[1])] == list(paper_tables())


def test_a_table_needs_no_lake(say: Say) -> None:
    code, out, err = say("table", "krishna-1")
    assert (code, err) == (0, "")
    assert out.startswith("Krishna 2021, table 1: Systems that hear and read\n")
    assert "krishna: frozen" in out and "not planned: there is no lake" in out
    content = json.loads(say("table", "krishna-1", "--json")[1])
    assert content["table"] == "krishna-1" and content["recipes"][0]["n_missing"] == 15


def test_a_lake_that_is_none_is_a_mistake_if_it_was_named(say: Say) -> None:
    code, out, err = say("table", "krishna-1", "--lake", "nowhere")
    assert (code, out) == (1, "") and "nowhere is no lake" in err


def test_a_name_that_is_no_table_is_one_sentence(say: Say) -> None:
    code, out, err = say("table", "krishna-3")
    assert (code, out) == (1, "")
    assert re.match(r"emolake: no table 'krishna-3'; did you mean 'krishna-[12]'\? \(there are: cmd-3, ", err)
