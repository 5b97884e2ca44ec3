"""What every network can do without saying so: be kept, be read back, need no preparation, and be told by labels."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from models import losses
from models.batch import NO_LABEL, Batch
from models.network import Network
from models.orders import Fit


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


def test_the_label_loss_is_plain_unless_a_fit_says_otherwise() -> None:
    logits, labels = torch.rand(5, 3), torch.tensor([0, 0, 2, NO_LABEL, 1])
    network = Small()
    plain = losses.cross_entropy(logits, labels)
    assert torch.equal(network.label_loss(logits, labels), plain)
    network.set_label_loss(Fit(epochs=1, learning_rate=1, batch_frames=1), [0, 0, 0, 1], 3)
    assert network.class_weights is None and torch.equal(network.label_loss(logits, labels), plain)


def test_class_weights_are_those_of_the_training_labels_and_no_part_of_the_checkpoint() -> None:
    logits, labels = torch.rand(5, 3), torch.tensor([0, 0, 2, NO_LABEL, 1])
    fit = Fit(epochs=1, learning_rate=1, batch_frames=1, label_smoothing=0.1, class_weights="balanced")
    network = Small()
    names = set(network.state_dict())
    network.set_label_loss(fit, [0, 0, 0, 1, NO_LABEL], 3)
    weights = torch.tensor([4 / 9, 4 / 3, 0.0])
    assert torch.equal(network.label_loss(logits, labels), losses.cross_entropy(logits, labels, weights, 0.1))
    assert set(network.state_dict()) == names
    assert network.to("meta").class_weights.is_meta, "it goes where the network goes"  # type: ignore[union-attr]
