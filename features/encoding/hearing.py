"""How a network that hears samples goes through a clip: window by window, keeping each frame once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from features.encoding.pretrained import read_preprocessor
from features.encoding.windows import Steps, frames_in, steps_of, windows
from features.plugin import RATE_HZ
from warehouse.errors import InvalidField, Untreatable

CONVOLUTIONAL = ("wav2vec2", "hubert", "wavlm", "data2vec-audio", "unispeech", "unispeech-sat", "wav2vec2-conformer")
"""Architectures that hear samples through a stack of convolutions, by their `model_type`."""

Kept = Callable[[Any, int, int], np.ndarray]
"""What is kept of a network's answer about a window: its frames from one to before another."""


def steps_of_network(config: Any) -> Steps:
    """How one of CONVOLUTIONAL steps through samples."""
    return steps_of(config.conv_kernel, config.conv_stride)


def check_windows(where: str, window_s: float, context_s: float) -> None:
    """Refuses windows without a middle.

    Raises:
        InvalidField: names `context_s`.
    """
    if not 0 <= context_s < window_s / 2:
        problem = f"is {context_s:g}, but must be at least 0 and less than half of window_s ({window_s:g})"
        raise InvalidField(where, "context_s", problem)


def frames_at_once(where: str, window_s: float, context_s: float, hop: int, most: int | None = None) -> tuple[int, int]:
    """Whole frames of a window, and of its context on either side.

    Args:
        most: frames that the network hears at once whatever is asked.

    Raises:
        InvalidField: names `window_s`, which holds no frame, or `context_s`, which leaves none to keep.
    """
    size, context = frames_in(window_s, hop), frames_in(context_s, hop)
    size = size if most is None else min(size, most)
    frame_s = hop / RATE_HZ
    if not size:
        raise InvalidField(where, "window_s", f"is {window_s:g}, but one frame of this network lasts {frame_s:g} s")
    if 2 * context >= size:
        problem = f"is {context_s:g}, {context} frames of {frame_s:g} s on either side, but a window has {size}: "
        raise InvalidField(where, "context_s", problem + "none of them would be kept")
    return size, context


def read_sound_preprocessor(where: str, checkpoint: Path) -> Any:
    """The checkpoint's own preprocessor of sound.

    Raises:
        MalformedSource: it cannot be read.
        InvalidField: it is for sound at another rate.
    """
    files = "preprocessor_config.json, which says how sound is prepared"
    preprocessor = read_preprocessor("AutoFeatureExtractor", checkpoint, files)
    if preprocessor.sampling_rate != RATE_HZ:
        problem = f"are of a network that hears at {preprocessor.sampling_rate} Hz, but clips have {RATE_HZ} Hz"
        raise InvalidField(where, "weights", problem)
    return preprocessor


def hear_samples(
    network: Any, preprocessor: Any, window_s: float, context_s: float, kept: Kept
) -> Callable[[np.ndarray], list[np.ndarray]]:
    """What is kept of a clip, window by window; the sound is prepared as a whole before it is cut.

    Args:
        network: one of CONVOLUTIONAL, with whatever head, on its device.
        kept: of the network's answer, hidden states included.

    Raises (when called):
        Untreatable: the clip is shorter than one frame.
    """
    import torch

    steps = steps_of_network(network.config)
    size, context = frames_in(window_s, steps.hop), frames_in(context_s, steps.hop)

    def pieces(wave: np.ndarray) -> list[np.ndarray]:
        n_frames = steps.n_frames(len(wave))
        if not n_frames:
            lasts, needed = len(wave) / RATE_HZ, steps.reach / RATE_HZ
            raise Untreatable(f"the clip lasts {lasts:.3f} s, less than one frame ({needed:g} s)")
        [values] = preprocessor(wave, sampling_rate=RATE_HZ, return_tensors="np").input_values
        found = []
        for window in windows(n_frames, size, context):
            last = len(wave) if window.end == n_frames else (window.end - 1) * steps.hop + steps.reach
            part = torch.from_numpy(values[window.begin * steps.hop : last]).to(network.device)
            answer = network(part[None], output_hidden_states=True)
            found.append(kept(answer, window.keep - window.begin, window.stop - window.begin))
        return found

    return pieces
