"""`emolake …` called in this process, because a start costs a second."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import typer.main

from flows import cli

# Each call reads the signatures of all commands that were ever called here, twice, and these do not change.
typer.main.get_params_from_function = cache(typer.main.get_params_from_function)


@dataclass(frozen=True)
class Said:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


Say = Callable[..., Said]


def saying(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Calls `emolake` with these arguments, in the folder where the test is and without settings of its own."""
    for name in [name for name in os.environ if name.startswith("EMOLAKE_")]:
        monkeypatch.delenv(name)

    def call(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["emolake", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return Said(int(end.value.code or 0), *capsys.readouterr())

    return call
