from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from features import audio, voice_activity
from features.plugin import RATE_HZ
from features.subtitles.subrip import parse_srt
from features.voice_activity import FRAME_S, kept_in, voice_of_file
from warehouse.errors import UnreadableAudio


def test_silence_and_too_little_sound_are_no_speech() -> None:
    active = voice_activity.voice_activity(np.zeros(RATE_HZ + 159, np.float32))
    assert (active.dtype, len(active), active.any()) == (bool, 100, False)
    assert len(voice_activity.voice_activity(np.zeros(159, np.float32))) == 0


def test_speech_is_heard_where_it_is(real: Path) -> None:
    """The reader of the sonnet pauses between lines, and for half a second at the end."""
    folder = real / "movie_like"
    active = voice_of_file(folder / "p001.mp3")
    assert len(active) == pytest.approx(53.3 / FRAME_S, abs=5)
    assert 0.7 < active.mean() < 0.95
    cues = [cue.times_s for cue in parse_srt((folder / "sonnet001.srt").read_text())[1:] if cue.times_s]
    middles = np.concatenate([active[round(a / FRAME_S) + 50 : round(b / FRAME_S) - 100] for a, b in cues])
    ends = np.concatenate([active[round(b / FRAME_S) - 20 : round(b / FRAME_S)] for _, b in cues])
    assert middles.mean() > ends.mean() + 0.3


def test_the_same_samples_give_the_same_bits(real: Path) -> None:
    wave = audio.open_recording(real / "movie_like" / "p001.mp3").wave
    first, again = voice_activity.voice_activity(wave), voice_activity.voice_activity(wave.copy())
    np.testing.assert_array_equal(first, again)


def test_a_long_recording_is_taken_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    wave = np.random.default_rng(0).normal(0, 0.4, RATE_HZ * 3 + 77).astype(np.float32)
    wave[RATE_HZ : 2 * RATE_HZ] = 0
    whole = voice_activity.voice_activity(wave)
    monkeypatch.setattr(voice_activity, "_AT_ONCE", 7)
    np.testing.assert_array_equal(voice_activity.voice_activity(wave), whole)
    assert 0 < whole.sum() < len(whole)


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    path = tmp_path / "noise.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, RATE_HZ * 2 + 77), RATE_HZ)
    return path


def test_what_was_heard_is_kept_by_the_bytes(noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = voice_of_file(noise)
    with kept_in(tmp_path / "kept"):
        np.testing.assert_array_equal(voice_of_file(noise, "a" * 64), heard)
        monkeypatch.setattr(audio, "open_recording", lambda *_: pytest.fail("it is decoded again"))
        np.testing.assert_array_equal(voice_of_file(noise, "a" * 64), heard)
        with pytest.raises(pytest.fail.Exception):
            voice_of_file(noise, "b" * 64)
    with pytest.raises(pytest.fail.Exception):
        voice_of_file(noise, "a" * 64)
    assert len(list((tmp_path / "kept").iterdir())) == 1


@pytest.mark.parametrize("left", [b"", b"\xff" * 7, b"\xff" * 9])
def test_what_was_kept_by_half_is_heard_again(noise: Path, tmp_path: Path, left: bytes) -> None:
    heard = voice_of_file(noise)
    with kept_in(tmp_path / "kept"):
        voice_of_file(noise, "a" * 64)
        (path,) = (tmp_path / "kept").iterdir()
        path.write_bytes(left)
        np.testing.assert_array_equal(voice_of_file(noise, "a" * 64), heard)
        assert len(path.read_bytes()) > len(left)


def test_a_folder_that_cannot_be_written_costs_nothing(noise: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with kept_in(tmp_path / "file" / "below"):
        np.testing.assert_array_equal(voice_of_file(noise, "a" * 64), voice_of_file(noise))


def test_a_file_that_is_no_sound(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"none")
    with pytest.raises(UnreadableAudio, match=r"a.wav cannot be decoded as audio"):
        voice_of_file(tmp_path / "a.wav")
