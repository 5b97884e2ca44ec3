from __future__ import annotations

import re
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features import audio
from features.audio import decode, decode_many, probe
from features.plugin import RATE_HZ
from features.sandbox.media import CONTAINER_RATE_HZ, write_film
from warehouse.errors import UnreadableAudio, Untreatable


def noise(n_samples: int, n_channels: int = 1, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal((n_samples, n_channels))).astype(np.float32)


def write_pcm(
    path: Path, blocks: list[tuple[int, np.ndarray]], rate_hz: int, codec: str = "pcm_s16le", **options: str
) -> None:
    """Blocks [n_samples, 1] at the sample positions given."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate_hz, layout="mono")
        for start, block in blocks:
            ints = np.rint(block.T * 32_767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(ints), format="s16", layout="mono")
            frame.sample_rate, frame.pts = rate_hz, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_adts(path: Path, wave: np.ndarray, rate_hz: int) -> Path:
    with av.open(str(path), "w", format="adts") as container:
        stream = container.add_stream("aac", rate=rate_hz, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave.T), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate_hz, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mkv"
    write_film(path, noise(CONTAINER_RATE_HZ * 3 + 777, 2), start_s=0.25)
    return path


@given(
    n_samples=st.integers(1, 5_000),
    rate_hz=st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000]),
    n_channels=st.integers(1, 6),
    suffix=st.sampled_from([".wav", ".flac"]),
)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_headers_of_wav_and_flac_are_exact(
    tmp_path: Path, n_samples: int, rate_hz: int, n_channels: int, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, noise(n_samples, n_channels), rate_hz)
    assert probe(path) == audio.AudioStream(n_samples / rate_hz, rate_hz, n_channels)


def test_a_wav_at_our_rate_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(20_000, 3), RATE_HZ, subtype="FLOAT")
    expected, _ = soundfile.read(path, dtype="float32")
    wave = decode(path)
    assert wave.dtype == np.float32
    np.testing.assert_array_equal(decode(path, channel="1"), expected[:, 1])
    np.testing.assert_allclose(wave, expected.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 48_000])
def test_block_by_block_resampling_is_that_of_the_whole(
    tmp_path: Path, rate_hz: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio, "_BLOCK", 1_000)
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(rate_hz + 13), rate_hz, subtype="FLOAT")
    np.testing.assert_array_equal(decode(path), soxr.resample(noise(rate_hz + 13)[:, 0], rate_hz, RATE_HZ))


@given(start=st.integers(0, 51_000), n_samples=st.integers(1, 20_000), channel=st.sampled_from(["mix", "0", "1"]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_span_is_a_slice_of_the_whole(film: Path, start: int, n_samples: int, channel: str) -> None:
    whole = decode(film, channel=channel)
    end = min(start + n_samples, len(whole))
    np.testing.assert_array_equal(decode(film, start / RATE_HZ, end / RATE_HZ, channel), whole[start:end])


def test_many_spans_equal_single_ones_and_cost_one_decoding(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spans = [(0.0, 0.5), (1.00003, 1.7), (0.3, 2.9), (2.0, None)]
    expected = []
    for start_s, end_s in spans:
        audio._open_recording.cache_clear()
        expected.append(decode(film, start_s, end_s))
    audio._open_recording.cache_clear()
    calls = []
    blocks = audio._container_blocks
    monkeypatch.setattr(audio, "_container_blocks", lambda *args: calls.append(args) or blocks(*args))
    for got, wanted in zip(decode_many(film, spans), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)
    decode(film, 0.1, 0.2)
    assert len(calls) == 1


def test_a_changed_file_is_decoded_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(1_000), RATE_HZ)
    assert len(decode(path)) == 1_000
    soundfile.write(path, noise(2_000), RATE_HZ)
    assert len(decode(path)) == 2_000


def test_spans_may_be_written_to(film: Path) -> None:
    decode(film, 0.0, 1.0)[:] = 1
    assert np.abs(decode(film, 0.0, 1.0)).max() < 1


def test_sound_that_starts_late_is_preceded_by_silence(tmp_path: Path) -> None:
    wave = np.zeros((CONTAINER_RATE_HZ * 2, 1), np.float32)
    wave[CONTAINER_RATE_HZ // 2 :] = noise(CONTAINER_RATE_HZ * 3 // 2)
    waves = {}
    for start_s in (0.0, 0.75):
        path = tmp_path / f"{start_s}.mkv"
        write_film(path, wave, start_s)
        waves[start_s] = decode(path)
        assert probe(path).duration_s == pytest.approx(2 + start_s, abs=0.3)
    assert not waves[0.75][: round(0.74 * RATE_HZ)].any()
    np.testing.assert_allclose(waves[0.75][12_000:], waves[0.0][: len(waves[0.75]) - 12_000], atol=1e-6)


def test_real_delayed_soundtrack(real: Path) -> None:
    """The same sound in two containers, half a second later in the second."""
    at_once, late = (decode(real / "movie_like" / name) for name in ("sample_MP4_SRT.mp4", "sample_MKV_delayed.mkv"))
    assert not late[:8_000].any()
    np.testing.assert_allclose(late[8_000:], at_once, atol=1e-6)
    assert probe(real / "movie_like" / "sample_MKV_delayed.mkv").duration_s == pytest.approx(5.492)


def test_real_six_channel_clip(real: Path) -> None:
    path = real / "movie_like" / "big_buck_bunny_small_5.1ch_aac48k.mp4"
    found = probe(path)
    assert (found.rate_hz, found.n_channels) == (48_000, 6)
    channels = np.stack([decode(path, channel=str(index)) for index in range(6)])
    mix = decode(path)
    np.testing.assert_allclose(mix, channels.mean(axis=0), atol=1e-5)
    assert np.abs(mix - channels[2]).max() > 1e-3
    assert len(mix) == round(found.duration_s * RATE_HZ)


def test_real_mp3(real: Path) -> None:
    path = real / "movie_like" / "p001.mp3"
    assert len(decode(path)) == pytest.approx(probe(path).duration_s * RATE_HZ, abs=1)


def test_a_hole_in_the_time_stamps_is_silence(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    first, second = noise(8_000), noise(8_000, seed=1)
    write_pcm(path, [(0, first), (16_000, second)], RATE_HZ)
    wave = decode(path)
    assert len(wave) == 24_000
    np.testing.assert_allclose(wave[:8_000], first[:, 0], atol=1e-4)
    assert not wave[8_000:16_000].any()
    np.testing.assert_allclose(wave[16_000:], second[:, 0], atol=1e-4)


def test_the_clock_of_a_container_may_start_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "a.ts"
    write_pcm(path, [(2 * 48_000, noise(48_000))], 48_000, codec="mp2")
    with av.open(str(path)) as container:
        assert container.start_time > 1_900_000
    assert len(decode(path)) == pytest.approx(RATE_HZ, abs=0.1 * RATE_HZ)
    assert probe(path).duration_s == pytest.approx(1, abs=0.1)


def test_a_span_may_pass_the_end_by_a_rounding(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(16_000), RATE_HZ)
    assert len(decode(path, 0.5, 1.04)) == 8_000
    with pytest.raises(Untreatable, match=r"the span \[0.5, 1.06\] s passes the end of the recording at 1 s"):
        decode(path, 0.5, 1.06)
    with pytest.raises(Untreatable, match=r"the span \[1.0, 1.02\] s passes the end of the recording at 1 s"):
        decode(path, 1.0, 1.02)


@pytest.mark.parametrize("span", [(-0.1, 0.5), (0.5, 0.5), (0.7, 0.2)])
def test_empty_spans_are_refused(tmp_path: Path, span: tuple[float, float]) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(16_000), RATE_HZ)
    with pytest.raises(Untreatable, match=r"is empty or starts before 0"):
        decode(path, *span)
    with pytest.raises(Untreatable, match=r"holds no sample at 16000 Hz"):
        decode(path, 0.5, 0.500001)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.mp4", "a.mkv", "a.avi"])
def test_what_is_no_sound_is_unreadable(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"this is a text about sound, not sound itself\n" * 50)
    for ask in (probe, decode):
        with pytest.raises(UnreadableAudio, match=f"{name} cannot be decoded as audio"):
            ask(path)
    with pytest.raises(UnreadableAudio) as caught:
        probe(path)
    assert str(tmp_path) not in caught.value.why


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(UnreadableAudio, match=r"No such file"):
        decode(tmp_path / "none.wav")
    soundfile.write(tmp_path / "a.wav", noise(0), RATE_HZ)
    with pytest.raises(UnreadableAudio, match=r"it holds no sound"):
        probe(tmp_path / "a.wav")
    write_pcm(tmp_path / "a.mkv", [], RATE_HZ)
    for ask in (probe, decode):
        with pytest.raises(UnreadableAudio, match=r"a.mkv cannot be decoded"):
            ask(tmp_path / "a.mkv")


def test_too_short_to_hold_a_sample_at_our_rate(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(1), 48_000)
    with pytest.raises(UnreadableAudio, match="it holds no sound"):
        decode(tmp_path / "a.wav")


def test_a_container_that_states_no_duration(tmp_path: Path) -> None:
    loud_at_last = np.concatenate([np.zeros((200_000, 1), np.float32), noise(200_000)])
    path = write_adts(tmp_path / "a.aac", loud_at_last, RATE_HZ)
    assert probe(path).duration_s == len(decode(path)) / RATE_HZ == pytest.approx(25, abs=0.2)


def test_an_mp3_that_breaks_off(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    soundfile.write(path, noise(160_000), RATE_HZ)
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(UnreadableAudio, match=r"it breaks off [\d.]+ s before its end"):
        decode(path)


def test_sound_before_the_start_of_the_clock_is_not_heard(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    wave = noise(8_000)
    write_pcm(path, [(-1_600, wave[:4_000]), (2_400, wave[4_000:])], RATE_HZ, avoid_negative_ts="disabled")
    np.testing.assert_allclose(decode(path), wave[1_600:, 0], atol=1e-4)


def test_damage_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    write_film(path, noise(CONTAINER_RATE_HZ * 3))
    whole = path.read_bytes()
    path.write_bytes(whole[:20_000] + bytes(3_000) + whole[23_000:])
    with pytest.raises(UnreadableAudio, match="Invalid data found when processing input"):
        decode(path)


def test_a_film_without_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5, width=64, height=36, pix_fmt="yuv420p")
        frame = av.VideoFrame.from_ndarray(np.zeros((36, 64, 3), np.uint8), format="rgb24")
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(UnreadableAudio, match=r"it has no audio stream"):
        probe(path)


def test_a_clip_that_was_cut_off(tmp_path: Path, film: Path) -> None:
    clip = tmp_path / "a.mp4"
    write_film(clip, noise(CONTAINER_RATE_HZ, 1))
    clip.write_bytes(clip.read_bytes()[:2_000])  # its index stands at the end
    with pytest.raises(UnreadableAudio, match=r"a.mp4 cannot be decoded as audio"):
        probe(clip)


def test_a_flac_that_breaks_off(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(100_000), RATE_HZ)
    path.write_bytes(path.read_bytes()[:60_000])
    with pytest.raises(UnreadableAudio, match=r"a\.flac cannot be decoded as audio \(.*"):
        decode(path)


def test_a_rate_that_changes(tmp_path: Path) -> None:
    first, second = (write_adts(tmp_path / f"{rate}.aac", noise(rate), rate) for rate in (32_000, 48_000))
    (tmp_path / "a.aac").write_bytes(first.read_bytes() + second.read_bytes())
    with pytest.raises(UnreadableAudio, match="its rate changes from 32000 to 48000 Hz"):
        decode(tmp_path / "a.aac")


@pytest.mark.parametrize("channel", ["2", "left", "-1", ""])
def test_a_channel_that_is_not_there(film: Path, channel: str) -> None:
    with pytest.raises(UnreadableAudio, match=f"channel '{channel}' is neither 'mix' nor an index below 2"):
        decode(film, channel=channel)


def test_suffixes_in_capitals(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(100), RATE_HZ)
    shutil.copy(tmp_path / "a.wav", tmp_path / "B.WAV")
    assert probe(tmp_path / "B.WAV") == probe(tmp_path / "a.wav")


def replaced(path: Path, pattern: bytes, by: bytes) -> None:
    """Writes other bytes of the same number over the one place that matches."""
    raw = path.read_bytes()
    (found,) = re.finditer(pattern, raw)
    path.write_bytes(raw[: found.start()] + by.ljust(len(found[0]))[: len(found[0])] + raw[found.end() :])


@pytest.mark.parametrize("written", [b"N/A", b"1:2", b"aa:bb:cc"])
def test_a_duration_that_is_none(tmp_path: Path, written: bytes) -> None:
    write_pcm(tmp_path / "a.mkv", [(0, noise(RATE_HZ))], RATE_HZ)
    replaced(tmp_path / "a.mkv", rb"00:00:0\d\.\d+", written)
    assert probe(tmp_path / "a.mkv").duration_s == pytest.approx(1.0)


def test_sound_of_an_unknown_format(tmp_path: Path) -> None:
    write_pcm(tmp_path / "a.mkv", [(0, noise(RATE_HZ))], RATE_HZ)
    replaced(tmp_path / "a.mkv", rb"A_PCM/INT/LIT", b"A_XXX/INT/LIT")
    for ask in (probe, decode):
        with pytest.raises(UnreadableAudio, match=r"a\.mkv .*its sound is in no format that is known"):
            ask(tmp_path / "a.mkv")
