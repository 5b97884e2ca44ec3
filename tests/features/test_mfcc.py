from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.fft
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from features.extractors.mfcc import FLOOR, Mfcc
from features.plugin import RATE_HZ, Clip
from warehouse.catalog import build
from warehouse.errors import InvalidField, Untreatable


def frames_of(wave: np.ndarray, plugin: Mfcc | None = None) -> np.ndarray:
    return (plugin or Mfcc()).load("cpu")([Clip("a", wave)])[0]["frames"]


def noise(n_samples: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, n_samples).astype(np.float32)


def by_transformers(wave: np.ndarray, n_mfcc: int, n_fft: int, hop_length: int, n_mels: int) -> np.ndarray:
    """The same definition by other hands: a spectrogram of `transformers`, the cosine transform of SciPy."""
    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    levels_db = spectrogram(
        wave.astype(np.float64), window_function(n_fft, "hann"), frame_length=n_fft, hop_length=hop_length, power=2.0,
        mel_filters=mel_filter_bank(n_fft // 2 + 1, n_mels, 0, RATE_HZ / 2, RATE_HZ, mel_scale="htk"), log_mel="dB",
        db_range=80.0, dtype=np.float64,
    )  # fmt: skip
    return scipy.fft.dct(levels_db, type=2, norm="ortho", axis=0)[:n_mfcc].T


@pytest.mark.filterwarnings("ignore:At least one mel filter has all zero values")
@pytest.mark.parametrize(
    "fields", [(80, 400, 160, 128), (13, 512, 256, 40), (40, 400, 200, 40), (23, 320, 100, 23)], ids=str
)
@pytest.mark.parametrize("wave", [noise(8_000), noise(4_001) * np.linspace(0, 1e-4, 4_001, dtype=np.float32)])
def test_another_implementation_gives_the_same(wave: np.ndarray, fields: tuple[int, int, int, int]) -> None:
    expected, found = by_transformers(wave, *fields), frames_of(wave, Mfcc(*fields))
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.filterwarnings("ignore:At least one mel filter has all zero values")
def test_another_implementation_gives_the_same_for_a_recording(real: Path) -> None:
    wave, _ = soundfile.read(real / "speech" / "speechbrain" / "spk1_snt1.wav", dtype="float32")
    np.testing.assert_allclose(frames_of(wave), by_transformers(wave, 80, 400, 160, 128), rtol=1e-5, atol=1e-3)


@settings(deadline=None, max_examples=30)
@given(st.integers(201, 5_000), st.sampled_from([80, 160, 200]))
def test_as_many_frames_as_steps_begin_in_the_clip_and_one(n_samples: int, hop_length: int) -> None:
    assert frames_of(noise(n_samples), Mfcc(hop_length=hop_length)).shape == (1 + n_samples // hop_length, 80)


def test_what_it_promises() -> None:
    spec = Mfcc().outputs()["frames"]
    assert (spec.level, spec.axes, spec.dim, spec.dtype, spec.hop_s) == ("frame", ("frame", "dim"), 80, "float32", 0.01)
    assert (spec.names[0], spec.names[79]) == ("mfcc_0", "mfcc_79")


def test_frames_of_a_long_clip_do_not_depend_on_the_blocks_they_were_made_in(monkeypatch: pytest.MonkeyPatch) -> None:
    wave = noise(20_000)
    whole = frames_of(wave)
    monkeypatch.setattr("features.extractors.mfcc._BLOCK", 7)
    np.testing.assert_allclose(frames_of(wave), whole, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("position", [0, 1, 4_805, 7_999, 8_000, 8_159, 15_999])
def test_a_click_shows_in_exactly_the_frames_whose_window_holds_it(position: int) -> None:
    """Window i holds samples i * hop - 200 to i * hop + 199; its first has no weight."""
    wave = np.zeros(RATE_HZ, np.float32)
    wave[position] = 0.5
    loud = frames_of(wave)[:, 0]
    shown = np.flatnonzero(loud > loud.min() + 1)
    holding = [i for i in range(len(loud)) if i * 160 - 200 < position < i * 160 + 200]
    assert shown.tolist() == holding
    assert position // 160 in holding


def test_silence_stands_at_the_floor() -> None:
    frames = frames_of(np.zeros(3_200, np.float32))
    assert frames[:, 0] == pytest.approx(10 * np.log10(FLOOR) * np.sqrt(128))
    assert np.abs(frames[:, 1:]).max() < 1e-3


def test_twice_as_loud_moves_only_the_first_coefficient() -> None:
    quiet, loud = frames_of(noise(8_000)), frames_of(noise(8_000) * 2)
    assert loud[:, 0] - quiet[:, 0] == pytest.approx(20 * np.log10(2) * np.sqrt(128), rel=1e-4)
    np.testing.assert_allclose(loud[:, 1:], quiet[:, 1:], atol=1e-3)


def test_four_bands_fall_between_two_steps_of_the_spectrum() -> None:
    frames = frames_of(noise(8_000), Mfcc(n_mfcc=128)).astype(np.float64)
    bands = scipy.fft.idct(frames, type=2, norm="ortho", axis=1)
    assert np.flatnonzero(np.ptp(bands, axis=0) < 1e-3).tolist() == [0, 3, 6, 13]


@pytest.mark.parametrize("n_samples", [1, 200])
def test_a_clip_of_half_a_window_is_untreatable(n_samples: int) -> None:
    told = r"the clip lasts 0\.0\d\d s, not longer than half a window \(0\.0125 s\)"
    with pytest.raises(Untreatable, match=told):
        frames_of(noise(n_samples))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"n_mfcc": 0}, "field 'n_mfcc' is 0, but must be at least 1"),
        ({"hop_length": -1}, "field 'hop_length' is -1, but must be at least 1"),
        ({"n_fft": 401}, "field 'n_fft' is 401, but must be even"),
        ({"n_mels": 40}, "field 'n_mfcc' is 80, but there are 40 bands"),
        ({"hop_length": 201}, "field 'hop_length' is 201: above 200, half of n_fft, frames leave sound out"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, int], told: str) -> None:
    with pytest.raises(InvalidField, match=told):
        build("features.extractors", "mfcc", fields, "recipe")


@pytest.mark.parametrize("n_samples", [2 * RATE_HZ, 5 * RATE_HZ, 60 * RATE_HZ])
def test_how_many_cores_a_machine_has_does_not_show(n_samples: int) -> None:
    """What multiplies matrices deals frames to threads, and what is left over is summed in another order: that shows
    where coefficients of silence are nothing but the rest of a sum."""
    sound = np.random.default_rng(0).standard_normal(n_samples).astype(np.float32)
    sound[n_samples // 2 :] = 0
    rows = []
    for limit in (1, 2):
        with threadpool_limits(limit):
            rows.append(Mfcc().load("cpu")([Clip("half silent", sound)])[0]["frames"])
    assert rows[0].tobytes() == rows[1].tobytes()
