"""Where somebody speaks in a recording: one bit per 10 ms, by the detector of WebRTC."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

import numpy as np

from features import audio
from features.plugin import RATE_HZ

VERSION = 1
"""Raised by hand when the same wave gives other bits."""

FRAME_S = 0.01
MODE = 2
"""How strict the detector is, 0 … 3."""

_FRAME = round(FRAME_S * RATE_HZ)
_AT_ONCE = 6_000  # frames: made whole numbers a minute at a time, or a film would fill memory several times over
_HEAD = 8
_KEPT_IN: ContextVar[Path | None] = ContextVar("_KEPT_IN", default=None)


def voice_activity(wave: np.ndarray) -> np.ndarray:
    """bool [n_frames]: whether each whole 10 ms of float32 [n_samples] at 16 kHz is speech to the detector.

    The detector reckons in whole numbers, so that the same samples give the same bits on every machine. It takes
    song, and some music, for speech.

    Source: WebRTC's Gaussian-mixture detector over six bands, as packaged by webrtcvad-wheels.
    """
    import webrtcvad

    detector = webrtcvad.Vad(MODE)
    n_frames = len(wave) // _FRAME
    active = np.zeros(n_frames, bool)
    for first in range(0, n_frames, _AT_ONCE):
        last = min(first + _AT_ONCE, n_frames)
        whole = np.rint(np.clip(wave[first * _FRAME : last * _FRAME], -1, 1) * 32_767).astype("<i2").tobytes()
        for number in range(first, last):
            start = (number - first) * 2 * _FRAME
            active[number] = detector.is_speech(whole[start : start + 2 * _FRAME], RATE_HZ)
    return active


def voice_of_file(path: Path, sha256: str = "") -> np.ndarray:
    """`voice_activity` of a media file, all channels mixed; within `kept_in` the same bytes are heard only once.

    Args:
        sha256: digest of the file, '' to hear it whatever was kept.

    Raises:
        UnreadableAudio: it cannot be decoded.
    """
    folder = _KEPT_IN.get()
    if folder is None or not sha256:
        return voice_activity(audio.open_recording(path).wave)
    kept = folder / f"{sha256}-{audio.VERSION}-{VERSION}.bits"
    if (active := _kept(kept)) is None:
        active = voice_activity(audio.open_recording(path).wave)
        _keep(kept, active)
    return active


@contextlib.contextmanager
def kept_in(folder: Path) -> Iterator[None]:
    """Keeps what is heard in a folder, so that other subtitles of a film do not decode it again. Delete it at will."""
    token = _KEPT_IN.set(folder)
    try:
        yield
    finally:
        _KEPT_IN.reset(token)


def _kept(path: Path) -> np.ndarray | None:
    """What `_keep` wrote; None where there is nothing, or nothing whole."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    n_frames = int.from_bytes(content[:_HEAD], "little")
    if len(content) < _HEAD or n_frames > 8 * (len(content) - _HEAD):
        return None
    return np.unpackbits(np.frombuffer(content, np.uint8, offset=_HEAD))[:n_frames] > 0


def _keep(path: Path, active: np.ndarray) -> None:
    """The number of bits, then the bits. Where this cannot be written, the film is heard again the next time."""
    written = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        written.write_bytes(len(active).to_bytes(_HEAD, "little") + np.packbits(active).tobytes())
        written.replace(path)
