"""Frames to phones, syllables and words: means over aligned intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from warehouse.errors import IntervalOutside

OVERRUN_S = 0.1
"""How far an interval may reach past the last frame: windows are longer than hops, so the last frames of a clip are
missing (four of openSMILE's, that is 40 ms) while its last phone ends with the clip."""


def mean_over(frames: np.ndarray, hop_s: float, intervals: Sequence[tuple[str, float, float]]) -> np.ndarray:
    """The mean frame of each interval.

    Frame i stands for [i, i + 1) * hop_s. It belongs to the interval that its centre lies in, begin included, end not,
    so each frame belongs to exactly one interval of a partition. An interval that holds no centre, because it is
    shorter than a hop or lies in the last frame's overrun, takes the frame whose centre is nearest to its own.

    Args:
        frames: [n_frames, dim], or more of them before, such as [layer, n_frames, dim].
        hop_s: seconds from one frame to the next.
        intervals: (symbol, start_s, end_s), in any order; they may overlap.

    Returns:
        [n_intervals, dim], after the same axes as the frames: float32, or float64 if `frames` are.

    Raises:
        IntervalOutside: an interval begins before 0, ends more than OVERRUN_S after the last frame, or ends before it
            begins; or there are no frames.

    Example:
        >>> mean_over(np.array([[1.0], [3.0], [5.0]]), 0.01, [("a", 0.0, 0.02), ("b", 0.02, 0.03)])
        array([[2.],
               [5.]])
    """
    *before, n_frames, dim = frames.shape
    dtype = np.result_type(frames.dtype, np.float32)
    if not len(intervals):
        return np.empty((*before, 0, dim), dtype)
    begin, end = _frame_ranges(n_frames, hop_s, intervals)
    closed = np.zeros((*before, n_frames + 1, dim))  # reduceat takes no index past the end: now `end` may be n_frames
    closed[..., :-1, :] = frames
    sums = np.add.reduceat(closed, np.stack([begin, end], axis=1).ravel(), axis=-2)[..., ::2, :]
    return (sums / (end - begin)[:, None]).astype(dtype)


def _frame_ranges(
    n_frames: int, hop_s: float, intervals: Sequence[tuple[str, float, float]]
) -> tuple[np.ndarray, np.ndarray]:
    """First frame of each interval, and the one after its last: begin < end always."""
    covered_s = n_frames * hop_s
    for position, (symbol, start_s, end_s) in enumerate(intervals):
        if not (n_frames and 0 <= start_s <= end_s <= covered_s + OVERRUN_S):
            raise IntervalOutside(position, symbol, start_s, end_s, covered_s)
    spans = np.array([(start_s, end_s) for _, start_s, end_s in intervals]) / hop_s
    edges = np.ceil((spans - 0.5).round(6)).astype(int).clip(0, n_frames)  # rounded: 0.03 / 0.02 is not quite 1.5
    nearest = np.floor(spans.mean(axis=1).round(6)).astype(int).clip(0, n_frames - 1)
    none = edges[:, 0] >= edges[:, 1]
    return np.where(none, nearest, edges[:, 0]), np.where(none, nearest + 1, edges[:, 1])
