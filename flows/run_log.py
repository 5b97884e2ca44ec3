"""The log of a run: one JSON line per event, below `<lake>/.logs/runs/`, for `emolake logs`, `emolake top` and metrics.

Layout:
    .logs/runs/<time>-<recipe>-<4 characters>/flow.jsonl    what the flow tells: steps, and what became of each work
    .logs/runs/<…>/<host>-<pid>.jsonl                       what a process of a pool began, here or on another host

Every line has `time` (UTC), `run`, `recipe`, `host`, `pid` and `event`; then what there is to say: `step` (as plans
name it), `maker` (the file that makes it), `key` of the request, `digest` of the artifact, `rows`, `bytes`, `seconds`.
Events:

    run began, run ended       verb, device, workers; the outcome
    step began, step ended     rows wanted and rows to be made, works found and works to be made
    found, made, failed        what became of a work: of each there is one of these, but where the run was stopped
    began                      somebody is at it; 'progress' says how far, where a job tells
    retried, worker died       a process died, and what was in its hands is done again
    metrics                    why none are served

A process appends to a file of its own, one write per line: so no disk needs to order the writes of two, and a kill
leaves one cut line at most. The flow's process holds a lock on its file, by which a run under way is known from one
that was killed. No line holds a word of a corpus: of a mistake its class and place are told and not its sentence, which
may quote one (that is on the terminal, in Prefect's record and in `failures.parquet`). A line that would hold a
password or a key is written without what it says.

A host of a cluster writes into that folder where it sees it. Where it does not, as with a lake on a store, of which it
has a copy of its own, its lines come back with the answer or the mistake, and the flow writes them. Of a process that
died there, whoever gave it the work tells that it had begun; of a Dask worker that died itself, the flow tells that,
and how many works it had.

Nothing here stops a run: what cannot be written, as on a full disk, is lost.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flows.doer import Step, Unmade
from flows.run_events import FLOW, is_live, recipe_of, run_folders, runs_folder
from warehouse.artifact import Artifact, Work
from warehouse.audit.errors import SecretToldOn
from warehouse.secrets import refuse_secrets

KEPT = 50
"""So many runs are kept."""

PROGRESS_S = 2.0
"""Between two lines on how far one job is."""


class _Words:
    """What one process says of a run, as lines."""

    def __init__(self, run: str) -> None:
        own = {"run": run, "recipe": recipe_of(run), "host": socket.gethostname(), "pid": os.getpid()}
        self._own = json.dumps(own, ensure_ascii=False)[1:-1]
        self._environ = dict(os.environ)

    def of(self, events: Sequence[Mapping[str, Any]]) -> str:
        text = self._text(events)
        try:
            refuse_secrets(text, "the log of the run", self._environ)
        except SecretToldOn:
            text = self._text([_without_words(event) for event in events])
        return text

    def _text(self, events: Sequence[Mapping[str, Any]]) -> str:
        begin = f'{{"time": "{datetime.now(UTC).isoformat(timespec="milliseconds")}", {self._own}, '
        return "".join(f"{begin}{json.dumps(event, ensure_ascii=False)[1:]}\n" for event in events)


class _Lines:
    """What one process appends to its file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.words = _Words(path.parent.name)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._is_cut = False
        self.step = ""
        self.told: set[str] = set()  # keys of this step of which it is known what became of them

    def lock(self) -> None:
        with suppress(OSError):  # a disk without locks: its runs are never known to be under way
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def write(self, text: str) -> None:
        content = (b"\n" if self._is_cut else b"") + text.encode("utf-8", "backslashreplace")
        n_written = 0
        with suppress(OSError):
            n_written = os.write(self._file, content)
        self._is_cut = self._is_cut if n_written == 0 else n_written < len(content)

    def close(self) -> None:
        os.close(self._file)


_flows: list[_Lines] = []
"""Of the flow's process: the run under way. A process does one flow at a time, as its jobs and signals demand too."""

_away: ContextVar[tuple[str, list[str]]] = ContextVar("_away", default=("", []))
"""Of other processes: the folder of the run for which they work now, and the lines that could not be written there."""

_CARRIED = "told_elsewhere"
"""Attribute of a mistake: such lines. It travels as other attributes do."""


