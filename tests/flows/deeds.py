"""Functions that other processes run in tests of the workers."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

from warehouse.errors import Untreatable


def write_pid(folder: Path) -> None:
    (folder / "pid").write_text(str(os.getpid()))


def write_gpu(folder: Path, **arguments: object) -> None:
    (folder / "gpu").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))


def refuse(folder: Path, reason: str) -> None:
    (folder / "half").write_text("half")
    raise Untreatable(reason)


def fill(folder: Path) -> None:
    (folder / "half").write_text("half")
    raise OSError(errno.ENOSPC, "No space left on device")


def begin_and_sleep(folder: Path, path: str) -> None:
    (folder / "half").write_text("half")
    note_pid_and_sleep(path)


def crash(folder: Path) -> None:
    (folder / "half").write_text("half")
    os.abort()


def note_pid_and_sleep(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(120)


def write_after_hanging_once(folder: Path, path: str) -> None:
    """The first time it says who its parent is, and waits to be ended."""
    if not Path(path).exists():
        Path(path).write_text(str(os.getppid()))
        time.sleep(120)
    (folder / "text").write_text("done")
