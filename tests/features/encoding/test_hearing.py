from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from features.encoding.hearing import (
    check_windows,
    frames_at_once,
    hear_samples,
    read_sound_preprocessor,
    steps_of_network,
)
from features.encoding.windows import Steps
from features.plugin import RATE_HZ
from tests.features.tiny_speech import write_speech_encoder
from warehouse.errors import InvalidField, Untreatable

CONFIG = SimpleNamespace(conv_kernel=(10, 3, 3, 3, 3, 2, 2), conv_stride=(5, 2, 2, 2, 2, 2, 2))


class Counting:
    """A network that answers with where each of its frames begins in what it was given."""

    config = CONFIG
    device = "cpu"

    def __call__(self, part: Any, output_hidden_states: bool) -> np.ndarray:
        assert output_hidden_states
        n_frames = steps_of_network(CONFIG).n_frames(part.shape[1])
        return part[0].numpy()[: n_frames * 320 : 320]


def prepared(wave: np.ndarray, **_: object) -> SimpleNamespace:
    return SimpleNamespace(input_values=wave[None])


def kept(answer: np.ndarray, first: int, end: int) -> np.ndarray:
    return answer[first:end]


@pytest.mark.parametrize("n", [400, 719, 720, 16_000, 163_333])
@pytest.mark.parametrize(("window_s", "context_s"), [(30.0, 2.5), (2.0, 0.5), (1.0, 0.0)])
def test_each_frame_is_kept_once_and_is_of_its_own_samples(n: int, window_s: float, context_s: float) -> None:
    wave = np.arange(n, dtype=np.float32)
    pieces = hear_samples(Counting(), prepared, window_s, context_s, kept)(wave)
    np.testing.assert_array_equal(np.concatenate(pieces), np.arange(Steps(320, 400).n_frames(n)) * 320)


def test_less_than_a_frame_is_untreatable() -> None:
    with pytest.raises(Untreatable, match=r"the clip lasts 0\.025 s, less than one frame \(0\.025 s\)"):
        hear_samples(Counting(), prepared, 30.0, 2.5, kept)(np.zeros(399, np.float32))


@pytest.mark.parametrize(("window_s", "context_s"), [(2.0, 1.0), (0.0, 0.0), (2.0, -0.1)])
def test_windows_have_a_middle(window_s: float, context_s: float) -> None:
    with pytest.raises(InvalidField, match=r"here: field 'context_s' is .* at least 0 and less than half of window_s"):
        check_windows("here", window_s, context_s)


def test_sound_has_one_rate(tmp_path: Path) -> None:
    write_speech_encoder(tmp_path)
    assert read_sound_preprocessor("here", tmp_path).sampling_rate == RATE_HZ
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sampling_rate": 8_000}))
    with pytest.raises(InvalidField, match="are of a network that hears at 8000 Hz, but clips have 16000 Hz"):
        read_sound_preprocessor("here", tmp_path)


def test_a_window_in_frames() -> None:
    assert frames_at_once("here", 30.0, 2.5, 320) == (1500, 125)
    assert frames_at_once("here", 30.0, 0.2, 320, most=50) == (50, 10)
    assert frames_at_once("here", 0.02, 0.0, 320) == (1, 0)
    for window_s, context_s, most, field in ((0.019, 0.0, None, "window_s"), (0.05, 0.02, None, "context_s"),
                                             (30.0, 2.5, 250, "context_s")):  # fmt: skip
        with pytest.raises(InvalidField, match=f"here: field '{field}' is "):
            frames_at_once("here", window_s, context_s, 320, most)
