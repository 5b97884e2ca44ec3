"""Who speaks in the sandbox, and what an emotion does to a voice."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from features.sandbox import espeak
from features.sandbox.espeak import Voice
from features.sandbox.sentences import as_spoken

LEVEL_DB = -25.0
"""Root mean square of an even-tempered speaker at arm's length, relative to full scale."""

NOISE_DB = -58.0


@dataclass(frozen=True)
class Speaker:
    """A voice variant of espeak-ng with its own height, pace, liveliness and loudness."""

    variant: str
    pitch: int = 45
    rate_wpm: int = 165
    pitch_range: int = 45
    gain_db: float = 0.0


WOMEN = (
    Speaker("f1", 46, 168, 48, 0.5), Speaker("f4", 40, 158, 42, -1.0), Speaker("linda", 30, 172, 50, 0.0),
    Speaker("steph", 42, 162, 40, 1.0), Speaker("belinda", 26, 175, 46, -0.5), Speaker("anika", 22, 160, 44, 0.0),
    Speaker("Annie", 44, 170, 38, 0.5), Speaker("Andrea", 28, 164, 50, -1.0),
)  # fmt: skip
MEN = (
    Speaker("m1", 44, 160, 46, 0.0), Speaker("m3", 40, 170, 42, 1.0), Speaker("m4", 48, 156, 48, -0.5),
    Speaker("m6", 38, 166, 40, 0.5), Speaker("m7", 42, 174, 44, -1.0), Speaker("m2", 46, 162, 50, 0.0),
    Speaker("ed", 36, 168, 44, 0.5), Speaker("paul", 50, 164, 46, -1.0),
)  # fmt: skip


@dataclass(frozen=True)
class Prosody:
    """What an emotion at full strength adds to a speaker; the pace is a factor."""

    pitch: float
    pitch_range: float
    pace: float
    gain_db: float


PROSODY = {
    "neutral": Prosody(0, 0, 1.0, 0),
    "happy": Prosody(20, 30, 1.12, 3),
    "excited": Prosody(26, 36, 1.22, 5),
    "angry": Prosody(6, 34, 1.2, 9),
    "frustrated": Prosody(2, 16, 1.0, 4),
    "sad": Prosody(-14, -28, 0.78, -8),
    "surprised": Prosody(34, 45, 1.02, 2),
    "fearful": Prosody(24, -15, 1.28, -4),
    "disgusted": Prosody(-8, 10, 0.84, 1),
}


@dataclass(frozen=True)
class Take:
    """One utterance as recorded: float32 [n_samples] at `espeak.RATE_HZ`; (symbol, start_s, end_s) of words, phones."""

    wave: np.ndarray
    words: tuple[tuple[str, float, float], ...]
    phones: tuple[tuple[str, float, float], ...]


def say(text: str, speaker: Speaker, emotion: str, strength: float, choose: random.Random) -> Take:
    """Speaks a sentence as this speaker would in this mood, with room noise and a moment of silence around it.

    Args:
        strength: 1 is the emotion as PROSODY has it; moods come and go, so speakers vary around it.
        choose: where the variation comes from.
    """
    mood = PROSODY[emotion]
    voice = Voice(
        f"en-us+{speaker.variant}",
        rate_wpm=_within(speaker.rate_wpm * mood.pace**strength * choose.gauss(1, 0.05), 90, 320),
        pitch=_within(speaker.pitch + strength * mood.pitch + choose.gauss(0, 4), 0, 99),
        pitch_range=_within(speaker.pitch_range + strength * mood.pitch_range + choose.gauss(0, 7), 0, 99),
    )
    spoken = espeak.speak(as_spoken(text, emotion), voice)
    end_s = spoken.phones[-1][2]
    before_s, after_s = choose.uniform(0.08, 0.2), choose.uniform(0.12, 0.25)
    heard = spoken.wave[: round(end_s * espeak.RATE_HZ)].astype(np.float64) / 32_768
    level_db = LEVEL_DB + speaker.gain_db + strength * mood.gain_db + choose.gauss(0, 1.5)
    heard *= 10 ** (level_db / 20) / np.sqrt(np.mean(heard**2))
    heard *= min(1.0, 0.97 / np.max(np.abs(heard)))
    heard = np.pad(heard, (round(before_s * espeak.RATE_HZ), round(after_s * espeak.RATE_HZ)))
    heard += room_noise(len(heard), choose)
    shift = round(before_s * espeak.RATE_HZ) / espeak.RATE_HZ
    words, phones = (
        tuple((symbol, start_s + shift, stop_s + shift) for symbol, start_s, stop_s in timed)
        for timed in (spoken.words, spoken.phones)
    )
    return Take(heard.astype(np.float32), words, phones)


def room_noise(n_samples: int, choose: random.Random) -> np.ndarray:
    """Faint noise, float64 [n_samples]."""
    return np.random.default_rng(choose.getrandbits(64)).standard_normal(n_samples) * 10 ** (NOISE_DB / 20)


def resampled(wave: np.ndarray, rate_hz: int) -> np.ndarray:
    """A take's wave at another rate."""
    import soxr

    return soxr.resample(wave, espeak.RATE_HZ, rate_hz)


def _within(value: float, low: int, high: int) -> int:
    return max(low, min(high, round(value)))
