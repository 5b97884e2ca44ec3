"""The fixed handful of clips that every extractor is tried on, made by arithmetic: no recording, no synthesiser.

They never change, or numbers of today could not be compared with those of then; a test knows their digest. They are
rounded to 16 bits, so that the last bit of a sine is no part of them. Each is written as a file of another kind and
decoded as the files of a corpus are, so that what decodes and resamples is tried along.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from features.audio import decode
from features.plugin import Clip, Needs

TEXTS = ("Oh, you are here at last!", "I can't hear you -- not with all that noise.", "Wirklich? Das sind 42 Äpfel …")


def canary_clips(needs: Needs) -> list[Clip]:
    """The clips, with sound, words or both, as a plug-in needs them."""
    waves: Sequence[np.ndarray | None] = [None] * len(TEXTS) if needs == "text" else _decoded()
    texts = [""] * len(TEXTS) if needs == "audio" else TEXTS
    names = ("tones", "noise", "pulses")
    return [Clip(name, wave, text) for name, wave, text in zip(names, waves, texts, strict=True)]


def signals() -> dict[str, tuple[np.ndarray, int]]:
    """File name -> int16 [n_samples, n_channels] and its rate.

    'tones': two rising tones that grow. 'noise': bursts in both ears, silence between, the last one clipped. 'pulses':
    what a voice is like, a falling row of pulses through three resonances.
    """
    return {"tones.wav": (_tones(16_000), 16_000), "noise.flac": (_noise(44_100), 44_100),
            "pulses.media": (_pulses(48_000), 48_000)}  # fmt: skip


def _decoded() -> list[np.ndarray]:
    """The name without a known ending is one for the decoder of containers (`features.audio`)."""
    import soundfile

    with TemporaryDirectory() as folder:
        waves = []
        for name, (signal, rate_hz) in signals().items():
            path = Path(folder) / name
            kind = "FLAC" if path.suffix == ".flac" else "WAV"
            soundfile.write(path, signal, rate_hz, subtype="PCM_16", format=kind)
            waves.append(decode(path))
    return waves


def _tones(rate_hz: int) -> np.ndarray:
    time_s = np.arange(int(1.6 * rate_hz)) / rate_hz
    low = np.sin(2 * np.pi * (110 * time_s + 400 * time_s**2))
    high = np.sin(2 * np.pi * (700 * time_s + 1_900 * time_s**2))
    return _rounded((0.1 + 0.25 * time_s) * (0.7 * low + 0.3 * high))


def _noise(rate_hz: int) -> np.ndarray:
    """Bursts of 150 ms in every 400 ms, each three times as loud as the one before."""
    n = int(1.6 * rate_hz)
    place, position_s = np.divmod(np.arange(n) / rate_hz, 0.4)
    loudness = np.where(position_s < 0.15, 0.06 * 3.0**place, 0)
    return np.concatenate([_rounded(loudness * _random(n, seed)) for seed in (1, 2)], axis=1)


def _random(n: int, seed: int) -> np.ndarray:
    """Uniform in [-1, 1), of integers alone (SplitMix64), as no library's generator promises for ever."""
    state = (np.arange(n, dtype=np.uint64) + np.uint64(seed << 32)) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((state ^ (state >> np.uint64(31))) >> np.uint64(40)).astype(np.float64) / 2**23 - 1


def _pulses(rate_hz: int) -> np.ndarray:
    time_s = np.arange(int(0.03 * rate_hz)) / rate_hz
    pulse = np.zeros(len(time_s))
    for share, centre_hz, width_hz in ((0.5, 700, 90), (0.3, 1_200, 110), (0.15, 2_600, 160)):
        pulse += share * np.exp(-np.pi * width_hz * time_s) * np.sin(2 * np.pi * centre_hz * time_s)
    wave, begin_s = np.zeros(int(1.6 * rate_hz)), 0.1
    while begin_s < 1.4:
        begin = int(begin_s * rate_hz)
        wave[begin : begin + len(pulse)] += pulse
        begin_s += 1 / (210 - 70 * begin_s)
    return _rounded(0.4 * wave)


def _rounded(wave: np.ndarray) -> np.ndarray:
    return np.rint(wave.clip(-1, 1) * 32_767).astype(np.int16)[:, None]
