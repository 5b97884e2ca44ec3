from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from flows import app as parts
from flows.app import INTERRUPTED, command, complain, console_for, print_rows, warehouse_of
from warehouse import Warehouse


def test_a_command_gets_its_example_and_ctrl_c_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer()
    app.command("other")(lambda: None)
    monkeypatch.setattr(parts, "app", app)

    @command("emolake wait 3")
    def wait() -> None:
        """Wait for ever."""
        raise KeyboardInterrupt

    runner = CliRunner()
    assert "Example: emolake wait 3" in runner.invoke(app, ["wait", "--help"]).stdout
    stopped = runner.invoke(app, ["wait"])
    assert stopped.exit_code == INTERRUPTED
    assert "interrupted: what was finished is kept, and the same command continues there" in stopped.output


def test_ctrl_c_within_a_query_is_an_interruption_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB then raises an error of its own; another one of that class is none."""
    app = typer.Typer()
    app.command("other")(lambda: None)
    monkeypatch.setattr(parts, "app", app)

    @command("emolake count")
    def count() -> None:
        raise RuntimeError("Query interrupted")

    @command("emolake fail")
    def fail() -> None:
        raise RuntimeError("no query")

    stopped, failed = (CliRunner().invoke(app, [name]) for name in ("count", "fail"))
    assert stopped.exit_code == INTERRUPTED and "interrupted: what was finished is kept" in stopped.output
    assert str(failed.exception) == "no query"


def test_the_name_of_a_model_is_no_emoji(capsys: pytest.CaptureFixture[str]) -> None:
    console_for(False).print("sweep:sound: mean of 5 fits")
    complain("no model 'sweep:sound:'")
    assert capsys.readouterr() == ("sweep:sound: mean of 5 fits\n", "emolake: no model 'sweep:sound:'\n")


def test_rows_are_json_or_a_table_or_the_word_for_none(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([{"a": 1}], ["a"], True)
    assert json.loads(capsys.readouterr().out) == [{"a": 1}]
    print_rows([{"a": 1, "b": "x"}], ["b"], False)
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [["b"], ["x"]]
    print_rows([], ["a"], False, none="nothing odd")
    assert capsys.readouterr().out == "nothing odd\n"


def test_people_read_stderr_where_stdout_is_json() -> None:
    assert console_for(True).stderr and not console_for(False).stderr


def test_the_lake_that_is_named_or_the_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = Warehouse(tmp_path / "named", create=True)
    environments = Warehouse(tmp_path / "environments", create=True)
    monkeypatch.setenv("EMOLAKE_LAKE", str(environments.root))
    assert warehouse_of(named.root).root == named.root
    assert warehouse_of(None).root == environments.root
