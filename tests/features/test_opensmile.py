from __future__ import annotations

import functools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import opensmile
import pytest
import soundfile

from features.extractors.opensmile import OpenSmile
from features.plugin import RATE_HZ, Clip
from warehouse.catalog import build
from warehouse.errors import InvalidField, Untreatable

WITH_DELTAS = ("ComParE_2016", "emobase", "IS09", "IS10", "IS11", "IS12", "IS13")


@functools.cache
def loaded(feature_set: str, level: str) -> Any:
    return OpenSmile(feature_set, level).load("cpu")  # type: ignore[arg-type]


def frames_of(wave: np.ndarray, feature_set: str = "ComParE_2016", level: str = "lld_and_deltas") -> np.ndarray:
    return next(iter(loaded(feature_set, level)([Clip("a", wave)])[0].values()))


def by_opensmile(wave: np.ndarray, feature_set: str, level: opensmile.FeatureLevel) -> np.ndarray:
    smile = opensmile.Smile(opensmile.FeatureSet[feature_set], level, loglevel=0)
    return smile(wave, RATE_HZ)[0].T


def hum(n_samples: int) -> np.ndarray:
    """A tone whose pitch glides, with noise on it."""
    seconds = np.arange(n_samples) / RATE_HZ
    tone = np.sin(2 * np.pi * (120 + 40 * seconds) * seconds) + 0.3 * np.sin(2 * np.pi * 2_300 * seconds)
    return (0.2 * tone + 0.01 * np.random.default_rng(0).standard_normal(n_samples)).astype(np.float32)


@pytest.mark.parametrize("feature_set", WITH_DELTAS)
def test_one_pass_gives_both_levels_cut_to_their_common_length(feature_set: str) -> None:
    wave = hum(9_700)
    lld = by_opensmile(wave, feature_set, opensmile.FeatureLevel.LowLevelDescriptors)
    deltas = by_opensmile(wave, feature_set, opensmile.FeatureLevel.LowLevelDescriptors_Deltas)
    assert len(deltas) == len(lld) + 2
    assert np.array_equal(frames_of(wave, feature_set), np.hstack([lld, deltas[: len(lld)]]))


@pytest.mark.parametrize("n_samples", [960, 1_000, 1_119, 1_120, 2_345, 16_000])
def test_the_cut_is_two_frames_at_every_length(n_samples: int) -> None:
    lld = by_opensmile(hum(n_samples), "ComParE_2016", opensmile.FeatureLevel.LowLevelDescriptors)
    deltas = by_opensmile(hum(n_samples), "ComParE_2016", opensmile.FeatureLevel.LowLevelDescriptors_Deltas)
    assert (len(lld), len(deltas)) == (len(frames_of(hum(n_samples))), len(lld) + 2)


def test_deltas_stand_at_the_frame_they_belong_to() -> None:
    spectral = [i for i, name in enumerate(OpenSmile().outputs()["frames"].names[:65]) if "mfcc" in name]
    frames = frames_of(hum(16_000)).astype(np.float64)
    lld, deltas = frames[:, :65][:, spectral], frames[:, 65:][:, spectral]
    slope = sum(k * (lld[2 + k : len(lld) - 2 + k] - lld[2 - k : len(lld) - 2 - k]) for k in (1, 2)) / 10
    assert np.allclose(deltas[2:-2], slope, rtol=1e-4, atol=1e-4)


def test_names_are_those_of_opensmile() -> None:
    spec = OpenSmile().outputs()["frames"]
    assert (spec.dim, spec.hop_s, spec.names[0], spec.names[65]) == (130, 0.01, "F0final_sma", "F0final_sma_de")
    functionals = OpenSmile("eGeMAPSv02", "functionals").outputs()["vector"]
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    assert functionals.names == tuple(smile.feature_names)
    assert (functionals.level, functionals.dim) == ("utterance", 88)


@pytest.mark.parametrize("feature_set", ["GeMAPS", "eGeMAPSv01b", "IS09", "emobase"])
@pytest.mark.parametrize("level", ["lld", "functionals"])
def test_every_family_has_descriptors_and_functionals(feature_set: str, level: str) -> None:
    [spec] = OpenSmile(feature_set, level).outputs().values()  # type: ignore[arg-type]
    assert frames_of(hum(8_000), feature_set, level).shape[-1] == spec.dim == len(spec.names)


def test_functionals_of_a_recording_are_those_of_opensmile(real: Path) -> None:
    wave, _ = soundfile.read(real / "speech" / "speechbrain" / "spk1_snt1.wav", dtype="float32")
    expected = by_opensmile(wave, "eGeMAPSv02", opensmile.FeatureLevel.Functionals)[0]
    found = frames_of(wave, "eGeMAPSv02", "functionals")
    assert np.array_equal(found, expected)
    f0_semitones = found[OpenSmile("eGeMAPSv02", "functionals").outputs()["vector"].names.index(
        "F0semitoneFrom27.5Hz_sma3nz_amean"
    )]  # fmt: skip
    assert 15 < f0_semitones < 45  # 65 to 370 Hz: a human voice


def test_full_scale_does_not_wrap_round() -> None:
    assert np.array_equal(frames_of(np.ones(2_000, np.float32)), frames_of(np.full(2_000, 0.99997, np.float32)))


def test_silence_is_treatable() -> None:
    assert np.isfinite(frames_of(np.zeros(4_000, np.float32))).all()


@pytest.mark.parametrize("n_samples", [1, 320, 959])
def test_a_clip_below_one_window_is_untreatable(n_samples: int) -> None:
    with pytest.raises(Untreatable, match=r"the clip lasts 0\.0\d\d s, too short for one frame of ComParE_2016"):
        frames_of(hum(n_samples))


def test_an_empty_clip_is_untreatable() -> None:
    with pytest.raises(Untreatable, match=r"the clip is empty: it lasts 0\.000 s"):
        frames_of(np.zeros(0, np.float32))


def test_a_feature_that_is_not_finite_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: opensmile.Smile, wave: np.ndarray, rate_hz: int) -> np.ndarray:
        features = np.zeros((1, 130, 2))
        features[0, 1, 0] = np.inf
        return features

    monkeypatch.setattr(opensmile.Smile, "__call__", broken)
    told = r"1 features of ComParE_2016 are not finite \(first: voicingFinalUnclipped_sma\)"
    with pytest.raises(Untreatable, match=told):
        frames_of(hum(2_000))


def test_the_gemaps_family_has_no_deltas() -> None:
    with pytest.raises(InvalidField, match="eGeMAPSv02 has no deltas: use 'lld' or 'functionals'"):
        OpenSmile("eGeMAPSv02", "lld_and_deltas")


def test_unknown_feature_set_is_refused() -> None:
    with pytest.raises(InvalidField, match="field 'feature_set' is 'eGeMAPSv3'"):
        build("features.extractors", "opensmile", {"feature_set": "eGeMAPSv3"}, "recipe")


def test_every_feature_set_of_opensmile_may_be_named() -> None:
    for name in opensmile.FeatureSet.__members__:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            build("features.extractors", "opensmile", {"feature_set": name, "level": "lld"}, "recipe")
