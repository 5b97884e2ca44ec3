"""The only door of a host that computes: `python -m models.job LAKE REQUEST.json` makes what the file orders.

The file holds one request, or a list of them that are answered one after the other.

On stdout one JSON object per line: `{"done": 3, "total": 10, "note": "dev loss 0.83"}` while working, and for each
request `{"key": …, "digest": …}`, or `{"key": …, "error": …}` where it could not be made; the others are made all the
same. A mistake is one sentence on stderr and exit code 1, an interruption exit code 130.

Several devices, of several hosts too, share each fit where `torchrun` starts the same command once for each of them:
`torchrun --nproc-per-node 4 -m models.job LAKE REQUEST.json --device cuda`. The lake is on a disk that all hosts have;
the first process alone speaks, and writes the artifact.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from models.plugin import Progress
from models.processes import launched, of_the_first
from models.resume import SAVE_EVERY_S, forget
from warehouse import Request, Warehouse
from warehouse.artifact import Artifact
from warehouse.errors import EmolakeError, InvalidField, MalformedSource, UnknownName

MOST_FILES = 65_536


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m models.job", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("lake", help="folder or URL of the lake")
    parser.add_argument("request", type=Path, help="file that holds the request as JSON")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda", "mps", "auto"), help="where to compute")
    parser.add_argument("--processes", type=int, default=1, help="how many devices share a fit, without torchrun")
    parser.add_argument(
        "--weights", action="append", default=[], type=_placed, metavar="DIGEST=FOLDER",
        help="where a placed checkpoint lies here; again for each",
    )  # fmt: skip
    parser.add_argument(
        "--save-every", type=float, default=SAVE_EVERY_S, metavar="SECONDS", help="how often a fit keeps its state",
    )  # fmt: skip
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGUSR2, _interrupt)  # Slurm's word that the time is up
    hold_many_files()
    if os.environ.get("EMOLAKE_PARENT_PIPE") == "1":
        threading.Thread(target=_follow_parent, daemon=True).start()
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what libraries print is not for the reader of our lines
            weights = dict(chosen.weights)
            run(chosen.lake, chosen.request, chosen.device, chosen.processes, weights, chosen.save_every)
    except EmolakeError as error:
        who = f"process {launched().rank}: " if launched().rank else ""
        print(f"{who}{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def hold_many_files() -> None:
    """Lifts this process's limit of open files as far as it may: each shard that a fit reads stays open as a map."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run(
    lake: Path | str, path: Path, device: str = "cpu", n_processes: int = 1, weights: Mapping[str, Path] | None = None,
    save_every_s: float = SAVE_EVERY_S,
) -> None:  # fmt: skip
    """Makes the artifact of each request unless it exists, and prints its key and digest, or what stopped it.

    Raises:
        EmolakeError: the file holds no request of this room; or, after the last request, what stopped the first that
            could not be made. Processes that share fits stop at once.
    """
    warehouse = Warehouse(lake)
    requests = _read_requests(path)
    mistakes: list[EmolakeError] = []
    with warehouse.scratch("jobs", is_announced=True):  # seen by whoever would take something away meanwhile
        for number, request in enumerate(requests):
            report = partial(_report, number, len(requests))
            try:
                _answer(warehouse, request, report, device, n_processes, weights, save_every_s)
            except EmolakeError as error:
                if launched().n > 1:
                    raise
                _print_line({"key": request.key, "error": str(error)})
                mistakes.append(error)
    if mistakes:
        raise mistakes[0]


def _answer(
    warehouse: Warehouse, request: Request, report: Progress, device: str, n_processes: int,
    weights: Mapping[str, Path] | None, save_every_s: float,
) -> None:  # fmt: skip
    artifact = warehouse.find(request)
    cost: dict[str, Any] = {}
    work = partial(_work, warehouse, request, report, device, n_processes, weights, save_every_s, cost)
    if launched().rank:
        _help(request, device, work)
        return
    if artifact is None:
        artifact = _made(warehouse, request, device, work, cost)
    elif launched().n > 1 and request.kind == "checkpoint":
        of_the_first(device, False)
    forget(warehouse.root, request.key, warehouse.store.url if warehouse.store else "")
    _print_line({"key": artifact.key, "digest": artifact.digest})


