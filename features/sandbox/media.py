"""Writes wav, mp4 and mkv files whose bytes depend on the sound alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

CONTAINER_RATE_HZ = 48_000
VIDEO_HZ = 5
"""Pictures per second of the grey film that goes with the sound."""

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
CENTRE = 2
"""The channel of a 5.1 layout that speech is in."""


def write_wav(path: Path, wave: np.ndarray, rate_hz: int) -> None:
    """16-bit PCM of float [n_samples] or [n_samples, n_channels]."""
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.rint(np.clip(wave, -1, 1) * 32_767).astype(np.int16), rate_hz, subtype="PCM_16")


def write_film(path: Path, wave: np.ndarray, start_s: float = 0.0) -> None:
    """AAC sound and a tiny MPEG-4 picture in the container that the suffix names.

    Nothing of the moment or of the library's version is written (`bitexact`), and one thread encodes.

    Args:
        wave: float32 [n_samples, n_channels] at CONTAINER_RATE_HZ; 1, 2 or 6 channels.
        start_s: where the sound starts on the container's clock; the picture starts at 0.
    """
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        layout = LAYOUTS[wave.shape[1]]
        sound = container.add_stream("aac", rate=CONTAINER_RATE_HZ, layout=layout, options={"aac_coder": "fast"})
        picture = container.add_stream("mpeg4", rate=VIDEO_HZ, width=64, height=36, pix_fmt="yuv420p")
        for stream in (sound, picture):
            stream.codec_context.thread_count = 1
            stream.codec_context.flags |= av.codec.context.Flags.bitexact
        n_second = CONTAINER_RATE_HZ
        n_start = round(start_s * CONTAINER_RATE_HZ)
        for second in range(-(-(len(wave) + n_start) // n_second)):
            for number in range(second * VIDEO_HZ, (second + 1) * VIDEO_HZ):
                grey = np.full((36, 64, 3), 60 + (number * 7) % 120, np.uint8)
                frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
                frame.pts = number
                container.mux(picture.encode(frame))
            block = wave[second * n_second : (second + 1) * n_second]
            if len(block):
                planes = np.ascontiguousarray(block.T, dtype=np.float32)
                heard = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
                heard.sample_rate = CONTAINER_RATE_HZ
                heard.pts = n_start + second * n_second
                container.mux(sound.encode(heard))
        for stream in (picture, sound):
            container.mux(stream.encode(None))
