"""Which layers let one modality ask the other, in every student that has such layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from models.checkpoint import load
from models.networks.crossing import SOUND, WORDS, crossing_layers, listening
from models.plugin import Student
from tests.models.tiny_lake import TinyLake, batch_of, fitted, order

LAYERS = {
    "cmd": ["across.1.branches.0", "across.1.branches.1"],
    "cross_attention": ["cma_1", "cma_2"],
    "mmer": ["interaction.b", "interaction.d"],
    "mult": ["across.audio_states.layers.0", "across.text_states.layers.0"],
    "multilevel": [f"fusion.co_attention.{role}.0.branches.{n}" for role in ("frames", "phones") for n in (0, 1)],
}


def _network(lake: TinyLake, name: str, **fields: Any) -> tuple[str, Student, Any]:
    card, network = load(fitted(lake, order(lake, name, fit={"epochs": 1}, fields=fields)).folder)
    return card.step, card.student, network


@pytest.mark.parametrize("name", LAYERS)
def test_the_last_layer_of_each_direction_is_heard(lake: TinyLake, name: str) -> None:
    step, student, network = _network(lake, name)
    assert list(crossing_layers(step, network)) == LAYERS[name]
    batch = batch_of(lake, student.inputs, "dev")
    with torch.inference_mode(), listening(step, network) as heard:
        logits = network(batch)
    assert sorted(one.layer for one in heard) == sorted(LAYERS[name])
    assert {(one.asks, one.asked) for one in heard} == {(SOUND, WORDS), (WORDS, SOUND)}
    for one in heard:
        assert one.weights.shape[0] == len(batch) and one.weights.shape[2] == one.mask.shape[1]
        torch.testing.assert_close(one.weights.sum(dim=-1), torch.ones(one.weights.shape[:2]))
        assert not one.weights.masked_select(~one.mask[:, None]).any(), "nobody attends to padding"
    with torch.inference_mode():
        assert torch.equal(network(batch), logits)
    assert len(heard) == len(LAYERS[name]), "nobody listens any more"


def test_the_words_are_those_with_few_steps(lake: TinyLake) -> None:
    """The tiny lake's waves have more frames than its texts have words and two special tokens."""
    step, student, network = _network(lake, "cross_attention")
    with torch.inference_mode(), listening(step, network) as heard:
        network(batch_of(lake, student.inputs, "dev"))
    n_words = network._text_states(batch_of(lake, student.inputs, "dev"))[1].shape[1]
    asked = {one.asked: one.weights.shape[2] for one in heard}
    assert asked[WORDS] == n_words != asked[SOUND]


@pytest.mark.parametrize(("name", "fields"), [("mced", {}), ("cmd", {"modalities": "text"}), ("pooled", {})])
def test_who_has_one_modality_or_no_layer_asks_nobody(lake: TinyLake, name: str, fields: dict[str, Any]) -> None:
    step, _, network = _network(lake, name, **fields)
    assert crossing_layers(step, network) == {}
