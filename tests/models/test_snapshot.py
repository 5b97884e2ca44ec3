"""What is taken and put back is all that the next steps depend on."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from torch import Tensor, nn

from models.determinism import reproducible
from models.resume import State, States
from models.snapshot import Course, Keeper, put_back, restored, taken, trained
from warehouse.operating_errors import StateNotSeen


class Chancy(nn.Module):
    """Dropout, batch statistics, a frozen layer, a weight with two names, and chance from three generators."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(4, 6).requires_grad_(False)
        self.norm, self.last = nn.BatchNorm1d(6), nn.Linear(6, 6)
        self.tied = nn.Linear(6, 6, bias=False)
        self.tied.weight = self.last.weight

    def forward(self, x: Tensor) -> Tensor:
        noise = random.gauss(0, 1) + float(np.random.normal())
        x = nn.functional.dropout(self.norm(self.frozen(x)), 0.3) + noise
        return self.tied(self.last(x)).square().mean()


class _Second:
    """What the second of two processes sees of Fabric, where the first has chosen a state."""

    world_size, global_rank, is_global_zero = 2, 1, False

    def __init__(self, chosen: str) -> None:
        self.chosen = chosen

    def broadcast(self, value: Any) -> Any:
        return self.chosen

    def all_gather(self, tensor: Tensor) -> Tensor:
        return torch.stack([torch.tensor(True), tensor])


def test_of_several_processes_the_first_chooses_and_the_others_read_that_or_all_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states, gone_on = States(tmp_path / "key", tmp_path, {}, 0), list[str]()
    for number in (1, 2):
        states.write({"w": torch.ones(number)}, {})
    older, newer = sorted(path.name for path in states.folder.iterdir())
    monkeypatch.setattr("models.snapshot.restored", lambda *arguments: gone_on.append(arguments[3].name))
    monkeypatch.setattr(States, "newest", lambda self: pytest.fail("only the first one looks"))
    for name in (older, newer, ""):
        Keeper(_Second(name), None, None, states).go_on(Course({}))  # type: ignore[arg-type]
    assert gone_on == [older, newer]
    with pytest.raises(StateNotSeen, match=r"^not every process of the fit finds the state 'another' in .*/key, from "):
        Keeper(_Second("another"), None, None, states).go_on(Course({}))  # type: ignore[arg-type]


def _built(fabric: Fabric, optimizer: str = "AdamW") -> tuple[Fabric, Chancy, Any, Any]:
    torch.manual_seed(1)
    network = Chancy()
    learned = [p for p in network.parameters() if p.requires_grad]
    module, wrapped = fabric.setup(network, getattr(torch.optim, optimizer)(learned, lr=0.1))
    return fabric, network, module, wrapped


def _fabric(precision: Any) -> Fabric:
    return Fabric(accelerator="cpu", devices=1, precision=precision)


def _scaled() -> tuple[Fabric, Chancy, Any, Any]:
    """With a gradient scaler, which Fabric itself gives to graphics cards only."""
    precision = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))
    return _built(Fabric(accelerator="cpu", devices=1, plugins=[precision]))


def _steps(fabric: Fabric, module: Any, optimizer: Any, course: Course, n: int) -> list[float]:
    losses = []
    for _ in range(n):
        loss = module(torch.randn(8, 4))
        fabric.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        course.n_steps += 1
        course.sums["label"] += loss.item()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("optimizer", ["Adam", "AdamW"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("n_before", [0, 3])
def test_the_steps_after_are_the_steps_after(optimizer: str, precision: str, n_before: int) -> None:
    with reproducible(5):
        fabric, network, module, steps = _built(_fabric(precision), optimizer)
        course = Course({"label": 0.0}, [{"epoch": 1, "dev_loss": 0.1 + 0.2}])
        _steps(fabric, module, steps, course, n_before)
        course.kept = trained(network)
        state = taken(fabric, network, steps, course)
        expected = _steps(fabric, module, steps, course, 4)
    facts = json.loads(json.dumps(state.facts))  # as they come from a file
    with reproducible(99):
        fabric, other, module, steps = _built(_fabric(precision), optimizer)
        again = Course({"label": 0.0})
        restored(fabric, other, steps, State(state.tensors, facts), again)
        assert again.history == [{"epoch": 1, "dev_loss": 0.1 + 0.2}] and again.n_steps == n_before
        assert _steps(fabric, module, steps, again, 4) == expected
    assert again.sums == course.sums
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_what_is_frozen_is_not_kept() -> None:
    network = Chancy()
    found = trained(network)
    assert found.keys() == {
        "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked",
        "last.weight", "last.bias", "tied.weight",
    }  # fmt: skip
    other = Chancy()
    frozen = other.frozen.weight.clone()
    put_back(other, found)
    assert torch.equal(other.tied.weight, network.last.weight)
    assert torch.equal(other.frozen.weight, frozen)


def test_a_copy_does_not_follow_the_training() -> None:
    network = Chancy()
    found = trained(network)
    before = found["last.weight"].clone()
    with torch.no_grad():
        network.last.weight.add_(1)
    assert torch.equal(found["last.weight"], before)


def test_the_scale_of_half_precision_goes_on() -> None:
    with reproducible(0):
        fabric, network, _, steps = _scaled()
        kept = {"scale": 8.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 9, "_growth_tracker": 4}
        fabric.strategy.precision.load_state_dict(kept)
        state = taken(fabric, network, steps, Course({"label": 0.0}))
        fabric, network, _, steps = _scaled()
        restored(fabric, network, steps, state, Course({"label": 0.0}))
        assert fabric.strategy.precision.state_dict() == kept
