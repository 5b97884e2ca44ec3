"""Sound as a WAV file of 32-bit floats whose bytes depend on the sound alone.

libsndfile writes the second at which it worked into such files, and decoders of integers would round the sound.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from features.plugin import RATE_HZ

_FLOAT = 3  # WAVE_FORMAT_IEEE_FLOAT
_BYTES = 4  # of a number

HEADER_BYTES = 58
"""Before the numbers."""


def write_float_wav(path: Path, wave: np.ndarray) -> None:
    """Writes one channel at RATE_HZ: as many numbers as the header says, exactly as they are.

    Args:
        wave: float32 [sample].

    Source: Microsoft, "Multiple channel audio data and WAVE files": a format that is not PCM has the size of its
        extension (none here) and a 'fact' chunk with the number of samples.
    """
    numbers = np.asarray(wave, dtype="<f4").tobytes()
    size = HEADER_BYTES - 8 + len(numbers)
    form = struct.pack("<4sI4s4sIHHIIHHH", b"RIFF", size, b"WAVE", b"fmt ", 18, _FLOAT, 1, RATE_HZ, RATE_HZ * _BYTES,
                       _BYTES, 8 * _BYTES, 0)  # fmt: skip
    fact = struct.pack("<4sII", b"fact", 4, len(numbers) // _BYTES)
    path.write_bytes(form + fact + struct.pack("<4sI", b"data", len(numbers)) + numbers)