@contextmanager
def logged(lake: Path, recipe: str, **told: Any) -> Iterator[Path | None]:
    """Within it, `tell` writes to the log of a new run, in this process and in those it starts.

    Args:
        told: of the run as a whole.

    Returns:
        The folder of the log; None where none can be written, and the run goes on without.
    """
    try:
        folder = _new_folder(lake, recipe)
        lines = _Lines(folder / FLOW)
    except OSError:
        yield None
        return
    lines.lock()
    began = time.monotonic()
    _flows.append(lines)
    tell("run began", **told)
    try:
        yield folder
    finally:
        error = sys.exc_info()[1]
        outcome = "done" if error is None else "failed" if isinstance(error, Exception) else "stopped"
        tell("run ended", outcome=outcome, seconds=_since(began), **_mistake(error))
        _flows.remove(lines)
        lines.close()


def log_told_to() -> str:
    """The folder of the run that this process tells of; '' where it tells of none."""
    return str(_flows[-1].path.parent) if _flows else _away.get()[0]


class Telling:
    """Within it, what this thread tells goes to the log of a run of another process, on this host or another. Gives the
    lines that could not be written, for `take_in`; a mistake carries them itself, to whoever is `Answering`.

    Args:
        folder: of the run, as `log_told_to` says it there; '' for none.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def __enter__(self) -> list[str]:
        self._lines: list[str] = []
        self._token = _away.set((self._folder, self._lines))
        return self._lines

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        _away.reset(self._token)
        if error is not None and self._lines:
            vars(error)[_CARRIED] = [*self._lines, *vars(error).get(_CARRIED, ())]


def take_in(lines: Sequence[str]) -> None:
    """Writes lines of another process into the log of the flow, or carries them on to it."""
    if _flows and lines:
        _flows[-1].write("".join(lines))
    elif _away.get()[0]:
        _away.get()[1].extend(lines)


def tell(event: str, **fields: Any) -> None:
    """Writes a line, where a run is logged: in the flow's process to its file, in others to one of their own."""
    _write([{"event": event} | fields])


def tell_began(works: Sequence[Work]) -> None:
    """Somebody is at these now: told in the process that is."""
    _write([{"event": "began"} | _of(work) for work in works])


def tell_again(work: Work, event: str = "retried", **fields: Any) -> None:
    """A process died that was at this work, which is done again. Where it could not write, what it told died with it:
    that it began is told here, late."""
    step = {"step": _flows[-1].step} if _flows else {}
    folder, _ = _away.get()
    if folder and not _flows and not Path(folder).is_dir():
        tell_began([work])
    tell(event, **step, **_of(work), **fields)


def tell_lost(worker: str, n_works: int) -> None:
    """A worker of a cluster is gone with so many works, begun or waiting there, which others do now. Which of them it
    had begun is known where it could write, and nowhere else."""
    step = {"step": _flows[-1].step} if _flows else {}
    tell("worker died", **step, place=worker, works=n_works)


def step_began(step: Step, works: Sequence[Work], found: Mapping[str, Artifact | None]) -> None:
    """A step is begun, some of whose works were found."""
    if not _flows:
        return
    lines = _flows[-1]
    lines.step, lines.told = step.name, set()
    there = {work.request.key: work for work in works if found[work.request.key] is not None}
    counts = {"rows": step.n_rows, "new": step.n_new, "found": len(there), "works": len(step.works)}
    events: list[dict[str, Any]] = [{"event": "step began", "step": step.name} | counts]
    for key, work in there.items():
        artifact = found[key]
        digest = artifact.digest if artifact else ""
        events.append({"event": "found", "step": step.name} | _of(work) | {"digest": digest})
    _write(events)


def step_ended(step: Step) -> None:
    """A step has all its artifacts."""
    tell("step ended", step=step.name, seconds=round(step.seconds, 3))


