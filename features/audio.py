"""Decode, mix to mono, resample: the one place where a file becomes a wave.

Spans are cut from the decoded and resampled recording, never sought, so a span holds the same samples whatever
else was asked of the recording.
"""

from __future__ import annotations

import errno
import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from features.plugin import RATE_HZ
from warehouse.errors import UnreadableAudio, Untreatable

VERSION = 1
"""Raised by hand when the same file decodes to other numbers; part of the identity of every row that was heard."""

_OF_THE_MACHINE = frozenset({
    errno.EACCES, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EPERM, errno.ESTALE,
})  # fmt: skip

PLAIN = frozenset({".wav", ".flac", ".ogg", ".mp3"})
"""Suffixes that libsndfile reads; every other file is a container for PyAV."""

TOLERANCE_S = 0.05
"""How far a span may pass the end: corpora round their times."""

GAP_S = 0.05
"""Time stamps of a container that jump ahead by more than this mark missing sound, which becomes silence."""

HEADERLESS = frozenset({"aac", "ac3", "eac3", "dts", "amr"})
"""Formats, by FFmpeg's names, of bare frames: their stated duration is a guess from the first bit rates."""

_BLOCK = 1 << 20  # samples read from a plain file at once

_WRITTEN = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")  # Matroska's tag of a duration, to the nanosecond


@dataclass(frozen=True)
class AudioStream:
    """What a file's header promises. Exact for wav and flac; other headers round by up to one codec frame."""

    duration_s: float
    rate_hz: int
    n_channels: int


@dataclass(frozen=True)
class Recording:
    """One decoded recording: float32 [n_samples] at RATE_HZ."""

    wave: np.ndarray

    @property
    def duration_s(self) -> float:
        return len(self.wave) / RATE_HZ

    def span(self, start_s: float = 0.0, end_s: float | None = None) -> np.ndarray:
        """The samples of [start_s, end_s), both rounded to the nearest sample; None is the end.

        Raises:
            Untreatable: an empty span, or one that passes the end by more than TOLERANCE_S.
        """
        end_s = self.duration_s if end_s is None else end_s
        if start_s < 0 or end_s <= start_s:
            raise Untreatable(f"the span [{start_s}, {end_s}] s is empty or starts before 0")
        start, end = round(start_s * RATE_HZ), round(end_s * RATE_HZ)
        if end_s > self.duration_s + TOLERANCE_S or start >= len(self.wave):
            raise Untreatable(
                f"the span [{start_s}, {end_s}] s passes the end of the recording at {self.duration_s:g} s"
            )
        if end == start:
            raise Untreatable(f"the span [{start_s}, {end_s}] s holds no sample at {RATE_HZ} Hz")
        return self.wave[start:end].copy()


def probe(path: Path) -> AudioStream:
    """What the header of a media file says of its sound, without decoding it.

    A stream without a header, such as ADTS, states no duration; it is decoded to know it.

    Raises:
        UnreadableAudio: not a media file, cut off before its header ends, or without sound.
    """
    if path.suffix.lower() in PLAIN:
        return _probe_plain(path)
    stated = _probe_container(path)
    return stated if stated.duration_s > 0 else replace(stated, duration_s=open_recording(path).duration_s)


def decode(path: Path, start_s: float = 0.0, end_s: float | None = None, channel: str = "mix") -> np.ndarray:
    """One span of a recording as float32 [n_samples], mono, at RATE_HZ.

    Args:
        channel: 'mix' (the mean of all channels) or the index of one as text, such as '2'.

    Raises:
        UnreadableAudio: the file cannot be decoded or has no such channel.
        Untreatable: the span is not in the recording.
    """
    return open_recording(path, channel).span(start_s, end_s)


def decode_many(path: Path, spans: Sequence[tuple[float, float | None]], channel: str = "mix") -> list[np.ndarray]:
    """Many spans of one recording, which is decoded once.

    Raises:
        UnreadableAudio, Untreatable: as `decode`; use `open_recording` to treat the other spans all the same.
    """
    recording = open_recording(path, channel)
    return [recording.span(start_s, end_s) for start_s, end_s in spans]


