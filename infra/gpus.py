"""How busy the accelerators of this machine are, as the driver's own tool says."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from dataclasses import dataclass

TOOL = "nvidia-smi"
_ASKED = ("index", "utilization.gpu", "memory.used", "memory.total")
_PATIENCE_S = 5.0


@dataclass(frozen=True)
class Gpu:
    """One accelerator at this moment.

    Args:
        number: as the driver counts.
        busy: part of the last moment in which it computed, from 0 to 1; None where the driver does not say.
        used, total: bytes of its memory; None where it does not say.
    """

    number: int
    busy: float | None
    used: int | None
    total: int | None


def gpus() -> list[Gpu]:
    """The accelerators of this machine; none where the driver's tool is absent or does not answer: what is not known is
    not told as idle.

    Source: `nvidia-smi --help-query-gpu`: percent, and MiB.
    """
    tool = shutil.which(TOOL)
    if tool is None:
        return []
    command = [tool, f"--query-gpu={','.join(_ASKED)}", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [gpu for line in said.splitlines() if (gpu := _gpu(line)) is not None]


def _gpu(line: str) -> Gpu | None:
    words = [word.strip() for word in line.split(",")]
    if len(words) != len(_ASKED) or not words[0].isdigit():
        return None
    busy, used, total = (_number(word) for word in words[1:])
    mib = 2**20
    return Gpu(
        int(words[0]),
        None if busy is None else busy / 100,
        None if used is None else int(used * mib),
        None if total is None else int(total * mib),
    )


def _number(word: str) -> float | None:
    """Of '[N/A]', which a shared accelerator says, none."""
    with contextlib.suppress(ValueError):
        return float(word)
    return None
