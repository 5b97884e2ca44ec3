from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision, Precision
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from models import fit
from models.logs import EVERY, Log, gradient_norm, log_folder
from models.pace import Pace
from models.stream import Stream
from tests.models.tiny_lake import TinyLake, fitted, order, silent, tiny_lake
from tests.sparing import first
from warehouse import Artifact

Curve = list[tuple[int, float]]


def _read(folder: Path) -> dict[str, Curve]:
    """What TensorBoard itself finds in a folder: tag -> steps and values."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def _history(artifact: Artifact) -> list[dict[str, float]]:
    with open(artifact.path("history.csv"), newline="") as stream:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)]


@pytest.mark.parametrize("gradient_clip", first(1, [1.0, 0.0]))
def test_tensorboard_finds_the_history_and_points_between(tmp_path: Path, gradient_clip: float) -> None:
    lake = tiny_lake(tmp_path / "lake")
    settings = {"epochs": 3, "batch_frames": 60, "gradient_clip": gradient_clip}
    request = order(lake, "mced", fit=settings, objective={"label": 1.0, "response": 0.5})
    artifact = fitted(lake, request)
    found = _read(log_folder(lake.warehouse.root, request.key))
    history = _history(artifact)
    ends = [step for step, _ in found["epoch/epoch"]]
    for name in history[0].keys() - {"kept"}:
        assert [value for _, value in found[f"epoch/{name}"]] == pytest.approx([row[name] for row in history], rel=1e-6)
    points = {tag.removeprefix("step/"): curve for tag, curve in found.items() if tag.startswith("step/")}
    pace = "steps_of_'speech'_per_second"
    assert points.keys() == {"loss", "label", "response", "learning_rate", "gradient_norm", pace}
    for curve in points.values():
        assert [step for step, _ in curve] == list(range(EVERY, ends[-1] + 1, EVERY)) != []
        assert all(math.isfinite(value) and value > 0 for _, value in curve)
    assert [value for _, value in points["loss"]] == pytest.approx(
        [a + 0.5 * b for (_, a), (_, b) in zip(points["label"], points["response"], strict=True)], rel=1e-5
    )
    assert all(value > 0 for _, value in found[f"epoch/{pace}"])


def test_a_log_changes_no_byte(lake: TinyLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = order(lake, "mced", seed=88, fit={"gradient_clip": 0.0, "batch_frames": 40})
    monkeypatch.setattr("models.logs.EVERY", 1)
    fit.write(lake.warehouse, request, tmp_path, silent)
    told = (tmp_path / "model.safetensors").read_bytes()
    monkeypatch.setattr(Log, "open", lambda *_: None)
    fit.write(lake.warehouse, request, tmp_path, silent)
    assert (tmp_path / "model.safetensors").read_bytes() == told


def test_a_fit_that_went_on_has_one_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended in the second epoch and begun again, every point is there once, and losses are those of the whole fit."""
    lake, other = (tiny_lake(tmp_path / name) for name in ("ended", "undisturbed"))
    monkeypatch.setattr("models.logs.EVERY", 2)
    monkeypatch.setattr("models.resume._COST", 0)  # a state after every step
    settings = {"epochs": 3, "batch_frames": 60}
    request = order(lake, "mced", fit=settings)
    fitted(other, request)

    def end(done: int, total: int, note: str) -> None:
        if note.startswith("epoch 2: 3 of"):
            raise KeyboardInterrupt

    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with pytest.raises(KeyboardInterrupt):
        fit.write(lake.warehouse, request, tmp_path / "one", end, save_every_s=0.0)
    fit.write(lake.warehouse, request, tmp_path / "two", silent, save_every_s=0.0)
    ours, whole = (_read(log_folder(each.warehouse.root, request.key)) for each in (lake, other))
    assert ours.keys() == whole.keys()
    for tag in ("epoch/train_loss", "epoch/dev_loss", "step/learning_rate", "step/gradient_norm"):
        assert ours[tag] == whole[tag]
    assert [step for step, _ in ours["step/loss"]] == [step for step, _ in whole["step/loss"]]


def test_no_folder_no_log(lake: TinyLake) -> None:
    log = Log(None, _pace(lake), {"label": 1.0})
    log.open(0)
    log.step(EVERY, [["a"]], {"label": 1.0}, 0.1, None)
    log.epoch(EVERY, {"epoch": 1.0}, [], 1.0)
    log.close()
    assert not log.is_due(EVERY)


def test_a_closed_form_has_nothing_to_tell(tmp_path: Path) -> None:
    lake = tiny_lake(tmp_path / "lake")
    request = order(lake, "linear")
    fitted(lake, request)
    assert not log_folder(lake.warehouse.root, request.key).exists()


@pytest.mark.parametrize("precision", [
    Precision(), MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=256.0)),
], ids=["32-true", "16-mixed"])  # fmt: skip
def test_the_norm_is_that_of_the_gradients_unscaled_and_changes_none(precision: Precision) -> None:
    fabric = Fabric(accelerator="cpu", plugins=[precision])
    network = torch.nn.Linear(3, 2)
    module, optimizer = fabric.setup(network, torch.optim.SGD(network.parameters(), lr=0.1))
    fabric.backward((module(torch.ones(4, 3)) ** 2).sum())
    norm = gradient_norm(fabric, module, optimizer)
    gradients = [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]
    wanted = math.sqrt(sum(float((g.double() ** 2).sum()) for g in gradients))
    assert float(norm) == pytest.approx(wanted, rel=1e-4)
    x = torch.ones(4, 3)
    plain = torch.autograd.grad((network(x) ** 2).sum(), list(network.parameters()))
    for gradient, expected in zip(gradients, plain, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=2e-2, atol=1e-2)
    optimizer.step()


def _pace(lake: TinyLake) -> Pace:
    shards = {"speech": [lake.warehouse.resolve(digest).folder for digest in lake.shards["speech"]]}
    return Pace(Stream(shards, "train", {"u000": None}, (), 100), {})
