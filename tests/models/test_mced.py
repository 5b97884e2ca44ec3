from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from models.batch import Batch
from models.networks.mced import MultiLevelStudent
from models.orders import build_student
from tests.models.tiny_lake import CLASSES, FIELDS, TEACHER_DIM, TEACHER_LAYERS, TinyLake, batch_of, fitted, order
from warehouse.errors import NothingLoaded, ShapeDiffers


def _network(dim: int = 4, **fields: Any) -> MultiLevelStudent:
    student = build_student("students.mced", 1, FIELDS["mced"] | fields)
    torch.manual_seed(0)
    network = student.module({"speech": (9, dim)}, CLASSES, None)
    assert isinstance(network, MultiLevelStudent)
    return network


def _speech(lengths: list[int], n_steps: int, junk: float = 0.0) -> Batch:
    frames = torch.randn(len(lengths), 60, 4, generator=torch.Generator().manual_seed(1))[:, :n_steps]
    mask = torch.arange(n_steps) < torch.tensor(lengths)[:, None]
    frames = torch.where(mask[..., None], frames, junk)
    labels = torch.zeros(len(lengths), dtype=torch.int64)
    return Batch(tuple("x" * len(lengths)), {"speech": frames}, {"speech": torch.tensor(lengths)}, {}, labels)


