"""What every Python process of a watched build does first: it will write down each work that it begins and makes, and
die, as a native library would make it, at a clip that is named."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

LOG = os.environ.get("EMOLAKE_TEST_LOG")
POISON = os.environ.get("EMOLAKE_TEST_POISON")
"""An input id."""


def _write_down() -> None:
    from warehouse.store import Warehouse

    materialize = Warehouse.materialize

    def watched(self: Warehouse, request: Any, write: Callable[[Path], None], *more: Any, **named: Any) -> Any:
        begun = []

        def told(folder: Path) -> None:
            begun.append(True)
            _tell("began", request.key)
            write(folder)

        artifact = materialize(self, request, told, *more, **named)
        if begun:
            _tell("made", request.key)
        return artifact

    Warehouse.materialize = watched  # type: ignore[method-assign]


def _tell(what: str, key: str) -> None:
    log = os.open(str(LOG), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, f"{what} {key} {os.getpid()}\n".encode())
    os.close(log)


def _die_of(poison: str) -> None:
    from features.extractors.mfcc import Mfcc

    load = Mfcc.load

    def poisoned(self: Mfcc, device: str) -> Any:
        run = load(self, device)

        def treat(clips: Sequence[Any]) -> Any:
            if any(clip.input_id == poison for clip in clips):
                os.abort()
            return run(clips)

        return treat

    Mfcc.load = poisoned  # type: ignore[method-assign]


def _does_works() -> bool:
    """Not Prefect's server and not what only clears up after others."""
    modules = {"flows", "models.job", "tests.reliability.door"}
    return any("spawn_main" in word or word in modules for word in sys.orig_argv)


if LOG and _does_works():
    _write_down()
    if POISON:
        _die_of(POISON)
