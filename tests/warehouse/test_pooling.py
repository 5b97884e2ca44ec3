from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from warehouse.errors import IntervalOutside
from warehouse.pooling import OVERRUN_S, mean_over

HOPS_S = st.sampled_from([0.005, 0.01, 0.02])


def frames_of(n_frames: int, dim: int = 3) -> np.ndarray:
    return np.random.default_rng(n_frames).standard_normal((n_frames, dim))


def slow_mean_over(frames: np.ndarray, hop_s: float, intervals: Sequence[tuple[str, float, float]]) -> np.ndarray:
    """The rule, frame by frame."""
    rows = []
    for _, start_s, end_s in intervals:
        centres = [(i + 0.5) * hop_s for i in range(len(frames))]
        inside = [i for i, c in enumerate(centres) if start_s - 1e-9 <= c < end_s - 1e-9]
        middle_s = (start_s + end_s) / 2
        nearest = min(range(len(frames)), key=lambda i: (round(abs(centres[i] - middle_s), 9), -i))
        rows.append(np.mean(frames[inside or [nearest]], axis=0))
    return np.array(rows)


@given(n_frames=st.integers(1, 60), hop_s=HOPS_S, data=st.data())
def test_fast_path_is_the_slow_path(n_frames: int, hop_s: float, data: st.DataObject) -> None:
    end_ms = round(n_frames * hop_s * 1000)
    edges = data.draw(st.lists(st.tuples(st.integers(0, end_ms), st.integers(0, end_ms)), min_size=1, max_size=8))
    intervals = [("x", min(pair) / 1000, max(pair) / 1000) for pair in edges]
    frames = frames_of(n_frames)
    assert_allclose(mean_over(frames, hop_s, intervals), slow_mean_over(frames, hop_s, intervals), atol=1e-12)


@given(n_frames=st.integers(1, 60), hop_s=HOPS_S)
def test_the_whole_is_the_mean(n_frames: int, hop_s: float) -> None:
    frames = frames_of(n_frames)
    assert_allclose(mean_over(frames, hop_s, [("all", 0.0, n_frames * hop_s)])[0], frames.mean(axis=0), atol=1e-12)


@given(n_frames=st.integers(2, 60), hop_s=HOPS_S, data=st.data())
def test_a_partition_refines_the_whole(n_frames: int, hop_s: float, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, n_frames - 1))))
    edges = [0, *cuts, n_frames]
    parts = [("p", a * hop_s, b * hop_s) for a, b in pairwise(edges)]
    frames = frames_of(n_frames)
    weighted = np.diff(edges) @ mean_over(frames, hop_s, parts) / n_frames
    assert_allclose(weighted, frames.mean(axis=0), atol=1e-12)


@given(n_frames=st.integers(1, 40), hop_s=HOPS_S, data=st.data())
def test_of_any_partition_every_segment_has_a_row_and_no_frame_counts_twice(
    n_frames: int, hop_s: float, data: st.DataObject
) -> None:
    """Cuts lie anywhere, to the millisecond, so that segments shorter than a hop are among them. Frames are unit
    vectors: the mean of a segment says which frames count in it, and for how much."""
    end_ms = round(n_frames * hop_s * 1000)
    cuts = sorted(data.draw(st.sets(st.integers(0, end_ms), max_size=12)) | {0, end_ms})
    spans = [("p", a / 1000, b / 1000) for a, b in pairwise(cuts)]
    shares = mean_over(np.eye(n_frames), hop_s, spans)
    assert len(shares) == len(spans) and np.isfinite(shares).all()
    assert_allclose(shares.sum(axis=1), 1.0)
    centres = (np.arange(n_frames) + 0.5) * hop_s
    held = [int(((centres >= a - 1e-9) & (centres < b - 1e-9)).sum()) for _, a, b in spans]
    counted = np.zeros(n_frames)
    for share, n_held in zip(shares, held, strict=True):
        own = share > 0
        assert_allclose(share[own], 1 / own.sum())
        assert own.sum() == max(n_held, 1), "one without a centre takes the nearest frame"
        if n_held:
            counted += own
    assert (counted == 1).all(), "of the segments that hold a centre"


def test_centres_on_a_border_belong_to_the_later_interval() -> None:
    frames = np.arange(4.0)[:, None]  # hop 0.02: centres 0.01, 0.03, 0.05, 0.07
    assert mean_over(frames, 0.02, [("a", 0.0, 0.03), ("b", 0.03, 0.08)]).tolist() == [[0.0], [2.0]]


def test_an_interval_shorter_than_a_hop_takes_the_nearest_frame() -> None:
    frames = np.arange(4.0)[:, None]
    found = mean_over(frames, 0.01, [("t", 0.016, 0.019), ("start", 0.0, 0.0), ("overrun", 0.05, 0.06)])
    assert found.tolist() == [[1.0], [0.0], [3.0]]


def test_float32_stays_float32_and_no_intervals_give_no_rows() -> None:
    frames = frames_of(5).astype(np.float32)
    assert mean_over(frames, 0.01, [("a", 0.0, 0.03)]).dtype == np.float32
    assert mean_over(frames, 0.01, []).shape == (0, 3)


@pytest.mark.parametrize(
    ("n_frames", "span", "told"),
    [
        (8, ("w", 0.0, 9.0), "interval 0 ('w') spans [0.0, 9.0] s, but the features cover [0, 0.080] s"),
        (8, ("w", 0.0, 0.081 + OVERRUN_S), "but the features cover [0, 0.080] s"),
        (8, ("w", -0.01, 0.05), "spans [-0.01, 0.05] s"),
        (8, ("w", 0.05, 0.01), "spans [0.05, 0.01] s"),
        (8, ("w", float("nan"), 0.01), "spans [nan, 0.01] s"),
        (0, ("w", 0.0, 0.01), "but the features cover [0, 0.000] s"),
    ],
)
def test_an_interval_outside_is_told(n_frames: int, span: tuple[str, float, float], told: str) -> None:
    with pytest.raises(IntervalOutside, match=re.escape(told)):
        mean_over(frames_of(n_frames), 0.01, [span])


def test_layers_are_pooled_each_by_itself() -> None:
    frames = np.random.default_rng(0).normal(size=(3, 50, 4)).astype(np.float16)
    spans = [("a", 0.0, 0.11), ("b", 0.11, 0.115), ("c", 0.2, 0.5)]
    pooled = mean_over(frames, 0.01, spans)
    assert pooled.shape == (3, 3, 4) and pooled.dtype == np.float32
    for layer, own in zip(frames, pooled, strict=True):
        assert np.array_equal(mean_over(layer, 0.01, spans), own)
    side_by_side = np.concatenate(list(frames), axis=1)  # as SQL reads the layers
    assert np.array_equal(mean_over(side_by_side, 0.01, spans), np.concatenate(list(pooled), axis=1))
    assert mean_over(frames, 0.01, []).shape == (3, 0, 4)
