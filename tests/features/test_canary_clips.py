"""The clips of the canary are the same for ever, and go through the decoders."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from features import canary_clips as clips
from features.audio import decode
from features.plugin import RATE_HZ

KNOWN = {
    "tones.wav": "0cd8e59071ec2159e674609b28297736872159315aa67f60b325085db667d6d1",
    "noise.flac": "09dc761110219957e6731b0dd4f5af4429182a8c1267b0d929b6a5d0cc85daef",
    "pulses.media": "ca0c83db059898fc5596edac7351e4cd25f5faa40b22d886723106090c55ab13",
}
"""If this differs, canaries that were stored can be compared with none that is to come."""


def test_the_clips_never_change() -> None:
    assert {name: hashlib.sha256(a.tobytes()).hexdigest() for name, (a, _) in clips.signals().items()} == KNOWN
    assert len(clips.TEXTS) == len(KNOWN)


def test_each_clip_is_decoded_from_a_file_of_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Path] = []

    def noting(path: Path) -> np.ndarray:
        decoded.append(path)
        return decode(path)

    monkeypatch.setattr(clips, "decode", noting)
    found = clips.canary_clips("audio")
    assert [path.suffix for path in decoded] == [".wav", ".flac", ".media"]
    assert not any(path.exists() for path in decoded), "nothing is left"
    for clip, (signal, rate_hz) in zip(found, clips.signals().values(), strict=True):
        assert clip.wave is not None and clip.wave.dtype == np.float32 and clip.text == ""
        assert len(clip.wave) == len(signal) * RATE_HZ / rate_hz == 1.6 * RATE_HZ
    tones, (signal, _) = found[0].wave, clips.signals()["tones.wav"]
    assert np.array_equal(tones, signal[:, 0].astype(np.float32) / 32_768), "nothing to resample: every bit is kept"


def test_what_needs_words_gets_words_and_what_reads_decodes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [(clip.wave is None, clip.text) for clip in clips.canary_clips("pair")] == [(False, t) for t in clips.TEXTS]
    monkeypatch.setattr(clips, "decode", None)
    assert [(clip.wave, clip.text) for clip in clips.canary_clips("text")] == [(None, t) for t in clips.TEXTS]


def test_the_clips_have_silence_loud_and_faint_sound_and_full_scale() -> None:
    noise = clips.canary_clips("audio")[1].wave
    assert noise is not None
    per_100ms = np.abs(noise).reshape(16, -1).max(axis=1)
    assert per_100ms.min() < 1e-3 < 0.03 < per_100ms[0] < 0.1 and per_100ms.max() > 0.9
    assert np.abs(clips.signals()["noise.flac"][0]).max() == 32_767
    left, right = clips.signals()["noise.flac"][0].T / 32_767
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.02, "both ears hear their own noise"
