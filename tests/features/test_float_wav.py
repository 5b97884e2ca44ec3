from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from features.audio import decode, probe
from features.float_wav import HEADER_BYTES, write_float_wav

WAVES = {
    "noise": np.random.default_rng(0).normal(0, 0.3, 4_801),
    "loud": np.array([1.5, -7.0, 0.0, 1e-30, -0.0, 3.4e38]),
    "one": np.array([0.25]),
    "none": np.array([]),
}


@pytest.fixture(params=WAVES)
def wave(request: pytest.FixtureRequest) -> np.ndarray:
    return WAVES[request.param].astype(np.float32)


def test_what_is_read_is_what_was_written_to_the_bit(wave: np.ndarray, tmp_path: Path) -> None:
    write_float_wav(tmp_path / "a.wav", wave)
    read, rate_hz = soundfile.read(tmp_path / "a.wav", dtype="float32")
    assert rate_hz == 16_000 and read.tobytes() == wave.tobytes()
    assert soundfile.info(tmp_path / "a.wav").subtype == "FLOAT"
    if len(wave):
        assert probe(tmp_path / "a.wav").duration_s == len(wave) / 16_000
        assert decode(tmp_path / "a.wav").tobytes() == wave.tobytes()


def test_the_bytes_depend_on_the_sound_alone(wave: np.ndarray, tmp_path: Path) -> None:
    """libsndfile's own floats hold a chunk 'PEAK' with the second they were written in."""
    for name in "ab":
        write_float_wav(tmp_path / f"{name}.wav", wave)
    content = (tmp_path / "a.wav").read_bytes()
    assert content == (tmp_path / "b.wav").read_bytes() and b"PEAK" not in content[:HEADER_BYTES]
    assert len(content) == HEADER_BYTES + 4 * len(wave)
    assert struct.unpack("<I", content[4:8]) == (len(content) - 8,)
    assert content[HEADER_BYTES - 8 : HEADER_BYTES - 4] == b"data"
