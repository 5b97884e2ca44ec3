"""What every network can do without saying so: be kept, be read back, need no preparation, and be told by labels."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from models import losses
from models.batch import NO_LABEL, Batch
from models.network import Network, reaching
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


def _batch(labels: list[int], targets: torch.Tensor | None = None) -> Batch:
    return Batch(tuple(map(str, labels)), {}, {}, {}, torch.tensor(labels), targets)


def test_the_label_loss_is_plain_unless_a_fit_says_otherwise() -> None:
    logits, batch = torch.rand(5, 3), _batch([0, 0, 2, NO_LABEL, 1])
    network = Small()
    plain = losses.cross_entropy(logits, batch.labels)
    assert torch.equal(network.label_loss(logits, batch), plain)
    network.set_label_loss(Fit(epochs=1, learning_rate=1, batch_frames=1), [0, 0, 0, 1], 3)
    assert network.class_weights is None and torch.equal(network.label_loss(logits, batch), plain)


def test_votes_that_agree_are_the_label_and_others_are_not() -> None:
    labels = [0, 0, 2, NO_LABEL, 1]
    sure = torch.zeros(5, 3)
    for row, label in enumerate(labels):
        if label != NO_LABEL:
            sure[row, label] = 1.0
    network, logits = Small(), torch.randn(5, 3)
    network.set_label_loss(
        Fit(epochs=1, learning_rate=1, batch_frames=1, label_smoothing=0.2, class_weights="balanced"), [0, 0, 1, 2], 3
    )
    hard = network.label_loss(logits, _batch(labels))
    torch.testing.assert_close(network.label_loss(logits, _batch(labels, sure)), hard, rtol=1e-6, atol=0)
    torn = sure.clone()
    torn[0] = torch.tensor([0.5, 0.5, 0.0])
    expected = losses.soft_cross_entropy(logits, torn, network.class_weights, 0.2)
    assert torch.equal(network.label_loss(logits, _batch(labels, torn)), expected) and not torch.isclose(expected, hard)


class Pair(Network):
    """Two last layers, whose logits are added up."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, 2), nn.Linear(1, 2)])

    def last_layers(self) -> list[nn.Linear]:
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def forward(self, batch: Batch) -> Tensor:
        return self.layers[1](batch.arrays["x"][:, 3:]) + self.layers[0](batch.arrays["x"][:, :3] * 2)


def test_an_answer_is_the_logits_and_what_the_last_layers_were_given() -> None:
    network, x = Pair(), torch.randn(5, 4, requires_grad=True)
    batch = Batch(tuple("abcde"), {"x": x}, {}, {}, torch.zeros(5, dtype=torch.int64))
    logits, pooled = network.answers(batch)
    assert torch.equal(logits, network(batch))
    assert pooled is not None and torch.equal(pooled, torch.cat([2 * x[:, :3], x[:, 3:]], dim=-1))
    pooled.sum().backward()
    assert x.grad is not None, "a loss of it reaches what is before"
    assert not any(layer._forward_pre_hooks for layer in network.layers), "nothing stays behind"


def test_a_network_without_last_layers_says_its_logits_alone() -> None:
    class Bare(Network):
        def forward(self, batch: Batch) -> Tensor:
            return batch.arrays["x"]

    batch = Batch(("a",), {"x": torch.rand(1, 2)}, {}, {}, torch.tensor([0]))
    logits, pooled = Bare().answers(batch)
    assert torch.equal(logits, batch.arrays["x"]) and pooled is None


def test_a_loss_that_reaches_all_weights_is_the_same_loss() -> None:
    network = Small()
    loss = torch.rand((), requires_grad=True) * 3
    reached = reaching(loss, network.layer)
    assert torch.equal(reached, loss)
    reached.backward()
    assert all(weight.grad is not None and not weight.grad.any() for weight in network.parameters())


def test_class_weights_are_those_of_the_training_labels_and_no_part_of_the_checkpoint() -> None:
    logits, batch = torch.rand(5, 3), _batch([0, 0, 2, NO_LABEL, 1])
    fit = Fit(epochs=1, learning_rate=1, batch_frames=1, label_smoothing=0.1, class_weights="balanced")
    network = Small()
    names = set(network.state_dict())
    network.set_label_loss(fit, [0, 0, 0, 1, NO_LABEL], 3)
    weights = torch.tensor([4 / 9, 4 / 3, 0.0])
    expected = losses.cross_entropy(logits, batch.labels, weights, 0.1)
    assert torch.equal(network.label_loss(logits, batch), expected)
    assert set(network.state_dict()) == names
    assert network.to("meta").class_weights.is_meta, "it goes where the network goes"  # type: ignore[union-attr]
