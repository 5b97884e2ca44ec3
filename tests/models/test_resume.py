"""A fit that is killed goes on where it was, and ends with the bytes of one that nobody disturbed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from models import fit, job, resume
from models.orders import LOOP
from models.plugin import Progress
from models.resume import States, forget, state_folder
from tests.models.tiny_lake import TinyLake, fitted, order, silent, tiny_lake
from tests.sparing import first
from tests.warehouse.faulty_store import FaultyStore, on_store
from warehouse import Request, Warehouse, copies
from warehouse.errors import Diverged

NEVER_S = 1e9


@pytest.fixture(autouse=True)
def _costs_nothing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state after every step, however long it takes to write, except where that is the point."""
    if "costly" not in request.node.name:
        monkeypatch.setattr(resume, "_COST", 0)


class Killed(Exception):
    """What ends a fit here."""


class Mortal:
    """Progress that is told some notes and then ends the fit."""

    def __init__(self, n_notes: int) -> None:
        self.notes: list[str] = []
        self._n_notes = n_notes

    def __call__(self, done: int, total: int, note: str) -> None:
        told, _, _ = note.partition(", ")  # pace, and time that is left, are others each time
        self.notes.append(f"{done} of {total}, {told}")
        if len(self.notes) == self._n_notes:
            raise Killed


def _files(lake: TinyLake, request: Request, folder: Path, progress: Progress, every_s: float, **more: Any) -> dict:
    folder.mkdir(exist_ok=True)
    fit.write(lake.warehouse, request, folder, progress, weights=lake.weights, save_every_s=every_s, **more)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _with_kills(lake: TinyLake, request: Request, folder: Path, seed: int) -> tuple[dict, list[list[str]]]:
    """Killed after one to six notes until it is done; what it wrote, and the notes of each life."""
    chance, lives = random.Random(seed), []
    while True:
        mortal = Mortal(chance.randint(1, 6))
        lives.append(mortal.notes)
        try:
            return _files(lake, request, folder / str(len(lives)), mortal, 0.0), lives
        except Killed:
            continue


ORDERS: dict[str, dict[str, Any]] = {
    "mced": {"objective": {"label": 1.0, "feature": 1.0}, "fit": {
        "epochs": 4, "accumulate": 2, "schedule": "plateau", "plateau": 1, "patience": 2, "learning_rate": 0.02}},
    "cross_attention": {"fit": {"epochs": 2, "optimizer": "adam"}},
    "text_encoder": {"fit": {"epochs": 3, "batch_frames": 30}},
}  # fmt: skip


@pytest.mark.parametrize("student", first(1, ORDERS))
def test_a_fit_killed_again_and_again_ends_with_the_same_bytes(lake: TinyLake, tmp_path: Path, student: str) -> None:
    request = order(lake, student, seed=61, **ORDERS[student])
    expected = _files(lake, request, tmp_path / "undisturbed", silent, NEVER_S)
    immortal = Mortal(0)
    assert _files(lake, request, tmp_path / "kept", immortal, 0.0) == expected, "keeping states changes nothing"
    forget(lake.warehouse.root, request.key)
    found, lives = _with_kills(lake, request, tmp_path, seed=3)
    assert found == expected
    assert len(lives) > 2
    steps = [note for notes in lives for note in notes if " steps" in note]
    assert steps == [note for note in immortal.notes if " steps" in note], "no step is done twice, none left out"


