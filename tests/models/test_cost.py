"""What a fit cost: counted, measured, and in no byte of what it made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from models import cost, job
from models.cost import Spent, cost_of, forget_peaks, n_parameters, peak_bytes
from tests.models.tiny_lake import TinyLake, fitted, order, tiny_lake
from tests.sparing import first


def test_seconds_and_what_was_got_through_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 12.0, 20.0, 20.5])
    monkeypatch.setattr(cost.time, "monotonic", lambda: next(clock))
    spent = Spent()
    with spent.on(30, [["a", "b"], ["c"]]):
        pass
    with spent.on(5, [["d"]]):
        pass
    assert spent == Spent(train_s=2.5, n_steps=35, n_utterances=4)


def test_parameters_are_counted_and_those_that_training_changes() -> None:
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    network[0].requires_grad_(False)
    assert n_parameters(network) == (4 * 3 + 3 + 3 + 3 + 3 * 2 + 2, 3 + 3 + 3 * 2 + 2)


def test_what_is_solved_in_closed_form_counts_what_it_keeps() -> None:
    network = nn.Module()
    network.register_buffer("weight", torch.zeros(3, 4))
    network.register_buffer("seen", torch.zeros(9), persistent=False)
    assert n_parameters(network) == (12, 12)


def test_the_peak_of_memory_begins_anew() -> None:
    forget_peaks(torch.device("cpu"))
    before = peak_bytes()
    held = bytearray(64 * 2**20)
    held[::4096] = b"x" * len(held[::4096])
    with_it = peak_bytes()
    assert with_it - before > 48 * 2**20
    del held
    forget_peaks(torch.device("cpu"))
    assert with_it - peak_bytes() > 48 * 2**20


def test_the_peak_where_there_is_no_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    most = peak_bytes()
    monkeypatch.setattr(cost, "_PROCESS", tmp_path / "absent")
    forget_peaks(torch.device("cpu"))
    assert 0.9 < peak_bytes() / most < 10, "bytes here as there"


def test_a_record_is_json() -> None:
    found = cost_of(nn.Linear(2, 1), Spent(1.5, 20, 3), "speech", torch.device("cpu"), 2)
    assert found.pop("peak_bytes") > 0
    assert json.loads(json.dumps(found)) == {
        "device": "cpu", "processes": 2, "parameters": 3, "trained_parameters": 3, "train_s": 1.5, "role": "speech",
        "n_steps": 20, "n_utterances": 3,
    }  # fmt: skip


@pytest.mark.parametrize(("student", "role", "n_epochs"), first(1, [("mced", "speech", 2), ("linear", "vector", 1)]))
def test_a_job_records_what_its_fit_cost_and_its_bytes_know_nothing_of_it(
    lake: TinyLake, tmp_path: Path, student: str, role: str, n_epochs: int
) -> None:
    other = tiny_lake(tmp_path / "lake")
    request = order(other, student, seed=51)
    path = tmp_path / "request.json"
    path.write_text(json.dumps(request.as_json()))
    job.run(other.warehouse.root, path)
    made = other.warehouse.find(request)
    assert made is not None
    found = made.environment["cost"]
    assert (found["role"], found["n_utterances"]) == (role, 24 * n_epochs), "half of 48 are in train"
    assert found["n_steps"] >= found["n_utterances"] and found["parameters"] == found["trained_parameters"] > 0
    assert 0 < found["train_s"] <= made.environment["work_s"]
    assert made.digest == fitted(lake, request).digest, "that of one made without a record"
