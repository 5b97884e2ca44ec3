"""The states of a fit on disk, from which it goes on after whatever ended it.

Layout:
    LAKE/.resume/<key of the request>/<number>-<digest of the file>.safetensors

The two newest stay. A file is written beside, flushed and renamed, and its name says what its bytes must be: one that
is torn is not there. Numbers are tensors, the rest is JSON in the header; nothing in it runs. Once the artifact is
committed the folder goes, for which no torch is needed. Of a lake on a store the folder is in the copy, and what is in
it is put on the store too (`warehouse.stored_states`): a fit goes on on whatever host is next.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.hashing import file_digest
from warehouse.stored_states import FOLDER, NAME, StoredStates

if TYPE_CHECKING:
    from torch import Tensor

SAVE_EVERY_S = 60.0
"""Seconds of work between two states, at least; more where writing one takes long, so that it never takes more than
about a twentieth of the time."""

_COST = 20


@dataclass(frozen=True)
class State:
    """What was kept: tensors by name, and JSON values; `name` is that of its file."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]
    name: str = ""


class States:
    """The states of one fit.

    Args:
        folder: where they lie, made with the first (`state_folder`).
        scratch: a folder of the same disk that is swept when this process is killed.
        origin: what a state must have come from to be of use, such as the version of the loop; JSON values.
        every_s: see SAVE_EVERY_S.
        url: of a lake on a store.
    """

    def __init__(
        self, folder: Path, scratch: Path, origin: Mapping[str, Any], every_s: float = SAVE_EVERY_S, url: str = ""
    ) -> None:
        self.folder, self._scratch, self._stored = folder, scratch, StoredStates(url, folder.name)
        self._origin = json.dumps(origin, sort_keys=True)
        self._pause_s, self._every_s, self._since_s = every_s, every_s, time.monotonic()

    def newest(self) -> State | None:
        """The newest state that is whole and of this origin, on whatever host it was kept. Of processes that share a
        fit the first asks, and the others for the one that it has (`named`)."""
        here = self._paths()
        self._stored.bring(self.folder, self._scratch / f"state.{os.getpid()}", int(here[-1].name[:8]) if here else 0)
        for path in reversed(self._paths()):
            state = self._read(path)
            if state is not None:
                return state
        return None

    def named(self, name: str) -> State | None:
        """The state of a file."""
        return self._read(self.folder / name)

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
        kept = self.folder / f"{number:08d}-{file_digest(beside)}.safetensors"
        os.replace(beside, kept)
        for path in before[:-1]:
            path.unlink(missing_ok=True)
        self._stored.keep(kept)
        self._since_s = time.monotonic()
        self._pause_s = max(self._every_s, _COST * (self._since_s - began_s))

    def clear(self) -> None:
        """Removes all of them."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._stored.clear()

    def _paths(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*") if NAME.fullmatch(path.name))

    def _read(self, path: Path) -> State | None:
        from safetensors import safe_open

        name = NAME.fullmatch(path.name)
        try:
            if name is None or file_digest(path) != name["digest"]:
                return None
            with safe_open(path, framework="pt") as file:
                header = file.metadata() or {}
                if header.get("origin") != self._origin:
                    return None
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
                return State(tensors, json.loads(header["facts"]), path.name)
        except FileNotFoundError:
            return None  # another process that makes the same has gone further


def state_folder(lake: Path, key: str) -> Path:
    """Where the states of the fit with this key lie."""
    return lake / FOLDER / key


def forget(lake: Path, key: str, url: str = "") -> None:
    """Removes the states of a fit that is done, of a lake on a store there too."""
    shutil.rmtree(state_folder(lake, key), ignore_errors=True)
    StoredStates(url, key).clear()
