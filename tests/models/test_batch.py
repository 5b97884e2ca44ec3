from __future__ import annotations

import numpy as np
import pytest
import torch

from models.batch import collate
from warehouse.errors import ShapeDiffers


def test_steps_are_padded_along_the_second_to_last_axis() -> None:
    frames = [np.ones((2, 4)), np.ones((3, 4))]
    stacks = [np.ones((5, 1, 6)), np.ones((5, 2, 6))]
    vectors = [np.arange(3.0), np.arange(3.0)]
    arrays = {"frames": frames, "stacks": stacks, "vectors": vectors}
    batch = collate(["a", "b"], arrays, {"text": ["x", "y"]}, [0, -100])
    assert {role: tuple(array.shape) for role, array in batch.arrays.items()} == {
        "frames": (2, 3, 4), "stacks": (2, 5, 2, 6), "vectors": (2, 3),
    }  # fmt: skip
    assert {role: length.tolist() for role, length in batch.lengths.items()} == {"frames": [2, 3], "stacks": [1, 2]}
    assert batch.mask("frames").tolist() == [[True, True, False], [True, True, True]]
    for role, array in batch.arrays.items():
        assert array.dtype == torch.float32
        if role in batch.lengths:
            assert (array.sum(dim=-1) != 0).flatten(0, -2).any(0).tolist() == [True] * array.shape[-2]
    assert batch.arrays["frames"][0, 2].tolist() == [0.0] * 4
    assert batch.texts == {"text": ("x", "y")}
    assert len(batch) == 2


def test_an_utterance_without_steps_is_padding_only() -> None:
    batch = collate(["a", "b"], {"frames": [np.ones((0, 2)), np.ones((1, 2))]}, {}, [0, 0])
    assert batch.mask("frames").tolist() == [[False], [True]]


@pytest.mark.parametrize("other", [(3, 5), (4,), (2, 3, 4)])
def test_arrays_that_cannot_share_a_batch(other: tuple[int, ...]) -> None:
    with pytest.raises(ShapeDiffers, match=r"an array of 'frames' has shape .* but another of the batch has \(2, 4\)"):
        collate(["a", "b"], {"frames": [np.ones((2, 4)), np.ones(other)]}, {}, [0, 0])


def test_to_keeps_everything() -> None:
    batch = collate(["a"], {"frames": [np.ones((2, 4))]}, {"text": ["x"]}, [1])
    moved = batch.to("cpu")
    assert (moved.ids, moved.texts, moved.labels.tolist()) == (("a",), {"text": ("x",)}, [1])
    assert torch.equal(moved.arrays["frames"], batch.arrays["frames"])
