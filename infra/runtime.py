"""Where and how fast: read from environment variables, never hashed, so it can change no key and no number."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

_DEVICE = re.compile(r"cpu|cuda|mps|auto")
_LAUNCHER = re.compile(r"here|slurm|pool:\S+")
_ADDRESS = re.compile(r"(?:(?P<host>[^\s:]+|\[[^\s\]]+\]):)?(?P<port>\d{1,5})", re.ASCII)
_URL = re.compile(r"[a-z][a-z0-9+.-]+://.+", re.DOTALL)
_PASSWORD = re.compile("://.*(?::|%3a).*@", re.IGNORECASE | re.DOTALL)
_ROOT = "EMOLAKE_ROOT_"
RUNNERS = ("threads", "processes", "dask", "ray")


class BadSetting(ValueError):
    """An environment variable that cannot be used as it is."""

    def __init__(self, name: str, value: str, expected: str) -> None:
        super().__init__(f"the environment variable {name} is '{value}', but it must be {expected}")


@dataclass(frozen=True)
class Runtime:
    """The machine as this process may use it.

    Args:
        lake: the folder of the lake, or of this host's copy of one on a store.
        device: 'cpu', 'cuda', 'mps', or 'auto': whoever computes takes the fastest there is.
        workers: how many things may run at once.
        roots: corpus name -> the folder that holds its raw files.
        weights: the folder below which placed checkpoints lie; None where none is named.
        processes: one per device, that share each fit.
        signing_key: the file with the key that signs receipts; it is made when one is signed.
        runner: what runs the tasks of a flow: one of RUNNERS.
        cluster: address of the Dask scheduler or the Ray head; None where the workers are this machine's.
        launcher: who starts jobs: 'here', 'slurm', or 'pool:' and the name of a Prefect work pool.
        metrics: host and port where Prometheus finds the metrics of a run; None serves none.
    """

    lake: Path
    device: str
    workers: int
    roots: Mapping[str, Path]
    weights: Path | None
    processes: int = 1
    signing_key: Path = Path()
    runner: str = "threads"
    cluster: str | None = None
    launcher: str = "here"
    metrics: tuple[str, int] | None = None


def read_runtime(environ: Mapping[str, str] = os.environ) -> Runtime:
    """The runtime that the environment describes.

    EMOLAKE_LAKE ('lake'; a folder, or a URL such as s3://bucket/lake), EMOLAKE_COPIES ('~/.cache/emolake/lakes'),
    EMOLAKE_DEVICE ('cpu'), EMOLAKE_WORKERS (as many as CPU cores), EMOLAKE_PROCESSES (1),
    EMOLAKE_WEIGHTS (none), EMOLAKE_SIGNING_KEY ('~/.config/emolake/signing-key.pem'), EMOLAKE_RUNNER ('threads'),
    EMOLAKE_CLUSTER (none), EMOLAKE_LAUNCHER ('here'), EMOLAKE_METRICS (none) and one EMOLAKE_ROOT_<NAME> per corpus,
    whose name is taken in lower case. Folders need not exist yet: the step that reads one says when it is absent.

    Raises:
        BadSetting: a value that is empty, no known device or runner, or no positive count; a cluster for a runner that
            has none.

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
    lake = _lake(environ)
    weights = _folder("EMOLAKE_WEIGHTS", environ["EMOLAKE_WEIGHTS"]) if "EMOLAKE_WEIGHTS" in environ else None
    key = _folder("EMOLAKE_SIGNING_KEY", environ.get("EMOLAKE_SIGNING_KEY", "~/.config/emolake/signing-key.pem"))
    launcher = environ.get("EMOLAKE_LAUNCHER", "here")
    if not _LAUNCHER.fullmatch(launcher):
        raise BadSetting("EMOLAKE_LAUNCHER", launcher, "'here', 'slurm' or 'pool:' and the name of a work pool")
    return Runtime(
        lake, device, workers, MappingProxyType(roots), weights, processes, key, *_runner(environ), launcher,
        _address(environ),
    )  # fmt: skip


def _runner(environ: Mapping[str, str]) -> tuple[str, str | None]:
    runner, cluster = environ.get("EMOLAKE_RUNNER", "threads"), environ.get("EMOLAKE_CLUSTER")
    if runner not in RUNNERS:
        raise BadSetting("EMOLAKE_RUNNER", runner, "'threads', 'processes', 'dask' or 'ray'")
    if cluster is not None and not cluster.strip():
        raise BadSetting("EMOLAKE_CLUSTER", cluster, "the address of a Dask scheduler or a Ray head")
    if cluster is not None and runner not in ("dask", "ray"):
        raise BadSetting("EMOLAKE_CLUSTER", cluster, f"left out, or EMOLAKE_RUNNER 'dask' or 'ray' and not '{runner}'")
    return runner, cluster


def _address(environ: Mapping[str, str]) -> tuple[str, int] | None:
    """Of metrics: a port alone is for this machine only."""
    value = environ.get("EMOLAKE_METRICS")
    if value is None:
        return None
    match = _ADDRESS.fullmatch(value)
    if match is None or not 0 < int(match["port"]) < 65_536:
        raise BadSetting("EMOLAKE_METRICS", value, "a port from 1 to 65535, or HOST:PORT")
    return (match["host"] or "127.0.0.1").strip("[]"), int(match["port"])


def _count(name: str, environ: Mapping[str, str], default: int) -> int:
    value = environ.get(name, str(default))
    if not re.fullmatch(r"0*[1-9]\d*", value, re.ASCII):
        raise BadSetting(name, value, "a whole number from 1 on")
    return int(value)


def _lake(environ: Mapping[str, str]) -> Path:
    """Its folder; of one on a store that of this host's copy, whose name says so (`warehouse.remote`)."""
    lake = environ.get("EMOLAKE_LAKE", "lake")
    if "://" not in lake:
        return _folder("EMOLAKE_LAKE", lake)
    if _PASSWORD.search(lake) or not _URL.fullmatch(lake):
        value = _PASSWORD.sub("://…@", lake)
        raise BadSetting("EMOLAKE_LAKE", value, "a folder, or a URL like s3://bucket/lake without a password in it")
    copies = _folder("EMOLAKE_COPIES", environ.get("EMOLAKE_COPIES", "~/.cache/emolake/lakes"))
    return copies.absolute() / quote(lake.rstrip("/"), safe="").replace("%", "@")


def _folder(name: str, value: str) -> Path:
    if name == _ROOT:
        raise BadSetting(name, value, "followed by the name of a corpus, as in EMOLAKE_ROOT_IEMOCAP")
    if not value.strip():
        raise BadSetting(name, value, "the path of a folder")
    return Path(value).expanduser()
