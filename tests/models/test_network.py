"""What every network can do without saying so: be kept, be read back, and need no preparation."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from models.batch import Batch
from models.network import Network


class Small(Network):
    """One layer and one buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.register_buffer("mean", torch.rand(3))

    def forward(self, batch: Tensor) -> Tensor:
        return self.layer(batch - self.mean)


def test_what_is_saved_is_read_back_to_the_bit(tmp_path: Path) -> None:
    one, two = Small(), Small()
    one.save(tmp_path)
    two.load(tmp_path)
    assert all(torch.equal(weight, two.state_dict()[name]) for name, weight in one.state_dict().items())
    batch = torch.rand(4, 3)
    assert torch.equal(one(batch), two(batch))


def test_the_same_weights_are_the_same_bytes(tmp_path: Path) -> None:
    network = Small()
    for name in "ab":
        (tmp_path / name).mkdir()
        network.save(tmp_path / name)
    files = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    assert files and files == {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()}


def test_a_network_that_says_nothing_prepares_nothing_and_has_no_losses() -> None:
    network = Small()
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    never: list[Batch] = []
    network.prepare(never)
    network.solve(never)
    assert all(torch.equal(weight, before[name]) for name, weight in network.state_dict().items())
    assert network.fresh is None
