"""A fit that several processes share, started as `torchrun` does it; on CPUs, over gloo."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from models import job
from models.checkpoint import load
from models.processes import Launched, fabric_for, launched, n_sharing
from tests.models.tiny_lake import TinyLake, fitted, order, tiny_lake
from warehouse import Artifact, Request
from warehouse.errors import InvalidField

TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
SHARED: dict[str, Any] = {"epochs": 3, "batch_frames": 60, "accumulate": 3, "learning_rate": 3e-3}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}


def test_a_process_that_torchrun_did_not_start_is_alone() -> None:
    assert launched({"RANK": "3", "WORLD_SIZE": "4"}) == Launched(rank=0, n=1, n_here=1)
    assert launched(TORCHRUN) == Launched(rank=1, n=2, n_here=2)


def test_torchrun_alone_says_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (n_sharing(1, 4), n_sharing(3, 4), n_sharing(8, 4)) == (1, 3, 4), "no more than a step has batches"
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert n_sharing(1, 4) == 2
    with pytest.raises(InvalidField, match=r"'processes' are 4, but torchrun has started 2: it alone says"):
        n_sharing(4, 4)
    with pytest.raises(InvalidField, match=r"'processes' are 2, but a step has 1 batches to share: raise 'accumulate'"):
        n_sharing(1, 1)


def test_processes_of_several_hosts_are_one_world(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (TORCHRUN | {"WORLD_SIZE": "6", "RANK": "4", "LOCAL_RANK": "0", "GROUP_RANK": "2"}).items():
        monkeypatch.setenv(name, value)
    fabric = fabric_for("cpu", precision="bf16-mixed")
    assert (fabric.world_size, fabric.global_rank, fabric.local_rank, fabric.node_rank) == (6, 4, 0, 2)


def test_within_a_job_of_slurm_we_start_the_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "srun").touch(mode=0o755)  # whose absence from our command line would be warned of
    monkeypatch.setenv("PATH", str(tmp_path))
    assert fabric_for("cpu").world_size == 1
    for name, value in {"NTASKS": "1", "NTASKS_PER_NODE": "1", "PROCID": "0", "LOCALID": "0", "NODEID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert fabric_for("cpu", 2).world_size == 2, "though there is one task"


def test_what_is_no_fit_is_left_to_the_first(
    lake: TinyLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "request.json"
    path.write_text(json.dumps(Request("predictions", "models.predict", 1, {}, {}).as_json()))
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    job.run(lake.warehouse.root, path)
    assert capsys.readouterr() == ("", "")


def test_a_mistake_is_told_with_the_process_that_made_it(
    lake: TinyLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert job.main([str(lake.warehouse.root), str(tmp_path / "absent.json")]) == 1
    assert capsys.readouterr().err.startswith("process 1: ")


def test_the_others_begin_a_fit_only_with_the_first(
    lake: TinyLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where another job makes it after the first process looked."""
    told: list[bool] = []
    monkeypatch.setattr(job, "of_the_first", lambda device, value: told.append(value) or value)
    for name, value in (TORCHRUN | {"RANK": "0", "LOCAL_RANK": "0"}).items():
        monkeypatch.setenv(name, value)
    request = Request("checkpoint", "made", 1)
    work = lambda folder: (folder / "x").write_text("x") and None  # noqa: E731
    made = job._made(lake.warehouse, request, "cpu", work, {})
    assert told == [True] and lake.warehouse.find(request) == made
    assert job._made(lake.warehouse, request, "cpu", lambda folder: pytest.fail("again"), {}) == made
    assert told == [True, False]


@pytest.mark.slow
def test_two_processes_of_torchrun_commit_once_what_one_makes(tmp_path: Path) -> None:
    """Three requests in one job: one that is there; a network without batch statistics, all of whose history must be
    that of one process; and a closed form, whose bytes must be."""
    alone, together = (tiny_lake(tmp_path / name) for name in ("alone", "together"))
    fields = {"dropout": 0.0}
    requests = [
        order(alone, "linear", seed=3), order(alone, "mult", fit=SHARED, fields=fields), order(alone, "linear", seed=4)
    ]  # fmt: skip
    there = fitted(together, requests[0])
    lines = _torchrun(together, requests, tmp_path)
    assert [line["key"] for line in lines if "key" in line] == [request.key for request in requests]
    assert len([line for line in lines if "note" in line]) == SHARED["epochs"] + 1, "one process speaks"
    for request in requests[:1] + requests[2:]:
        assert together.warehouse.find(request).digest == fitted(alone, request).digest  # type: ignore[union-attr]
    assert together.warehouse.find(requests[0]) == there
    made = together.warehouse.find(requests[1])
    assert made is not None and len(together.warehouse.artifacts("checkpoint")) == 3
    assert list((together.warehouse.root / ".scratch").iterdir()) == []
    assert not (together.warehouse.root / ".resume" / requests[1].key).exists()
    ours, theirs = _history(fitted(alone, requests[1])), _history(made)
    assert [row.keys() for row in ours] == [row.keys() for row in theirs]
    for here, there_too in zip(ours, theirs, strict=True):
        assert here == pytest.approx(there_too, rel=1e-5)
    weights = [load(artifact.folder)[1].state_dict() for artifact in (fitted(alone, requests[1]), made)]
    for name, tensor in weights[0].items():  # gradients are added up in another order, and Adam divides by their size
        torch.testing.assert_close(tensor, weights[1][name], rtol=0, atol=1e-4)


@pytest.mark.slow
def test_a_job_that_starts_its_processes_itself_makes_the_same(tmp_path: Path) -> None:
    alone, together = (tiny_lake(tmp_path / name) for name in ("alone", "together"))
    request = order(alone, "mult", fit=SHARED, fields={"dropout": 0.0})
    done = _run(together, [request], tmp_path, start=(), options=("--processes", "2"))
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["done"] for line in done.stdout.splitlines()[:-1]] == [1, 2, 3]
    made = together.warehouse.find(request)
    assert made is not None
    for here, there in zip(_history(fitted(alone, request)), _history(made), strict=True):
        assert here == pytest.approx(there, rel=1e-5)


@pytest.mark.slow
def test_a_mistake_ends_all_processes(tmp_path: Path) -> None:
    lake = tiny_lake(tmp_path / "lake")
    request = order(lake, "mult")  # one batch a step: nothing to share
    done = _run(lake, [request], tmp_path)
    assert done.returncode != 0
    assert "'processes' are 2, but a step has 1 batches to share: raise 'accumulate' or use fewer" in done.stderr
    assert lake.warehouse.find(request) is None


def _torchrun(lake: TinyLake, requests: list[Request], folder: Path) -> list[dict[str, Any]]:
    done = _run(lake, requests, folder)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def _run(
    lake: TinyLake, requests: list[Request], folder: Path, start: Sequence[str] = TWO, options: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    path = folder / "requests.json"
    path.write_text(json.dumps([request.as_json() for request in requests]))
    command = [sys.executable, *start, "-m", "models.job", str(lake.warehouse.root), str(path), *options]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[2]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=root, timeout=300)


def _history(artifact: Artifact) -> list[dict[str, float]]:
    with open(artifact.path("history.csv"), newline="") as stream:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)]