def open_recording(path: Path, channel: str = "mix") -> Recording:
    """The whole recording, decoded. The last one is kept, so asking again for the same file costs nothing.

    Sound of a container that starts after 0 is preceded by silence: times are the container's.

    Raises:
        UnreadableAudio: the file cannot be decoded or has no such channel.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    return _open_recording(path, channel, state.st_mtime_ns, state.st_size)


def _unreadable(path: Path, error: Exception) -> Exception:
    """What to raise: the file's fault, or the machine's, which says nothing of the file and may be gone tomorrow."""
    if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
        return OSError(error.errno, error.strerror, str(path))
    return UnreadableAudio(path, getattr(error, "strerror", None) or "no media file")


@functools.lru_cache(maxsize=1)
def _open_recording(path: Path, channel: str, _mtime_ns: int, _n_bytes: int) -> Recording:
    import soxr

    plain = path.suffix.lower() in PLAIN
    stream = _probe_plain(path) if plain else _probe_container(path)
    blocks = _plain_blocks(path) if plain else _container_blocks(path, stream.rate_hz)
    mono = (_mono(block, channel, path) for block in blocks)
    if stream.rate_hz == RATE_HZ:
        parts = list(mono)
    else:
        resampler = soxr.ResampleStream(stream.rate_hz, RATE_HZ, 1, dtype="float32")
        parts = [resampler.resample_chunk(block) for block in mono]
        parts.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    wave = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    if not len(wave):
        raise UnreadableAudio(path, "it holds no sound")
    wave.flags.writeable = False
    return Recording(wave)


def _mono(block: np.ndarray, channel: str, path: Path) -> np.ndarray:
    """float32 [n_samples, n_channels] to [n_samples]."""
    n_channels = block.shape[1]
    if channel == "mix":
        return block[:, 0].copy() if n_channels == 1 else block.mean(axis=1, dtype=np.float64).astype(np.float32)
    if not (channel.isdecimal() and int(channel) < n_channels):
        raise UnreadableAudio(path, f"channel '{channel}' is neither 'mix' nor an index below {n_channels}")
    return block[:, int(channel)].copy()


def _probe_plain(path: Path) -> AudioStream:
    import soundfile

    try:
        with soundfile.SoundFile(str(path)) as stream:  # `soundfile.info` also composes texts: twice the time
            found = AudioStream(stream.frames / stream.samplerate, stream.samplerate, stream.channels)
    except soundfile.LibsndfileError as error:
        raise UnreadableAudio(path, error.error_string.rstrip(".")) from error
    if found.duration_s <= 0:
        raise UnreadableAudio(path, "it holds no sound")
    return found


def _plain_blocks(path: Path) -> Iterator[np.ndarray]:
    import soundfile

    try:
        with soundfile.SoundFile(str(path)) as stream:
            n_left = stream.frames
            while n_left:
                block = stream.read(min(_BLOCK, n_left), dtype="float32", always_2d=True)
                if not len(block):
                    raise UnreadableAudio(path, f"it breaks off {n_left / stream.samplerate:g} s before its end")
                n_left -= len(block)
                yield block
    except soundfile.LibsndfileError as error:
        raise UnreadableAudio(path, error.error_string.rstrip(".")) from error


def _probe_container(path: Path) -> AudioStream:
    """As `probe`, with a duration of 0 or less where none is stated."""
    import av

    try:
        with av.open(str(path), metadata_errors="replace") as container:
            if not container.streams.audio:
                raise UnreadableAudio(path, "it has no audio stream")
            stream = container.streams.audio[0]
            if stream.codec_context is None:
                raise UnreadableAudio(path, "its sound is in no format that is known")
            return AudioStream(_header_duration_s(container, stream), stream.rate, stream.codec_context.channels)
    except (av.error.FFmpegError, OSError) as error:
        raise _unreadable(path, error) from error


def _header_duration_s(container, stream) -> float:  # type: ignore[no-untyped-def]  # av is imported late
    """Seconds from the start of the container to the end of its sound.

    Matroska states a track's length in a tag that some writers count from the track's start and some from the
    container's: the later of both, if the container is as long.
    """
    if container.format.name in HEADERLESS:
        return 0.0
    offset_s, whole_s = _origin_s(container), (container.duration or 0) / 1_000_000
    start_s = float((stream.start_time or 0) * stream.time_base) - offset_s
    if stream.duration is not None:
        return start_s + float(stream.duration * stream.time_base)
    if written := _WRITTEN.fullmatch(stream.metadata.get("DURATION", "")):
        return min(start_s + int(written[1]) * 3600 + int(written[2]) * 60 + float(written[3]), whole_s)
    return whole_s


def _origin_s(container) -> float:  # type: ignore[no-untyped-def]
    """Where players put 0: some containers start their clock late, none of them early."""
    return max(container.start_time or 0, 0) / 1_000_000


def _container_blocks(path: Path, rate_hz: int) -> Iterator[np.ndarray]:
    """Blocks of [n_samples, n_channels], silence where the time stamps leave a hole, cut at 0."""
    import av

    n_done = 0
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            stream = container.streams.audio[0]
            origin_s = _origin_s(container)
            to_float = av.AudioResampler(format="fltp")
            for frame in container.decode(stream):
                if frame.sample_rate != rate_hz:
                    raise UnreadableAudio(path, f"its rate changes from {rate_hz} to {frame.sample_rate} Hz")
                start = None if frame.time is None else round((frame.time - origin_s) * rate_hz)
                for converted in [frame] if frame.format.name == "fltp" else to_float.resample(frame):
                    block = converted.to_ndarray().T
                    if start is not None and start < 0 and n_done == 0:
                        block = block[-start:]
                    elif start is not None and start > n_done + (GAP_S * rate_hz if n_done else 0):
                        yield np.zeros((start - n_done, block.shape[1]), np.float32)
                        n_done = start
                    n_done += len(block)
                    start = None
                    yield block
    except (av.error.FFmpegError, OSError) as error:
        raise _unreadable(path, error) from error
