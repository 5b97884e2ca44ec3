from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from features.extractors.waveform import FULL_SCALE, Waveform
from features.plugin import RATE_HZ, Clip
from warehouse.errors import Untreatable


def stored(wave: np.ndarray, **fields: str) -> np.ndarray:
    return Waveform(**fields).load("cpu")([Clip("a", wave)])[0]["wave"]  # type: ignore[arg-type]


def test_every_16_bit_value_comes_back() -> None:
    levels = np.arange(-32_768, 32_768).astype(np.int16)
    assert np.array_equal(stored((levels / FULL_SCALE).astype(np.float32)), levels)


def test_full_scale_does_not_wrap() -> None:
    assert stored(np.array([1.0, -1.0], dtype=np.float32)).tolist() == [32_767, -32_768]


@pytest.mark.parametrize(("dtype", "step"), [("int16", 1 / 65_536), ("float16", 1 / 4_096), ("float32", 0.0)])
def test_error_is_at_most_half_a_step(dtype: str, step: float) -> None:
    wave = np.random.default_rng(0).uniform(-0.99, 0.99, 5_000).astype(np.float32)
    kept = stored(wave, dtype=dtype)
    assert kept.dtype == dtype
    heard = kept / (FULL_SCALE if dtype == "int16" else 1)
    assert np.abs(heard - wave).max() <= step


def test_a_recording_keeps_its_samples(real: Path) -> None:
    path = real / "speech" / "speechbrain" / "spk1_snt1.wav"
    samples, rate_hz = soundfile.read(path, dtype="int16")
    assert rate_hz == RATE_HZ
    assert np.array_equal(stored((samples / FULL_SCALE).astype(np.float32)), samples)


def test_an_empty_clip_is_untreatable() -> None:
    with pytest.raises(Untreatable, match=r"the clip is empty: it lasts 0\.000 s"):
        stored(np.zeros(0, dtype=np.float32))
