"""MFA's command: where it is, which versions it is of, and one run of it under a time limit."""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from warehouse.errors import MfaMissing

VARIABLE = "EMOLAKE_MFA"

PATIENCE_S = 10.0
"""Between asking a run to end and ending it."""

ASKING_S = 120.0
"""How long it may take to say its version. It imports all of MFA first."""

_WATCH = 'trap "" INT TERM HUP; read -r _; kill -s KILL -- "-$1"'
"""Waits for a line that never comes: when our process dies its input ends, and so does the group."""

_VERSION = re.compile(r"[0-9][0-9A-Za-z.+!_-]*")
_KALPY = (
    "from importlib import metadata\n"
    "names = metadata.packages_distributions().get('kalpy', ['kalpy'])\n"
    "print(metadata.version(names[0]))"
)
_OURS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "MFA_PROFILE")
"""Not passed on: they would lead MFA's interpreter to our packages, and MFA to settings of the user's."""


def find() -> Path:
    """MFA's command: the file that EMOLAKE_MFA names, or `mfa` on PATH.

    Raises:
        MfaMissing: with what to install.
    """
    asked = os.environ.get(VARIABLE)
    found = shutil.which(asked or "mfa")
    if found is None:
        raise MfaMissing(f"{VARIABLE} names '{asked}', which is no program" if asked else "no 'mfa' is on PATH")
    return Path(found).absolute()


def versions(command: Path) -> dict[str, str]:
    """The versions of MFA and of kalpy, its Kaldi, whose numbers the alignment's times are. Asked once per process, or
    again when the file is another.

    Raises:
        MfaMissing: the command does not say.
    """
    resolved = command.resolve()
    stat = resolved.stat()
    mfa, kalpy = _versions(str(command), str(resolved.parent / "python"), stat.st_mtime_ns, stat.st_ino)
    return {"mfa": mfa, "kalpy": kalpy}


@functools.cache
def _versions(command: str, python: str, *stamp: int) -> tuple[str, str]:
    return _version([command, "version"], command), _version([python, "-I", "-c", _KALPY], command)


def _version(question: Sequence[str], command: str) -> str:
    """The last line of the answer, where it is a version."""
    with tempfile.TemporaryDirectory() as root:  # MFA makes its root folder whenever it is imported
        try:
            answer = subprocess.run(
                question, capture_output=True, stdin=subprocess.DEVNULL, timeout=ASKING_S, text=True,
                encoding="utf-8", errors="replace", env=_environment(Path(command), Path(root)),
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MfaMissing(f"'{question[0]}' does not say its version: {type(error).__name__}") from error
    lines = answer.stdout.split()
    if answer.returncode or not lines or not _VERSION.fullmatch(lines[-1]):
        said = (answer.stderr or answer.stdout).strip().rpartition("\n")[2]
        raise MfaMissing(f"'{question[0]}' does not say its version: {said or 'no word'}")
    return lines[-1]


def run(command: Path, arguments: Sequence[str], root: Path, log: Path, limit_s: float) -> int | None:
    """Runs the command once, and returns its exit code, or None where it was ended at the limit.

    It is the leader of a process group, which outlives neither this call nor this process, however they end: when one
    of MFA's workers dies, the others wait for it for good.

    Args:
        root: MFA's root folder, for its database, models and settings: two runs that share one fail.
        log: gets everything that it writes on the terminal.
    """
    with open(log, "wb") as stream:
        process = subprocess.Popen(
            [command, *arguments], stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
            env=_environment(command, root), start_new_session=True,
        )  # fmt: skip
        try:
            with _watched(process.pid):
                return process.wait(limit_s)
        except subprocess.TimeoutExpired:
            _tell(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE_S)
            return None
        finally:
            _tell(process.pid, signal.SIGKILL)
            process.wait()


def kept(log: Path, logs: Path) -> Path:
    """The log of a run where it stays when the folder of the run goes."""
    logs.mkdir(parents=True, exist_ok=True)
    copy = Path(tempfile.mkdtemp(prefix="run-", dir=logs)) / log.name
    shutil.copyfile(log, copy)
    return copy


@contextmanager
def _watched(group: int) -> Iterator[None]:
    """Ends a process group where this process dies meanwhile."""
    watcher = subprocess.Popen(["/bin/sh", "-c", _WATCH, "sh", str(group)], stdin=subprocess.PIPE)
    try:
        yield
    finally:
        watcher.kill()
        watcher.communicate()


def _tell(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # nobody of the group is left
        os.killpg(group, number)


def _environment(command: Path, root: Path) -> Mapping[str, str]:
    """The environment of MFA: as if its own had been activated, and one thread per process, as everywhere."""
    kept = {name: value for name, value in os.environ.items() if name not in _OURS}
    places = [str(command.resolve().parent), kept.get("PATH", os.defpath)]
    own = {
        "MFA_ROOT_DIR": str(root), "PATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1",
        "PYTHONHASHSEED": "0",
    }  # fmt: skip
    return kept | own