def test_killed_while_it_judges(lake: TinyLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = order(lake, "mced", seed=62, fit={"epochs": 3})
    expected = _files(lake, request, tmp_path / "undisturbed", silent, NEVER_S)
    evaluate, n_calls = fit._evaluate, iter(range(9))

    def dying(*arguments: Any) -> Any:
        if next(n_calls) in (1, 2):
            raise Killed
        return evaluate(*arguments)

    monkeypatch.setattr(fit, "_evaluate", dying)
    for _ in range(2):
        with pytest.raises(Killed):
            _files(lake, request, tmp_path / "killed", silent, 0.0)
    assert _files(lake, request, tmp_path / "done", silent, 0.0) == expected


def test_what_another_loop_kept_is_not_used(lake: TinyLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = order(lake, "mced", seed=63)
    with pytest.raises(Killed):
        _files(lake, request, tmp_path / "killed", Mortal(3), 0.0)
    monkeypatch.setattr(fit, "LOOP", LOOP + 1)
    anew = Mortal(1)
    with pytest.raises(Killed):
        _files(lake, request, tmp_path / "anew", anew, 0.0)
    assert anew.notes[0].startswith("0 of 2, epoch 1: 1 of ")


def test_a_torn_state_costs_the_steps_since_the_one_before(lake: TinyLake, tmp_path: Path) -> None:
    request = order(lake, "mced", seed=64)
    expected = _files(lake, request, tmp_path / "undisturbed", silent, NEVER_S)
    with pytest.raises(Killed):
        _files(lake, request, tmp_path / "killed", Mortal(4), 0.0)
    newest = max(state_folder(lake.warehouse.root, request.key).iterdir())
    newest.write_bytes(newest.read_bytes()[:-7])
    after = Mortal(0)
    assert _files(lake, request, tmp_path / "done", after, 0.0) == expected


def test_opening_the_lake_sweeps_no_state(lake: TinyLake, tmp_path: Path) -> None:
    request = order(lake, "mced", seed=65)
    with pytest.raises(Killed):
        _files(lake, request, tmp_path / "killed", Mortal(3), 0.0)
    kept = state_folder(lake.warehouse.root, request.key)
    Warehouse(lake.warehouse.root)
    assert len(list(kept.iterdir())) == 2
    forget(lake.warehouse.root, request.key)
    assert not kept.exists()
    forget(lake.warehouse.root, request.key)  # nothing to forget is no mistake


def test_a_job_killed_with_9_ends_with_the_same_digest(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lakes = [tiny_lake(tmp_path / name) for name in ("disturbed", "undisturbed")]
    request = order(lakes[0], "mced", seed=66, fit={"epochs": 14})
    path = tmp_path / "request.json"
    path.write_text(json.dumps(request.as_json()))
    environment = os.environ | {"PYTHONWARNINGS": "error", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "models.job", str(lakes[0].warehouse.root), str(path), "--save-every", "0.05"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if json.loads(line)["done"] >= 7:
                break
        child.kill()
    assert child.returncode == -signal.SIGKILL
    assert lakes[0].warehouse.find(request) is None
    newest = max(state_folder(lakes[0].warehouse.root, request.key).iterdir())
    with safe_open(newest, framework="pt") as file:
        kept = json.loads(file.metadata()["facts"])
    assert kept["history"] or kept["n_steps"]
    capfd.readouterr()
    assert job.main(command[3:]) == 0  # the same in this process: the start of another costs seconds
    printed = capfd.readouterr()
    assert printed.err == ""
    *told, answer = [json.loads(line) for line in printed.out.splitlines()]
    assert told[0]["done"] >= len(kept["history"]), "it goes on, it does not begin anew"
    undisturbed = lakes[1].warehouse.materialize(
        request, lambda folder: fit.write(lakes[1].warehouse, request, folder, silent)
    )
    assert answer == {"key": request.key, "digest": undisturbed.digest}
    assert not state_folder(lakes[0].warehouse.root, request.key).exists()


def test_a_fit_that_is_killed_on_one_host_goes_on_on_another(
    lake: TinyLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Two hosts that share a store and no disk: the request is all that the second one is given."""
    url, root = "faulty://bucket/lake", lake.warehouse.root
    request = order(lake, "mced", seed=69, fit={"epochs": 4})
    path = tmp_path / "request.json"
    path.write_text(json.dumps(request.as_json()))
    FaultyStore.reset()
    for file in [root / "lake.json", *(root / "artifacts").rglob("*.*")]:
        FaultyStore.inner.pipe_file(f"/bucket/lake/{file.relative_to(root)}", file.read_bytes())
    expected = _files(lake, request, tmp_path / "undisturbed", silent, NEVER_S)

    monkeypatch.setenv("EMOLAKE_COPIES", str(tmp_path / "one"))
    one, mortal = replace(lake, warehouse=Warehouse(url)), Mortal(9)
    with pytest.raises(Killed):
        _files(one, request, tmp_path / "killed", mortal, 0.0)
    assert len(on_store(f".resume/{request.key}")) == 2
    assert not list((tmp_path / "killed").glob("state*")), "what is brought is no part of an artifact"

    copies.REMOTES.clear()
    monkeypatch.setenv("EMOLAKE_COPIES", str(tmp_path / "two"))
    job.run(url, path, save_every_s=0.0)
    *told, answer = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    was_at, goes_on_at = int(mortal.notes[-1].split(" of ")[0]), told[0]["done"]
    assert goes_on_at >= was_at > 0, "it goes on, it does not begin anew"
    made = Warehouse(url).find(request)
    assert made is not None and answer == {"key": request.key, "digest": made.digest}
    place = f"/bucket/lake/artifacts/checkpoint/{made.key}"
    files = {name: FaultyStore.inner.cat_file(f"{place}/{name}") for name in made.files}
    assert files == expected and on_store(".resume") == {}
    copies.REMOTES.clear()
    FaultyStore.reset()


def test_an_answer_that_is_there_needs_no_state(lake: TinyLake, tmp_path: Path) -> None:
    """As where a job was killed between its artifact and the end of its states."""
    request = order(lake, "linear", seed=67)
    fitted(lake, request)
    kept = state_folder(lake.warehouse.root, request.key)
    kept.mkdir(parents=True)
    path = tmp_path / "request.json"
    path.write_text(json.dumps(request.as_json()))
    job.run(lake.warehouse.root, path)
    assert not kept.exists()


def test_a_fit_that_diverges_keeps_nothing(lake: TinyLake, tmp_path: Path) -> None:
    fit_settings = {"learning_rate": 1e30, "gradient_clip": 0.0}
    request = order(lake, "mced", seed=68, fit=fit_settings, objective={"label": 1e38})
    with pytest.raises(Diverged, match="the training loss is not finite in epoch 1"):
        _files(lake, request, tmp_path / "diverged", silent, 0.0)
    assert not state_folder(lake.warehouse.root, request.key).exists()


@pytest.mark.slow
def test_two_processes_go_on_too(tmp_path: Path) -> None:
    lake = tiny_lake(tmp_path / "lake", n_utterances=40, parts=("train", "dev"))
    request = order(lake, "mced", fit={"epochs": 2, "accumulate": 2})
    expected = _files(lake, request, tmp_path / "undisturbed", silent, NEVER_S, n_processes=2)
    with pytest.raises(Exception, match="Killed"):
        _files(lake, request, tmp_path / "killed", Mortal(3), 0.0, n_processes=2)
    assert list(state_folder(lake.warehouse.root, request.key).iterdir())
    assert _files(lake, request, tmp_path / "done", silent, NEVER_S, n_processes=2) == expected


# -- the files -----------------------------------------------------------------------------------------------------


def _states(folder: Path, every_s: float = 0.0, **origin: Any) -> States:
    return States(folder / "states", folder, origin or {"loop": 1}, every_s)


def _write(states: States, number: int) -> None:
    tensors = {"weight": torch.full((3,), number + 0.1), "chance": torch.arange(5, dtype=torch.uint8)}
    states.write(tensors, {"n": number})


def test_the_newest_state_is_found_and_two_stay(tmp_path: Path) -> None:
    states = _states(tmp_path)
    assert states.newest() is None
    for number in range(12):
        _write(states, number)
    found = _states(tmp_path).newest()
    assert found is not None and found.facts == {"n": 11}
    assert torch.equal(found.tensors["weight"], torch.full((3,), 11.1))
    assert found.tensors["chance"].dtype == torch.uint8
    assert len(list((tmp_path / "states").iterdir())) == 2
    assert list(tmp_path.iterdir()) == [tmp_path / "states"], "nothing half-written stays beside"


@pytest.mark.parametrize("tear", [lambda b: b[:-1], lambda b: b"", lambda b: b[:40] + b"\0" + b[41:]])
def test_of_torn_states_the_one_before_counts(tmp_path: Path, tear: Any) -> None:
    states = _states(tmp_path)
    for number in (1, 2):
        _write(states, number)
    older, newer = sorted((tmp_path / "states").iterdir())
    newer.write_bytes(tear(newer.read_bytes()))
    found = states.newest()
    assert found is not None and found.facts == {"n": 1}
    older.write_bytes(tear(older.read_bytes()))
    assert states.newest() is None
    _write(states, 3)
    found = states.newest()
    assert found is not None and found.facts == {"n": 3}, "and a new one is newer than what is torn"


def test_a_state_of_another_origin_is_not_there(tmp_path: Path) -> None:
    _write(_states(tmp_path, loop=1, torch="2"), 1)
    assert _states(tmp_path, loop=2, torch="2").newest() is None
    assert _states(tmp_path, torch="2", loop=1).newest() is not None
    (tmp_path / "states" / "notes.txt").write_text("mine")
    assert _states(tmp_path, torch="2", loop=1).newest() is not None


def test_states_are_as_far_apart_as_asked_and_further_where_they_are_costly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("models.resume.time.monotonic", lambda: now)
    states = _states(tmp_path, every_s=60)
    assert not states.is_due()
    now = 60.0
    assert states.is_due()
    flush = os.fsync

    def slow(descriptor: int) -> None:
        nonlocal now
        now += 10
        flush(descriptor)

    monkeypatch.setattr("models.resume.os.fsync", slow)
    _write(states, 1)
    now += 199
    assert not states.is_due()
    now += 1
    assert states.is_due()