class Answering:
    """Within it works are answered: tells what became of each, once, whoever asks for the answer first.

    In any process but the flow's it tells nothing: the flow's sees every answer that travels back.

    Args:
        but: mistakes after which the works are tried again.
        is_stopped: whether whoever does them was stopped, and what they raise then is no mistake.
    """

    def __init__(
        self, works: Sequence[Work], but: tuple[type[BaseException], ...] = (),
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        self._works, self._but, self._is_stopped = works, but, is_stopped

    def __enter__(self) -> Callable[[list[Artifact | Unmade]], list[Artifact | Unmade]]:
        """What is to be given the answers, and returns them."""
        return self._answered

    def _answered(self, answers: list[Artifact | Unmade]) -> list[Artifact | Unmade]:
        untold = self._untold()
        by_key = {one.key: one for one in answers} if untold else {}
        for work in untold:
            answer = by_key.get(work.request.key)
            if isinstance(answer, Artifact):
                tell("made", step=_flows[-1].step, **_of(work), **_of_artifact(answer))
            elif answer is not None:
                tell("failed", step=_flows[-1].step, **_of(work), error=type(answer).__name__)
        return answers

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        if error is not None:
            take_in(vars(error).pop(_CARRIED, ()))
        if isinstance(error, Exception) and not isinstance(error, self._but) and not self._is_stopped():
            for work in self._untold():
                tell("failed", step=_flows[-1].step, **_of(work), **_mistake(error))

    def _untold(self) -> list[Work]:
        if not _flows:
            return []
        lines, untold = _flows[-1], [work for work in self._works if work.request.key not in _flows[-1].told]
        lines.told.update(work.request.key for work in untold)
        return untold


def noting(works: Sequence[Work], note: Callable[[int, int, str], None]) -> Callable[[int, int, str], None]:
    """The same noter, which also writes how far a job is, every `PROGRESS_S` seconds."""
    told_at = time.monotonic()

    def noted(done: int, total: int, text: str) -> None:
        nonlocal told_at
        if text and _flows and time.monotonic() - told_at >= PROGRESS_S:
            told_at = time.monotonic()
            tell("progress", step=_flows[-1].step, **_of(works[0]), done=done, total=total, note=text)
        note(done, total, text)

    return noted


# -- inside ------------------------------------------------------------------------------------------------------------


def _write(events: Sequence[Mapping[str, Any]]) -> None:
    if _flows:
        _flows[-1].write(_flows[-1].words.of(events))
        return
    folder, unwritten = _away.get()
    if folder:
        text = _Words(Path(folder).name).of(events)
        try:
            lines = _Lines(Path(folder) / f"{socket.gethostname()}-{os.getpid()}.jsonl")
        except OSError:  # the folder is gone, or of another host
            unwritten.append(text)
            return
        try:
            lines.write(text)
        finally:
            lines.close()


def _new_folder(lake: Path, recipe: str) -> Path:
    """The folder of a new run, after the oldest beyond those that are kept went."""
    for folder in run_folders(lake)[: -KEPT + 1]:
        if not is_live(folder):
            shutil.rmtree(folder, ignore_errors=True)
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")[:-3]
    folder = runs_folder(lake) / f"{now}-{re.sub('[^A-Za-z0-9_-]', '_', recipe)}-{uuid.uuid4().hex[:4]}"
    folder.mkdir(parents=True)
    return folder


def _without_words(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event without any text but that by which it is known: some of it is a secret."""
    known = ("event", "key", "digest", "outcome")
    return {name: value for name, value in event.items() if name in known or not isinstance(value, str)}


def _of(work: Work) -> dict[str, Any]:
    request = work.request
    return {"maker": request.step, "kind": request.kind, "key": request.key, "rows": work.n_rows}


def _of_artifact(artifact: Artifact) -> dict[str, Any]:
    told = {"digest": artifact.digest, "bytes": artifact.n_bytes, "seconds": artifact.environment.get("work_s")}
    if "failures.parquet" in artifact.files:
        with suppress(OSError, pa.ArrowException):  # who reads its rows next says what is wrong
            told["failures"] = pq.read_metadata(artifact.path("failures.parquet")).num_rows
    return told


def _mistake(error: BaseException | None) -> dict[str, Any]:
    """The class of a mistake, and the file and line where it was made."""
    if error is None:
        return {}
    frames = traceback.extract_tb(error.__traceback__)
    place = {"place": f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"} if frames else {}
    return {"error": type(error).__name__} | place


def _since(began: float) -> float:
    return round(time.monotonic() - began, 3)
