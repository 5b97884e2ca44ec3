"""Where and how fast: read from environment variables, never hashed, so it can change no key and no number."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

_DEVICE = re.compile(r"cpu|cuda|mps|auto")
_ROOT = "EMOLAKE_ROOT_"


class BadSetting(ValueError):
    """An environment variable that cannot be used as it is."""

    def __init__(self, name: str, value: str, expected: str) -> None:
        super().__init__(f"the environment variable {name} is '{value}', but it must be {expected}")


@dataclass(frozen=True)
class Runtime:
    """The machine as this process may use it.

    Args:
        lake: the folder of the lake.
        device: 'cpu', 'cuda', 'mps', or 'auto': whoever computes takes the fastest there is.
        workers: how many things may run at once.
        roots: corpus name -> the folder that holds its raw files.
        weights: the folder below which placed checkpoints lie; None where none is named.
        processes: one per device, that share each fit.
        signing_key: the file with the key that signs receipts; it is made when one is signed.
    """

    lake: Path
    device: str
    workers: int
    roots: Mapping[str, Path]
    weights: Path | None
    processes: int = 1
    signing_key: Path = Path()


def read_runtime(environ: Mapping[str, str] = os.environ) -> Runtime:
    """The runtime that the environment describes.

    EMOLAKE_LAKE ('lake'), EMOLAKE_DEVICE ('cpu'), EMOLAKE_WORKERS (as many as CPU cores), EMOLAKE_PROCESSES (1),
    EMOLAKE_WEIGHTS (none), EMOLAKE_SIGNING_KEY ('~/.config/emolake/signing-key.pem') and one EMOLAKE_ROOT_<NAME> per
    corpus, whose name is taken in lower case. Folders need not exist yet: the step that reads one says when it is
    absent.

    Raises:
        BadSetting: a value that is empty, no known device, or no positive count.

    Example:
        >>> runtime = read_runtime({"EMOLAKE_WORKERS": "3", "EMOLAKE_ROOT_MELD": "/corpora/MELD.Raw"})
        >>> runtime.workers, runtime.device, runtime.roots["meld"].name
        (3, 'cpu', 'MELD.Raw')
    """
    device = environ.get("EMOLAKE_DEVICE", "cpu")
    if not _DEVICE.fullmatch(device):
        raise BadSetting("EMOLAKE_DEVICE", device, "'cpu', 'cuda', 'mps' or 'auto'")
    workers = _count("EMOLAKE_WORKERS", environ, os.cpu_count() or 1)
    processes = _count("EMOLAKE_PROCESSES", environ, 1)
    roots = {
        name.removeprefix(_ROOT).lower(): _folder(name, value)
        for name, value in sorted(environ.items())
        if name.startswith(_ROOT)
    }
    lake = _folder("EMOLAKE_LAKE", environ.get("EMOLAKE_LAKE", "lake"))
    weights = _folder("EMOLAKE_WEIGHTS", environ["EMOLAKE_WEIGHTS"]) if "EMOLAKE_WEIGHTS" in environ else None
    key = _folder("EMOLAKE_SIGNING_KEY", environ.get("EMOLAKE_SIGNING_KEY", "~/.config/emolake/signing-key.pem"))
    return Runtime(lake, device, workers, MappingProxyType(roots), weights, processes, key)


def _count(name: str, environ: Mapping[str, str], default: int) -> int:
    value = environ.get(name, str(default))
    if not re.fullmatch(r"0*[1-9]\d*", value, re.ASCII):
        raise BadSetting(name, value, "a whole number from 1 on")
    return int(value)


def _folder(name: str, value: str) -> Path:
    if name == _ROOT:
        raise BadSetting(name, value, "followed by the name of a corpus, as in EMOLAKE_ROOT_IEMOCAP")
    if not value.strip():
        raise BadSetting(name, value, "the path of a folder")
    return Path(value).expanduser()
