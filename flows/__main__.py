"""The door of `emolake` and of `python -m flows`: light, so that Ctrl-C is one sentence from the first moment.

What a command needs takes a second or two to import. A KeyboardInterrupt inside an import is a page of traceback, and
some libraries turn it into an ImportError; nothing has begun then, so the process may simply end.
"""

from __future__ import annotations

import os
import signal
from types import FrameType


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"emolake: interrupted: nothing had begun\n")
    os._exit(130)


def main() -> None:
    """Imports the commands, then runs the one that is asked for."""
    before = signal.signal(signal.SIGINT, _leave)
    from flows import cli

    signal.signal(signal.SIGINT, before)
    cli.main()


if __name__ == "__main__":
    main()
