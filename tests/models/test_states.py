from __future__ import annotations

import numpy as np
import pytest
import torch

from models.batch import collate
from models.networks.states import states_of, width_of
from warehouse.errors import ShapeDiffers


def test_states_come_with_an_axis_of_one_layer_or_without() -> None:
    steps = [np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)]
    plain = collate(["a", "b"], {"x": steps}, {}, [0, 0])
    layered = collate(["a", "b"], {"x": [array[None] for array in steps]}, {}, [0, 0])
    assert width_of("x", (2, 3)) == width_of("x", (1, 2, 3)) == 3
    for one, other in zip(states_of(plain, "x"), states_of(layered, "x"), strict=True):
        assert torch.equal(one, other)
    assert states_of(layered, "x")[1].sum(1).tolist() == [2, 4]


@pytest.mark.parametrize("shape", [(), (3,), (2, 4, 3)])
def test_several_layers_and_vectors_are_no_states(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeDiffers, match=r"an array of 'x' has shape .* steps of one layer are wanted"):
        width_of("x", shape)
