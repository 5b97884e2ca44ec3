"""The scripts of `infra/slurm`, submitted to the cluster of `tests.infra.cluster`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.slurm_options import load_submitit, read_options
from tests.infra.cluster import Cluster

SCRIPTS = sorted((Path(__file__).parents[2] / "infra" / "slurm").glob("*.sbatch"))
STAND_IN = """#!/bin/bash
exec python3 -S -c '
import json, os, pathlib, signal, sys, time
log = pathlib.Path(os.environ["LOG"])
def end(number, frame):
    with open(log, "a") as lines:
        lines.write(json.dumps({"signal": number}) + "\\n")
    sys.exit(130)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, end)
settings = {name: value for name, value in os.environ.items() if name.startswith("EMOLAKE_")}
with open(log, "a") as lines:
    lines.write(json.dumps({"words": sys.argv[1:], "settings": settings}) + "\\n")
if len(log.read_text().splitlines()) == 1 and "wait" in sys.argv:
    time.sleep(60)
' "$@"
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """With an `emolake` and a `python` that write down what they are told."""
    made = Cluster(tmp_path / "cluster")
    for name in ("emolake", "python"):
        (made.root / "bin" / name).write_text(STAND_IN)
        (made.root / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{made.root / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    yield made
    made.close()


def _lines(folder: Path, n: int) -> list[dict]:
    """What the stand-in was told, once it was told so often."""
    return _when(lambda: [json.loads(line) for line in _text(folder / "log").splitlines()], lambda told: len(told) >= n)


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _when(look: Callable[[], Any], is_so: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + 20
    while not is_so(seen := look()):
        assert time.monotonic() < deadline, seen
        time.sleep(0.02)
    return seen


def _submit(name: str, *words: str) -> None:
    [script] = [path for path in SCRIPTS if path.name == name]
    subprocess.run(["sbatch", str(script), *words], check=True, capture_output=True)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_one_and_asks_for_what_there_is(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)
    asked = set(re.findall(r"^#SBATCH --([a-z-]+)", script.read_text(), re.MULTILINE))
    known = {name.replace("_", "-") for name in load_submitit().SlurmExecutor._valid_parameters()}
    assert asked <= known | {"output", "open-mode", "requeue", "signal"}
    settings = set(re.findall(r"EMOLAKE_SLURM_([A-Z_]+)", script.read_text()))
    parameters = read_options({"EMOLAKE_SLURM_CLUSTER": "local"} | {f"EMOLAKE_SLURM_{name}": "1" for name in settings})
    assert "slurm_additional_parameters" not in parameters.parameters


def test_a_flow_launches_its_jobs_on_the_cluster_and_is_interrupted_in_time(tmp_path: Path, cluster: Cluster) -> None:
    _submit("flow.sbatch", "recipe with a space", "--lake", "/lake", "wait")
    [told] = _lines(tmp_path, 1)
    assert told["words"] == ["run", "recipe with a space", "--lake", "/lake", "wait"]
    assert told["settings"]["EMOLAKE_LAUNCHER"] == "slurm"
    assert told["settings"]["EMOLAKE_SLURM_GRES"] == "gpu:1"
    [job] = cluster.jobs
    os.kill(_shell_of(job), signal.SIGINT)  # as --signal=B:INT does
    assert _lines(tmp_path, 2)[1] == {"signal": signal.SIGINT}


def test_a_job_by_hand_is_queued_again_when_its_time_is_up(tmp_path: Path, cluster: Cluster) -> None:
    _submit("job.sbatch", "/a lake", "request.json", "--processes", "4", "wait")
    [told] = _lines(tmp_path, 1)
    wanted = ["-P", "-m", "models.job", "/a lake", "request.json", "--device", "auto", "--processes", "4", "wait"]
    assert told["words"] == wanted
    [job] = cluster.jobs
    os.kill(_shell_of(job), signal.SIGUSR2)  # as --signal=B:USR2 does
    _, ended, again = _lines(tmp_path, 3)
    assert (ended, again["words"]) == ({"signal": signal.SIGTERM}, wanted)
    assert cluster.calls("scontrol") == [["requeue", job.name]]
    assert _when(lambda: (job / "state").read_text(), lambda state: state not in ("PENDING", "RUNNING")) == "COMPLETED"


def _shell_of(job: Path) -> int:
    """The process that runs the script of a job."""
    supervisor = (job / "group").read_text()
    return int(Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()[0])
