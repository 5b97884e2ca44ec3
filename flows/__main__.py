"""The door of `emolake` and of `python -m flows`: light, so that Ctrl-C is one sentence from the first moment.

What a command needs takes up to a second to import. A KeyboardInterrupt inside an import is a page of traceback, and
some libraries turn it into an ImportError; nothing has begun then, so the process may simply end.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
from types import FrameType
from typing import Any

_before: list[Any] = []


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"emolake: interrupted: nothing had begun\n")
    os._exit(130)


def hear_ctrl_c() -> None:
    """A command begins, and answers Ctrl-C itself from now on; who did not come in by this door did so before."""
    if _before:
        signal.signal(signal.SIGINT, _before.pop())


def _let_go() -> None:
    """DuckDB complains of what is left at the end; to look for it takes others a tenth of a second."""
    if "duckdb" in sys.modules:
        gc.unfreeze()


def main() -> None:
    """Imports the command that is asked for, then runs it."""
    _before.append(signal.signal(signal.SIGINT, _leave))
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # Arrow's own asks for more pages, time and memory
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # to look for some takes as long as `show`
    gc.disable()  # what is imported stays: looking through it for what may go takes a tenth of the time
    from flows import cli, commands

    commands.load(sys.argv[1:2])
    gc.freeze()  # nor is it looked through later
    atexit.register(_let_go)
    gc.enable()
    cli.main()


if __name__ == "__main__":
    from flows.__main__ import main as enter  # the module by its name, which is the one that `flows.app` knows

    enter()
