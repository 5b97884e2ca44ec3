from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import opensmile
import pytest
import soundfile

from features.extractors.opensmile import CONFIGURATIONS, OpenSmile
from features.opensmile_engine import Engine
from features.plugin import RATE_HZ, Clip
from tests.sparing import first
from warehouse.catalog import build, plugin_key
from warehouse.errors import InvalidField, Untreatable

WITH_DELTAS = ("ComParE_2016", "emobase", "IS09", "IS10", "IS11", "IS12", "IS13")
EVERY = [
    (feature_set, level)
    for feature_set in opensmile.FeatureSet.__members__
    for level in ("lld_and_deltas", "lld", "functionals")
    if level != "lld_and_deltas" or "GeMAPS" not in feature_set
]
QUICK = [
    ("eGeMAPSv02", "functionals"), ("eGeMAPSv02", "lld"), ("ComParE_2016", "lld_and_deltas"), ("IS09", "functionals"),
]  # fmt: skip


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


@pytest.mark.filterwarnings("ignore:Feature set .* is deprecated:UserWarning", "ignore:Segment too short:UserWarning")
@pytest.mark.parametrize(("feature_set", "level"), first(4, sorted(EVERY, key=lambda one: one not in QUICK)))
def test_numbers_are_those_of_the_package_for_every_set_and_one_clip_after_the_other(
    feature_set: str, level: str
) -> None:
    read = {"lld_and_deltas": "lld;lld_de", "lld": "lld", "functionals": "func"}[level]
    smile = opensmile.Smile(opensmile.FeatureSet[feature_set], read, loglevel=0)
    [(output, spec)] = OpenSmile(feature_set, level).outputs().items()  # type: ignore[arg-type]
    assert spec.names == tuple(smile.feature_names)
    extract = OpenSmile(feature_set, level).load("cpu")  # type: ignore[arg-type]
    for wave in (hum(12_000), np.zeros(4_000, np.float32), hum(400), hum(2_000)[::-1].copy(), hum(12_000)):
        expected = smile(wave, RATE_HZ)[0].T
        if np.isnan(expected).all():
            with pytest.raises(Untreatable, match="too short for one frame of"):
                extract([Clip("a", wave)])
        else:
            found = extract([Clip("a", wave)])[0][output]
            assert np.array_equal(found, expected if output == "frames" else expected[0])


@pytest.mark.parametrize(
    ("feature_set", "level", "dim"),
    [
        ("ComParE_2016", "lld", 65), ("ComParE_2016", "lld_and_deltas", 130), ("ComParE_2016", "functionals", 6_373),
        ("eGeMAPSv02", "lld", 25), ("eGeMAPSv02", "functionals", 88), ("GeMAPSv01b", "functionals", 62),
        ("IS09", "functionals", 384), ("IS10", "functionals", 1_582), ("IS11", "functionals", 4_368),
        ("IS12", "functionals", 6_125), ("IS13", "functionals", 6_373), ("emobase", "functionals", 988),
    ],
)  # fmt: skip
def test_published_numbers_of_features(feature_set: str, level: str, dim: int) -> None:
    [spec] = OpenSmile(feature_set, level).outputs().values()  # type: ignore[arg-type]
    assert spec.dim == len(spec.names) == dim


@pytest.mark.parametrize("second", [0.0, 0.3003, 0.505, 0.50999, 0.9])
def test_a_click_shows_in_the_two_windows_of_20_ms_that_hold_it_and_their_smoothed_neighbours(second: float) -> None:
    hush = np.random.default_rng(0).normal(0, 0.003, RATE_HZ).astype(np.float32)
    click = hush.copy()
    click[round(second * RATE_HZ)] = 0.9
    energy = OpenSmile().outputs()["frames"].names.index("pcm_RMSenergy_sma")
    change = np.abs(frames_of(click) - frames_of(hush))[:, energy]
    covering = int(second * 100)
    shown = np.flatnonzero(change > 0.01 * change.max())
    assert max(covering - 2, 0) <= shown.min() <= covering <= shown.max() <= covering + 2
    assert covering - 1 <= change.argmax() <= covering


def test_keys_of_what_is_in_lakes() -> None:
    """Rows that were extracted before must be found again: these are the demo's."""
    step = "extractors.opensmile"
    assert plugin_key(step, OpenSmile()) == "1679fb2255e396b7410281e8af85d990"
    assert plugin_key(step, OpenSmile("eGeMAPSv02", "functionals")) == "b3e0ab8b9639938ee3d2d9abac124972"


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


def test_the_configurations_are_those_of_the_package() -> None:
    assert {name: one.value for name, one in opensmile.FeatureSet.__members__.items()} == CONFIGURATIONS


def test_what_it_gives_is_known_without_pandas() -> None:
    code = "import sys; from features.extractors.opensmile import OpenSmile; OpenSmile().outputs(); print(*sys.modules)"
    house = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=house, capture_output=True, text=True, check=True)
    assert not {"pandas", "audobject", "opensmile"} & set(done.stdout.split())


def test_a_feature_that_is_not_finite_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Engine, wave: np.ndarray) -> np.ndarray:
        frames = np.zeros((2, 130), np.float32)
        frames[0, 1] = np.inf
        return frames

    monkeypatch.setattr(Engine, "frames", broken)
    told = r"1 features of ComParE_2016 are not finite \(first: voicingFinalUnclipped_sma\)"
    with pytest.raises(Untreatable, match=told):
        frames_of(hum(2_000))


def test_the_gemaps_family_has_no_deltas() -> None:
    with pytest.raises(InvalidField, match="eGeMAPSv02 has no deltas: use 'lld' or 'functionals'"):
        OpenSmile("eGeMAPSv02", "lld_and_deltas")


def test_unknown_feature_set_is_refused() -> None:
    with pytest.raises(InvalidField, match="field 'feature_set' is 'eGeMAPSv3'"):
        build("features.extractors", "opensmile", {"feature_set": "eGeMAPSv3"}, "recipe")
