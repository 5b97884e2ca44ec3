"""Ctrl-C while the command line is still being imported is one sentence, whatever was being imported."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from flows.__main__ import _let_go
from tests.sparing import first

HOUSE = Path(__file__).resolve().parents[2]
PRESSED_WHILE_IMPORTING = """
import signal, sys
class Presser:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Presser())
sys.argv = ["emolake", {command!r}, "--help"]
from flows.__main__ import main
main()
"""


PROBE = """
import signal, sys
from flows import app, commands
from flows.__main__ import main
def probe() -> None:
    "Probes."
    print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
app.command("emolake probe")(probe)
commands.load = lambda names: None
sys.argv = ["emolake", "probe"]
main()
"""


POOL = """
from flows import commands
from flows.__main__ import main
def load(names: list[str]) -> None:
    import pyarrow
    print(pyarrow.default_memory_pool().backend_name)
    raise SystemExit
commands.load = load
main()
"""


PLUGINS = """
from flows import commands
from flows.__main__ import main
def load(names: list[str]) -> None:
    from pydantic.plugin import _loader
    _loader.entry_points = lambda **asked: print("looks at all packages") or []
    from pydantic import BaseModel
    type("Made", (BaseModel,), {})
    raise SystemExit
commands.load = load
main()
"""


def run(code: str, first: str = "true") -> tuple[int, str, str]:
    command = ["sh", "-c", f'{first}; exec "$0" -c "$1"', sys.executable, code]
    done = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("command", "name"),
    first(4, [
        ("ls", "typer"), ("ls", "infra.launch"), ("lss", "duckdb"), ("check", "flows.cli_corpora"),
        ("ls", "numpy"), ("ls", "pydantic"), ("sql", "duckdb"), ("plan", "flows.run"),
    ]),
)  # fmt: skip
def test_ctrl_c_while_importing(command: str, name: str) -> None:
    code = PRESSED_WHILE_IMPORTING.format(command=command, name=name)
    assert run(code) == (130, "", "emolake: interrupted: nothing had begun\n")


def test_afterwards_the_command_answers_ctrl_c_itself() -> None:
    said = run(PROBE)
    assert said == (0, "True\n", "")
    ignored = run(PROBE.replace("default_int_handler", "SIG_IGN"), "trap '' INT")
    assert ignored == (0, "True\n", ""), "as in a script that runs it in the background"


def test_arrow_takes_its_memory_from_the_system_unless_somebody_asks_for_another() -> None:
    assert run(POOL, "unset ARROW_DEFAULT_MEMORY_POOL") == (0, "system\n", "")
    assert run(POOL, "export ARROW_DEFAULT_MEMORY_POOL=mimalloc") == (0, "mimalloc\n", "")


def test_nobody_looks_for_plugins_of_pydantic_unless_somebody_wants_some() -> None:
    assert run(PLUGINS, "unset PYDANTIC_DISABLE_PLUGINS") == (0, "", "")
    assert run(PLUGINS, "export PYDANTIC_DISABLE_PLUGINS=")[1].startswith("looks at all packages\n")


def test_the_door_itself_is_light() -> None:
    code = (
        "import flows.__main__, sys; print(sorted({'typer', 'numpy', 'duckdb', 'prefect', 'rich'} & set(sys.modules)))"
    )
    assert run(code) == (0, "[]\n", "")


def test_a_process_says_nothing_of_its_end() -> None:
    """As DuckDB does where what it made when it was imported is left."""
    code = "import sys; sys.argv = ['emolake', 'purge', '--help']; from flows.__main__ import main; main()"
    assert run(code)[::2] == (0, "")


def test_what_was_imported_is_looked_through_at_the_end_for_duckdb_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "modules", {name: one for name, one in sys.modules.items() if name != "duckdb"})
    gc.freeze()
    try:
        _let_go()
        assert gc.get_freeze_count()
        sys.modules["duckdb"] = sys.modules["gc"]
        _let_go()
        assert not gc.get_freeze_count()
    finally:
        gc.unfreeze()
