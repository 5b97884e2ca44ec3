"""Of the commands only the one that is asked for is imported, and what it does not need is not."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer.main

from flows.commands import COMMANDS, app, load
from tests.flows.saying import saying
from tests.sparing import first
from tests.warehouse.small_lake import small_lake

HOUSE = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "prefect", "pandas", "transformers", "av", "opensmile", "ray", "dask", "lightning", "jiwer"}
"""What no question about a lake needs."""


def imported(*arguments: str) -> set[str]:
    """The modules that a process has imported which was asked this, by their full names."""
    code = f"import sys\nsys.argv = {['emolake', *arguments]}\nfrom flows.__main__ import main\ntry:\n    main()\n"
    code += "except SystemExit:\n    pass\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], cwd=HOUSE, capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_the_list_of_commands_imports_none() -> None:
    found = imported("--help")
    assert not found & {"warehouse", "pydantic", "rich", "numpy", "flows.app"}


@pytest.mark.parametrize(
    ("command", "module", "also_without"),
    first(2, [
        ("lineage", "flows.audit.cli_lineage", {"flows.run", "features", "flows.recipe", "duckdb"}),
        ("plan", "flows.cli_line", {"flows.pipeline", "asyncio", "duckdb", "pyarrow.compute"}),
        ("ls", "flows.cli_artifacts", {"duckdb", "flows.run", "features", "flows.recipe"}),
        ("sql", "flows.audit.cli_catalog", {"flows.run", "features", "flows.recipe"}),
    ]),
)  # fmt: skip
def test_a_command_is_imported_without_what_it_does_not_need(command: str, module: str, also_without: set[str]) -> None:
    found = imported(command, "--help")
    assert {name for name in found if ".cli_" in name} == {module}
    assert not found & (HEAVY | also_without)


@pytest.mark.parametrize(
    "asked",
    first(1, [
        ["purge", "--utterance", "u2"], ["lineage", "u2"], ["lineage", "u2", "--down"],
        ["sql", "SELECT * FROM features_made JOIN utterances ON input_id = audio_id"],
    ]),
)  # fmt: skip
def test_a_question_to_a_lake_imports_no_pandas(tmp_path: Path, asked: list[str]) -> None:
    """Which Arrow imports with its data sets, and when it makes an array of a list: a third of a second."""
    small = small_lake(tmp_path / "lake")
    small.lake.set_ref("features/made", {"plugin_key": small.lake.artifacts("features")[0].request.plugin_key})
    found = imported(*asked, "--lake", str(small.lake.root))
    assert "duckdb" in found and "pandas" not in found


def test_each_module_has_just_the_commands_that_the_table_says() -> None:
    load(COMMANDS)
    group = typer.main.get_group(app)
    functions = {name: command.callback for name, command in group.commands.items()}
    assert {name: function.__wrapped__.__module__ for name, function in functions.items()} == {
        name: module for name, (module, _) in COMMANDS.items()
    }
    rooms = [path for folder in ("flows", "flows/audit") for path in (HOUSE / folder).glob("cli_*.py")]
    modules = {".".join(path.relative_to(HOUSE).with_suffix("").parts) for path in rooms}
    assert modules == {module for module, _ in COMMANDS.values()} == {import_module(m).__name__ for m in modules}


def test_what_a_command_does_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [line for _, line in COMMANDS.values()]
    assert all(line[0].isupper() and line.endswith(".") and len(line) <= 60 for line in lines)
    shown = saying(monkeypatch, capsys)("--help").out
    assert all(f" {line}\n" in shown for line in lines)


def test_of_a_name_that_no_command_has_the_nearest_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = saying(monkeypatch, capsys)("lineagee")
    assert said.code == 2 and "No such command 'lineagee'. Did you mean 'lineage'" in said.err
