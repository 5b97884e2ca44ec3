"""The states of a fit on disk, from which it goes on after whatever ended it.

Layout:
    LAKE/.resume/<key of the request>/<number>-<digest of the file>.safetensors

The two newest stay. A file is written beside, flushed and renamed, and its name says what its bytes must be: one that
is torn is not there. Numbers are tensors, the rest is JSON in the header; nothing in it runs. Once the artifact is
committed the folder goes, for which no torch is needed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.hashing import file_digest

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = ".resume"
SAVE_EVERY_S = 60.0
"""Seconds of work between two states, at least; more where writing one takes long, so that it never takes more than
about a twentieth of the time."""

_COST = 20
_NAME = re.compile(r"(?P<number>\d{8})-(?P<digest>[0-9a-f]{64})\.safetensors")


@dataclass(frozen=True)
class State:
    """What was kept: tensors by name, and JSON values."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


class States:
    """The states of one fit.

    Args:
        folder: where they lie, made with the first (`state_folder`).
        scratch: a folder of the same disk that is swept when this process is killed.
        origin: what a state must have come from to be of use, such as the version of the loop; JSON values.
        every_s: see SAVE_EVERY_S.
    """

    def __init__(self, folder: Path, scratch: Path, origin: Mapping[str, Any], every_s: float = SAVE_EVERY_S) -> None:
        self.folder, self._scratch = folder, scratch
        self._origin = json.dumps(origin, sort_keys=True)
        self._pause_s, self._every_s, self._since_s = every_s, every_s, time.monotonic()

    def newest(self) -> State | None:
        """The newest state that is whole and of this origin."""
        for path in reversed(self._paths()):
            state = self._read(path)
            if state is not None:
                return state
        return None

    def is_due(self) -> bool:
        """Whether it is time to write one."""
        return time.monotonic() - self._since_s >= self._pause_s

    def write(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Keeps a state, and of those before it one.

        Raises:
            OSError: the disk is full.
        """
        from safetensors.torch import save

        began_s = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = self._scratch / "state.unfinished"
        with open(beside, "wb") as stream:
            stream.write(save(dict(tensors), metadata={"origin": self._origin, "facts": json.dumps(facts)}))
            stream.flush()
            os.fsync(stream.fileno())
        before = self._paths()
        number = int(before[-1].name[:8]) + 1 if before else 1
        os.replace(beside, self.folder / f"{number:08d}-{file_digest(beside)}.safetensors")
        for path in before[:-1]:
            path.unlink(missing_ok=True)
        self._since_s = time.monotonic()
        self._pause_s = max(self._every_s, _COST * (self._since_s - began_s))

    def clear(self) -> None:
        """Removes all of them."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _paths(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*") if _NAME.fullmatch(path.name))

    def _read(self, path: Path) -> State | None:
        from safetensors import safe_open

        name = _NAME.fullmatch(path.name)
        try:
            if name is None or file_digest(path) != name["digest"]:
                return None
            with safe_open(path, framework="pt") as file:
                header = file.metadata() or {}
                if header.get("origin") != self._origin:
                    return None
                return State({key: file.get_tensor(key) for key in file.keys()}, json.loads(header["facts"]))  # noqa: SIM118
        except FileNotFoundError:
            return None  # another process that makes the same has gone further


def state_folder(lake: Path, key: str) -> Path:
    """Where the states of the fit with this key lie."""
    return lake / FOLDER / key


def forget(lake: Path, key: str) -> None:
    """Removes the states of a fit that is done."""
    shutil.rmtree(state_folder(lake, key), ignore_errors=True)