def _made(
    warehouse: Warehouse, request: Request, device: str, work: Callable[[Path], None], cost: Mapping[str, Any]
) -> Artifact:
    """What the first process, or the only one, does for a request whose artifact it did not find."""
    if launched().n == 1 or request.kind != "checkpoint":
        return warehouse.materialize(request, work, cost)
    _check(device)
    begun = False

    def together(folder: Path) -> None:
        nonlocal begun
        begun = of_the_first(device, True)
        work(folder)

    artifact = warehouse.materialize(request, together, cost)
    if not begun:  # another job made it just now: the others must not begin
        of_the_first(device, False)
    return artifact


def _help(request: Request, device: str, work: Callable[[Path], None]) -> None:
    """What the other processes do for a request: they share a fit that the first one begins, and nothing else."""
    if request.kind == "checkpoint":
        _check(device)
        if of_the_first(device, False):
            with tempfile.TemporaryDirectory() as unneeded:
                work(Path(unneeded))


def _work(
    warehouse: Warehouse, request: Request, progress: Progress, device: str, n_processes: int,
    weights: Mapping[str, Path] | None, save_every_s: float, cost: dict[str, Any], folder: Path,
) -> None:  # fmt: skip
    _check(device)
    # Imported here: an answer that exists needs no torch, and predictions need nothing of the training loop.
    if request.kind == "checkpoint":
        from models import fit

        cost["cost"] = fit.write(warehouse, request, folder, progress, device, n_processes, weights, save_every_s)
    elif request.kind == "predictions":
        from models import predict

        predict.write(warehouse, request, folder, progress, _best() if device == "auto" else device)
    elif request.kind == "shards":
        from models import teach

        teach.write(warehouse, request, folder, progress, _best() if device == "auto" else device)
    elif request.kind == "explanations":
        from models import explaining

        explaining.write(warehouse, request, folder, progress, _best() if device == "auto" else device)
    else:
        raise UnknownName("kind of job", request.kind, ("checkpoint", "predictions", "shards", "explanations"))


def _placed(text: str) -> tuple[str, Path]:
    digest, is_there, folder = text.partition("=")
    if not is_there:
        raise argparse.ArgumentTypeError(f"'{text}' is not DIGEST=FOLDER")
    return digest, Path(folder)


def _read_requests(path: Path) -> list[Request]:
    try:
        found = json.loads(path.read_bytes())
        return [Request.from_json(request) for request in (found if isinstance(found, list) and found else [found])]
    except OSError as error:
        raise MalformedSource(path, f"cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedSource(path, f"holds no request ({type(error).__name__}: {error})") from error


def _report(number: int, n_requests: int, done: int, total: int, note: str) -> None:
    """Progress over all requests: each counts alike, however many steps it has."""
    _print_line({"done": number * total + done, "total": n_requests * total, "note": note})


def _print_line(line: dict[str, Any]) -> None:
    print(json.dumps(line, ensure_ascii=False), file=sys.__stdout__, flush=True)


def _check(device: str) -> None:
    if device in ("cuda", "mps") and not _has(device):
        raise InvalidField("the job", "device", f"is '{device}', but this machine has none that torch can use")


def _has(device: str) -> bool:
    import torch

    return torch.cuda.is_available() if device == "cuda" else torch.backends.mps.is_available()


def _best() -> str:
    return next((device for device in ("cuda", "mps") if _has(device)), "cpu")


def _follow_parent() -> None:
    """Whoever launched this job holds the other end of stdin; when it is gone, even by `kill -9`, so is the job."""
    while os.read(0, 1):  # the descriptor: a thread inside sys.stdin would abort the interpreter at exit
        pass
    os.killpg(0, signal.SIGKILL)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
