"""Long sound in windows: which frames each keeps, and which samples it must hear for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from features.plugin import RATE_HZ


@dataclass(frozen=True)
class Steps:
    """How a stack of convolutions steps through samples.

    Args:
        hop: samples from one frame to the next.
        reach: samples that one frame is made of.
    """

    hop: int
    reach: int

    def n_frames(self, n: int) -> int:
        """Frames of `n` samples; 0 where they are fewer than one frame is made of."""
        return max(0, (n - self.reach) // self.hop + 1)


def steps_of(kernels: Sequence[int], strides: Sequence[int]) -> Steps:
    """What convolutions without padding come to, one after the other: frames are those of `transformers`' own formula,
    floor((n - kernel) / stride) + 1 for each.

    Example:
        >>> steps_of((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2))
        Steps(hop=320, reach=400)
    """
    hop, reach = 1, 1
    for kernel, stride in zip(kernels, strides, strict=True):
        reach += (kernel - 1) * hop
        hop *= stride
    return Steps(hop, reach)


@dataclass(frozen=True)
class Window:
    """Frames [begin, end) of a clip are heard together; of these, [keep, stop) are kept."""

    begin: int
    end: int
    keep: int
    stop: int


def windows(n_frames: int, size: int, context: int) -> Iterator[Window]:
    """The windows of a clip of `n_frames`: one, where `size` frames hold it, or else windows of at most `size` frames
    whose outer `context` frames on either side, where there is sound beyond, are heard but not kept.

    Each frame is kept by exactly one window.

    Example:
        >>> [(window.begin, window.end, window.keep, window.stop) for window in windows(25, 10, 2)]
        [(0, 8, 0, 6), (4, 14, 6, 12), (10, 20, 12, 18), (16, 25, 18, 24), (22, 25, 24, 25)]
    """
    if n_frames <= size:
        yield Window(0, n_frames, 0, n_frames)
        return
    kept = size - 2 * context
    for keep in range(0, n_frames, kept):
        stop = min(keep + kept, n_frames)
        yield Window(max(0, keep - context), min(stop + context, n_frames), keep, stop)


def frames_in(seconds: float, hop: int) -> int:
    """Whole frames in so many seconds."""
    return int(seconds * RATE_HZ / hop + 1e-6)
