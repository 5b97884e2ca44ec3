"""What is packed is, padded by a device, what is padded at once: to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.batch import Batch, collate
from models.packed import pack
from warehouse.errors import ShapeDiffers

DTYPES = ["float32", "float16", "int16", "float64", "int32", "bool"]


def _same(one: Batch, other: Batch) -> None:
    assert (one.ids, one.texts) == (other.ids, other.texts)
    assert torch.equal(one.labels, other.labels)
    assert list(one.arrays) == list(other.arrays) and list(one.lengths) == list(other.lengths)
    for role, array in one.arrays.items():
        there = other.arrays[role]
        assert array.dtype == there.dtype == torch.float32 and array.is_contiguous() and there.is_contiguous()
        np.testing.assert_array_equal(array.numpy(), there.numpy(), strict=True)  # NaN is NaN
    for role, lengths in one.lengths.items():
        assert torch.equal(lengths, other.lengths[role])


@given(
    st.lists(st.integers(0, 7), min_size=1, max_size=5), st.sampled_from([(), (1,), (2,), (2, 3)]), st.integers(0, 4),
    st.sampled_from(DTYPES),
)  # fmt: skip
def test_a_device_pads_what_was_packed_as_collate_pads(
    lengths: list[int], before: tuple[int, ...], dim: int, dtype: str
) -> None:
    rng = np.random.default_rng(0)
    steps = [(rng.normal(size=(*before, n, dim)) * 1000).astype(dtype) for n in lengths]
    arrays = {"x": steps, "vector": [rng.normal(size=3).astype(dtype) for _ in lengths]}
    ids = [str(n) for n in range(len(lengths))]
    given_to_both = (ids, arrays, {"text": ["so"] * len(ids)}, list(range(len(ids))))
    _same(pack(*given_to_both).to("cpu"), collate(*given_to_both))


@pytest.mark.parametrize("dtypes", [("int16", "int16"), ("float16", "int16"), ("float32", "float32")])
def test_sound_is_scaled_by_the_device_and_by_the_host_alike(dtypes: tuple[str, str]) -> None:
    """Also where an augmented wave is stored otherwise than its neighbour."""
    waves = [np.array([[-32768], [16384], [1]]).astype(dtypes[0]), np.array([[0.5 if dtypes[1] != "int16" else 7]])]
    waves[1] = waves[1].astype(dtypes[1])
    given_to_both = (["a", "b"], {"wave": waves, "frames": waves}, {}, [0, 1], ("wave",))
    _same(pack(*given_to_both).to("cpu"), collate(*given_to_both))


def test_what_is_sent_is_what_is_stored() -> None:
    """Half of what padding would send of sound, and less where there is padding."""
    waves = [np.zeros((n, 1), np.int16) for n in (3, 9)]
    packed = pack(["a", "b"], {"wave": waves}, {}, [0, 1], ("wave",))
    assert packed.flat["wave"].nbytes == sum(wave.nbytes for wave in waves)
    assert packed.lengths["wave"].tolist() == [3, 9] and len(packed) == 2


def test_shares_of_votes_move_along() -> None:
    shares = [np.array([0.25, 0.75], np.float32), np.array([0, 0], np.float32)]
    packed = pack(["a", "b"], {"x": [np.ones(1), np.ones(1)]}, {}, [1, -100], targets=shares)
    moved = packed.to("meta")
    assert moved.targets is not None and moved.targets.is_meta and moved.labels.is_meta and moved.arrays["x"].is_meta
    assert packed.to("cpu").targets.tolist() == [[0.25, 0.75], [0.0, 0.0]]  # type: ignore[union-attr]


@pytest.mark.parametrize("other", [(3, 5), (4,), (2, 3, 4)])
def test_arrays_that_cannot_be_packed_together(other: tuple[int, ...]) -> None:
    with pytest.raises(ShapeDiffers, match=r"an array of 'frames' has shape .* but another of the batch has \(2, 4\)"):
        pack(["a", "b"], {"frames": [np.ones((2, 4)), np.ones(other)]}, {}, [0, 0])
