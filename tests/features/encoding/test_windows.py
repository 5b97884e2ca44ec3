from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.encoding.windows import Steps, frames_in, steps_of, windows

PUBLISHED = ((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2))


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 6)), min_size=1, max_size=5), st.integers(0, 3_000))
def test_frames_are_those_of_one_convolution_after_the_other(layers: list[tuple[int, int]], n: int) -> None:
    steps = steps_of(*zip(*layers, strict=True))
    expected = n
    for kernel, stride in layers:
        expected = max(0, (expected - kernel) // stride + 1)
    assert steps.n_frames(n) == expected


def test_the_published_stack_steps_20_ms_and_reaches_25() -> None:
    assert steps_of(*PUBLISHED) == Steps(320, 400)
    assert [steps_of(*PUBLISHED).n_frames(n) for n in (399, 400, 719, 720, 16_000)] == [0, 1, 1, 2, 49]


@given(st.integers(1, 400), st.integers(1, 60), st.data())
def test_each_frame_is_kept_once_and_heard_with_its_context(n_frames: int, size: int, draw: st.DataObject) -> None:
    context = draw.draw(st.integers(0, (size - 1) // 2))
    cuts = list(windows(n_frames, size, context))
    assert [frame for cut in cuts for frame in range(cut.keep, cut.stop)] == list(range(n_frames))
    for cut in cuts:
        assert 0 <= cut.begin <= cut.keep < cut.stop <= cut.end <= n_frames
        assert cut.end - cut.begin <= size
        if len(cuts) > 1:
            assert cut.begin == max(0, cut.keep - context) and cut.end == min(n_frames, cut.stop + context)


@pytest.mark.parametrize(("seconds", "frames"), [(30.0, 1_500), (2.5, 125), (0.019, 0), (0.3, 15)])
def test_whole_frames_in_seconds(seconds: float, frames: int) -> None:
    assert frames_in(seconds, 320) == frames
