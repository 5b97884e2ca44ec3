"""What the logs of runs say (`flows.run_log` writes them, and tells what stands in them): which runs there are, which
of them is under way, their events."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

from models.logs import FOLDER
from warehouse.operating_errors import UnknownRun

RUNS = "runs"
"""Below the folder of logs, where a fit's log is named by its key."""

FLOW = "flow.jsonl"
"""The file of the flow's own process, which holds a lock on it."""


def runs_folder(lake: Path) -> Path:
    """Where the logs of a lake's runs are."""
    return lake / FOLDER / RUNS


def recipe_of(run: str) -> str:
    """The recipe of a run, by the name of its folder.

    Example:
        >>> recipe_of("20261122T003321042-table-mced-4f1c")
        'table-mced'
    """
    return run.partition("-")[2].rpartition("-")[0]


def run_folders(lake: Path) -> list[Path]:
    """The logs of a lake's runs, oldest first."""
    folder = runs_folder(lake)
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def find_run(lake: Path, asked: str | None) -> Path | None:
    """The run that a person means: the last, the last of a recipe, or the one whose name begins so. None where nobody
    asked for one and there is none.

    Raises:
        UnknownRun: no run, or more than one, is called so.
    """
    folders = run_folders(lake)
    if asked is None:
        return folders[-1] if folders else None
    of_recipe = [folder for folder in folders if recipe_of(folder.name) == asked]
    found = of_recipe[-1:] or [folder for folder in folders if asked and folder.name.startswith(asked)]
    if len(found) != 1:
        raise UnknownRun(asked, [folder.name for folder in found or folders])
    return found[0]


def is_live(folder: Path) -> bool:
    """Whether the process of a run is there: it holds a lock on its log, which goes with it whatever its end."""
    try:
        with open(folder / FLOW, "rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


class Reader:
    """Reads the log of a run as it grows.

    Attributes:
        n_cut: lines that could not be read so far: a process was killed while it wrote, or the disk ran full.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.n_cut = 0
        self._read: dict[Path, int] = {}

    def more(self) -> list[dict[str, Any]]:
        """The events since the last call, of all processes, by time. A line that somebody is writing comes whole with
        the next call; nobody writes any more when the run is over."""
        is_over = not is_live(self.folder)  # asked first: what is written between the two is read the next time
        events: list[dict[str, Any]] = []
        for path in sorted(self.folder.glob("*.jsonl")):
            begin = self._read.get(path, 0)
            try:
                with open(path, "rb") as stream:
                    stream.seek(begin)
                    content = stream.read()
            except OSError:
                continue  # a purge, or the run that made room for another, took it
            whole = len(content) if is_over else content.rfind(b"\n") + 1
            self._read[path] = begin + whole
            for line in content[:whole].splitlines():
                event = _event(line)
                if event is not None:
                    events.append(event)
                elif line.strip():
                    self.n_cut += 1
        return sorted(events, key=lambda event: event["time"])


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    is_whole = isinstance(event, dict) and isinstance(event.get("time"), str) and isinstance(event.get("event"), str)
    return event if is_whole else None