@pytest.mark.parametrize("training", [True, False])
def test_padding_changes_nothing(training: bool) -> None:
    """Not even batch statistics in training: what stands in padded frames, and how many there are, is never seen."""
    results = []
    for batch in (_speech([20, 9], 20), _speech([20, 9], 60), _speech([20, 9], 60, junk=1e3)):
        network = _network(dropout=0.0).train(training)
        logits = network(batch)
        results.append((logits, network.convolutions[0].norm.running_mean))  # type: ignore[union-attr]
    for logits, running in results[1:]:
        torch.testing.assert_close(logits, results[0][0], rtol=0, atol=1e-5)
        torch.testing.assert_close(running, results[0][1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("n_steps", [0, 1, 2, 7, 8, 9, 33])
def test_the_shortest_clips_have_logits_and_gradients(n_steps: int) -> None:
    network = _network().train()
    batch = _speech([n_steps], max(n_steps, 1))
    batch = Batch(("x",), batch.arrays, batch.lengths, {}, torch.tensor([1]))
    network.losses(batch, ["label"])["label"].backward()
    assert network(batch).isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_a_short_clip_counts_as_the_least_length_of_average_frames() -> None:
    network = _network(min_frames=12).eval()
    network.mean += 2.0
    short, filled = _speech([5], 5), _speech([5], 12, junk=2.0)
    filled = Batch(filled.ids, filled.arrays, {"speech": torch.tensor([12])}, {}, filled.labels)
    torch.testing.assert_close(network(short), network(filled), rtol=0, atol=1e-6)


def test_frames_are_standardised_by_the_training_part(lake: TinyLake) -> None:
    batch = batch_of(lake, ["speech"])
    network = _network(dim=batch.arrays["speech"].shape[-1])
    network.prepare([batch])
    frames = batch.arrays["speech"][batch.mask("speech")]
    torch.testing.assert_close(network.mean, frames.mean(0), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(network.scale, frames.std(0, unbiased=False), rtol=1e-5, atol=1e-5)


def test_a_dimension_that_never_changes_is_left_unscaled() -> None:
    batch = _speech([20, 9], 20)
    batch.arrays["speech"][..., 0] = 7.3
    network = _network()
    network.prepare([batch])
    assert network.scale[0] == 1.0


def test_the_published_network_has_the_published_parts() -> None:
    student = build_student("students.mced", 1, {})
    network = student.module({"speech": (100, 130), "teacher_hidden": (13, 7, 768)}, CLASSES, None)
    names = dict(network.named_parameters())
    assert [tuple(names[f"convolutions.{i}.convolution.weight"].shape) for i in range(4)] == [
        (512, 130, 5), (512, 512, 5), (512, 512, 5), (512, 512, 5),
    ]  # fmt: skip
    assert len(network.layers) == 6  # type: ignore[arg-type]
    assert tuple(names["alignments.3.key"].shape) == (512, 768)
    assert tuple(names["outer.weight"].shape) == (3, 512)
    layers = sum(parameter.numel() for name, parameter in names.items() if name.startswith("layers.0."))
    assert layers == 4 * 512 * 512 + 4 * 512 + 2 * 512 * 2048 + 2048 + 512 + 4 * 512


def test_checkpoints_keep_their_names() -> None:
    shapes = {"speech": (9, 4), "teacher_hidden": (13, 7, 8)}
    network = build_student("students.mced", 1, {}).module(shapes, CLASSES, None)
    blocks = {"convolutions": 4, "layers": 6, "alignments": 4}
    parts: dict[str, list[str]] = {name: [] for name in blocks}
    for name in network.state_dict():
        block, *rest = name.split(".")
        if rest[:1] == ["0"]:
            parts[block].append(".".join(rest[1:]))
    assert parts == {
        "convolutions": [
            "convolution.weight", "convolution.bias", "norm.weight", "norm.bias",
            "norm.running_mean", "norm.running_var", "norm.num_batches_tracked",
        ],
        "layers": [
            "query_key_value.weight", "query_key_value.bias", "joined.weight", "joined.bias", "widen.weight",
            "widen.bias", "narrow.weight", "narrow.bias",
            "norms.0.weight", "norms.0.bias", "norms.1.weight", "norms.1.bias",
        ],
        "alignments": ["query", "key", "value"],
    }  # fmt: skip
    assert {name: len(getattr(network, name)) for name in blocks} == blocks


def test_each_term_is_what_the_losses_say(lake: TinyLake) -> None:
    batch = batch_of(lake, ["speech", "teacher_hidden", "teacher_logits"])
    student = build_student("students.mced", 1, FIELDS["mced"])
    shapes = {role: tuple(array.shape[1:]) for role, array in batch.arrays.items()}
    network = student.module(shapes, CLASSES, None).eval()
    both = network.losses(batch, ["response", "feature", "label"])
    for term, value in both.items():
        assert value.shape == ()
        torch.testing.assert_close(network.losses(batch, [term])[term], value)
    by_layer = []
    for weights in ([0.5, 0.0], [0.0, 0.5]):
        half = build_student("students.mced", 1, FIELDS["mced"] | {"layer_weights": weights})
        other = half.module(shapes, CLASSES, None).eval()
        other.load_state_dict(network.state_dict())
        by_layer.append(other.losses(batch, ["feature"])["feature"])
    torch.testing.assert_close(by_layer[0] + by_layer[1], both["feature"])


@pytest.mark.parametrize(("shapes", "sentence"), [
    ({"speech": (9,)}, "'speech' has shape (9,), but this student reads frames"),
    ({"speech": (9, 4), "teacher_logits": (4,)}, "(4,), but must be (3,), one number per class: angry, happy, sad"),
    ({"speech": (9, 4), "teacher_hidden": (2, 5, 8)}, "(2, 5, 8), but layers [1, 2] are wanted of a stack"),
])  # fmt: skip
def test_arrays_that_this_student_cannot_read(shapes: Mapping[str, tuple[int, ...]], sentence: str) -> None:
    student = build_student("students.mced", 1, FIELDS["mced"])
    with pytest.raises(ShapeDiffers, match=re.escape(sentence)):
        student.module(shapes, CLASSES, None)


def test_other_classes_have_a_new_last_layer(lake: TinyLake) -> None:
    start = fitted(lake, order(lake, "mced", objective={"response": 1.0, "feature": 1.0})).folder
    student = build_student("students.mced", 1, FIELDS["mced"])
    shapes = {"speech": (9, 6)}
    same, renamed, fewer = (student.module(shapes, classes, start) for classes in (CLASSES, CLASSES[::-1], CLASSES[:2]))
    assert same.fresh == ()
    assert renamed.fresh == fewer.fresh == ("outer.weight", "outer.bias")
    weights = [network.state_dict()["layers.1.joined.weight"] for network in (same, renamed, fewer)]
    assert weights[0].equal(weights[1]) and weights[0].equal(weights[2])
    mean = same.mean.clone()
    same.prepare([_speech([3, 3], 3)])
    assert same.mean.equal(mean)  # frames mean to the network what they meant when it was distilled


def test_a_checkpoint_that_fits_nowhere(lake: TinyLake) -> None:
    start = fitted(lake, order(lake, "linear")).folder
    student = build_student("students.mced", 1, FIELDS["mced"])
    with pytest.raises(NothingLoaded, match=r"no weight of the checkpoint .* fits 'students.mced'"):
        student.module({"speech": (9, 7)}, ("a", "b"), start)


def test_the_teacher_of_the_tiny_lake_is_a_stack(lake: TinyLake) -> None:
    shape = batch_of(lake, ["teacher_hidden"]).arrays["teacher_hidden"].shape
    assert (shape[1], shape[3]) == (TEACHER_LAYERS, TEACHER_DIM)


@pytest.mark.parametrize("term", ["response", "feature", "label"])
def test_every_weight_has_a_gradient_for_which_several_processes_wait(lake: TinyLake, term: str) -> None:
    """Also those above the layers that 'feature' teaches."""
    roles = {"response": ["teacher_logits"], "feature": ["teacher_hidden"], "label": []}[term]
    batch = batch_of(lake, ["speech", *roles])
    shapes = {role: tuple(array.shape[1:]) for role, array in batch.arrays.items()}
    fields = FIELDS["mced"] | {"layers": 3, "teacher_layers": (1,), "student_layers": (2,), "layer_weights": (1.0,)}
    network = build_student("students.mced", 1, fields).module(shapes, CLASSES, None)
    network.losses(batch, [term])[term].backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None] == []
    untaught = {name for name, gradient in gradients.items() if gradient is not None and not gradient.any()}
    above = {name for name in gradients if name.startswith(("layers.2.", "inner.", "outer."))}
    assert above <= untaught if term == "feature" else not above & untaught
