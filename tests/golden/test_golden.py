"""Numbers that a version of an extractor gave. When one of these fails, either a library changed what it computes, or
we did: then raise the plug-in's `version` and write the new numbers here, in one commit that says why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from features.plugin import RATE_HZ, Clip
from warehouse.catalog import build


def voice_like() -> Clip:
    """Two seconds: a harmonic tone that glides from 120 to 180 Hz, swelling and fading, over a little noise."""
    t = np.arange(2 * RATE_HZ) / RATE_HZ
    phase = 2 * np.pi * (120 * t + 15 * t**2)
    tone = sum(np.sin(k * phase) / k for k in range(1, 9)) * np.sin(np.pi * t / 2)
    noise = np.random.default_rng(0).normal(0, 0.002, len(t))
    return Clip("golden", (0.1 * tone + noise).astype(np.float32))


GOLDEN: list[tuple[str, int, dict[str, Any], dict[str, float]]] = [
    (
        "opensmile",
        1,
        {"feature_set": "eGeMAPSv02", "level": "functionals"},
        {
            "F0semitoneFrom27.5Hz_sma3nz_amean": 29.253,
            "loudness_sma3_stddevNorm": 0.28704,
            "mfcc1_sma3_amean": 35.5243,
            "shimmerLocaldB_sma3nz_stddevNorm": 1.13981,
            "F1amplitudeLogRelF0_sma3nz_amean": -11.6641,
            "F3bandwidth_sma3nz_stddevNorm": 0.221995,
            "spectralFluxV_sma3nz_amean": 0.0501999,
            "hammarbergIndexUV_sma3nz_amean": 0,
        },
    ),
    (
        "opensmile",
        1,
        {"feature_set": "ComParE_2016", "level": "lld_and_deltas"},
        {
            "n_steps": 196,
            "F0final_sma": 150.38,
            "audSpec_Rfilt_sma[3]": 0.638062,
            "audSpec_Rfilt_sma[16]": 1.41588,
            "pcm_fftMag_spectralRollOff50.0_sma": 180.166,
            "mfcc_sma[2]": 26.4668,
            "F0final_sma_de": 0.00370619,
            "audSpec_Rfilt_sma_de[3]": 0.00665901,
            "audSpec_Rfilt_sma_de[16]": 0.0258799,
            "pcm_fftMag_spectralRollOff50.0_sma_de": 7.1216,
            "mfcc_sma_de[2]": 0.355793,
        },
    ),
    (
        "opensmile",
        1,
        {"feature_set": "eGeMAPSv02", "level": "lld"},
        {"n_steps": 196, "Loudness_sma3": 0.556605, "HNRdBACF_sma3nz": 10.3958},
    ),
    (
        "mfcc",
        1,
        {},
        {
            "n_steps": 201,
            "mfcc_0": 256.641,
            "mfcc_13": 17.5433,
            "mfcc_26": 11.8604,
            "mfcc_39": 11.3556,
            "mfcc_52": 6.02899,
            "mfcc_65": 3.72342,
            "mfcc_78": 16.5359,
        },
    ),
    (
        "waveform",
        1,
        {},
        {
            "n_steps": 32000,
            "wave": 1558.44,
        },
    ),
]


@pytest.mark.parametrize(("name", "version", "fields", "numbers"), GOLDEN)
def test_golden(name: str, version: int, fields: dict[str, Any], numbers: dict[str, float]) -> None:
    plugin = build("features.extractors", name, fields, "the test")
    assert plugin.version == version, "a new version needs its own numbers"
    assert numbers_of(plugin) == pytest.approx(numbers, rel=1e-3)


def numbers_of(plugin: Any) -> dict[str, float]:
    """Every eleventh column, or the number of steps and the mean size of every thirteenth dimension."""
    (name, spec), *_ = plugin.outputs().items()
    array = plugin.load("cpu")([voice_like()])[0][name]
    if spec.level == "utterance":
        return {spec.names[i]: float(array[i]) for i in range(0, spec.dim, 11)}
    steps = array.reshape(len(array), -1).astype(np.float64)
    found = {"n_steps": float(len(steps))}
    return found | {(spec.names or ("wave",))[i]: float(np.abs(steps[:, i]).mean()) for i in range(0, spec.dim, 13)}
