"""Ctrl-C while the command line is still being imported is one sentence, whatever was being imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[2]
PRESSED_WHILE_IMPORTING = """
import signal, sys
class Presser:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Presser())
sys.argv = ["emolake", "ls", "--help"]
from flows.__main__ import main
main()
"""


def run(code: str) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, "-c", code], cwd=HOUSE, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", ["typer", "numpy", "duckdb", "flows.run", "flows.cli_corpora"])
def test_ctrl_c_while_importing(name: str) -> None:
    code = PRESSED_WHILE_IMPORTING.format(name=name)
    assert run(code) == (130, "", "emolake: interrupted: nothing had begun\n")


def test_afterwards_the_command_answers_ctrl_c_itself() -> None:
    said = run(
        "import signal\n"
        "from flows import cli\n"
        "cli.main = lambda: print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)\n"
        "from flows.__main__ import main\n"
        "main()\n"
    )
    assert said == (0, "True\n", "")


def test_the_door_itself_is_light() -> None:
    code = (
        "import flows.__main__, sys; print(sorted({'typer', 'numpy', 'duckdb', 'prefect', 'rich'} & set(sys.modules)))"
    )
    assert run(code) == (0, "[]\n", "")
