from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

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


def test_sound_is_scaled_where_it_is_stored_as_int16_and_nothing_else_is() -> None:
    stored = [np.array([[-32768], [16384]], np.int16), np.array([[0.5]], np.float16)]
    frames = [np.array([[-32768]], np.int16), np.array([[7]], np.int16)]
    batch = collate(["a", "b"], {"wave": stored, "frames": frames}, {}, [0, 0], waves=("wave",))
    assert batch.arrays["wave"].tolist() == [[[-1.0], [0.5]], [[0.5], [0.0]]]
    assert batch.arrays["frames"].tolist() == [[[-32768.0]], [[7.0]]]


@given(st.lists(st.integers(0, 7), min_size=1, max_size=5), st.sampled_from([(), (2,), (2, 3)]), st.integers(1, 4))
def test_padding_is_zeros_behind_what_was_there(lengths: list[int], before: tuple[int, ...], dim: int) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(*before, n, dim)).astype(np.float16) for n in lengths]
    found = collate([str(n) for n in range(len(lengths))], {"x": arrays}, {}, [0] * len(lengths)).arrays["x"].numpy()
    for row, array in zip(found, arrays, strict=True):
        behind = ((0, 0),) * len(before) + ((0, max(lengths) - array.shape[-2]), (0, 0))
        np.testing.assert_array_equal(row, np.pad(array, behind).astype(np.float32), strict=True)


def test_shares_of_votes_stand_side_by_side_and_move_along() -> None:
    shares = [np.array([0.25, 0.75], np.float32), np.array([0, 0], np.float32)]
    batch = collate(["a", "b"], {"x": [np.ones(1), np.ones(1)]}, {}, [1, -100], targets=shares)
    assert batch.targets is not None and batch.targets.tolist() == [[0.25, 0.75], [0.0, 0.0]]
    moved = batch.to("meta")
    assert moved.targets is not None and moved.targets.is_meta and moved.labels.is_meta
    assert collate(["a"], {"x": [np.ones(1)]}, {}, [1]).to("meta").targets is None


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
