"""The sound itself, for students that learn their own front end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from features.plugin import RATE_HZ, Clip, FeatureSpec, Needs, heard

FULL_SCALE = 32_768
"""What an int16 wave is to be divided by."""


@dataclass(frozen=True)
class Waveform:
    """The signal at RATE_HZ as an array 'wave' [sample].

    'int16' is the default: it keeps a 16-bit recording exactly in half the bytes of float32, and its readers divide by
    FULL_SCALE. 'float16' has the same size and needs no scale, but loses up to 4 of the 16 bits of loud sound.

    Args:
        dtype: how the signal is stored; only 'float32' keeps it exactly.

    Raises:
        Untreatable: the clip holds no sound at all, or values that are not finite.

    Example:
        >>> hear = Waveform().load("cpu")
        >>> hear([Clip("a", np.array([0.0, 0.5, -1.0], dtype=np.float32))])[0]["wave"]
        array([     0,  16384, -32768], dtype=int16)
    """

    dtype: Literal["int16", "float16", "float32"] = "int16"

    version: ClassVar[int] = 1
    needs: ClassVar[Needs] = "audio"
    libraries: ClassVar[tuple[str, ...]] = ()
    tolerance: ClassVar[float] = 1e-4

    def outputs(self) -> Mapping[str, FeatureSpec]:
        return {"wave": FeatureSpec("sample", ("sample",), 1, self.dtype, hop_s=1 / RATE_HZ)}

    def load(self, device: str) -> Callable[[Sequence[Clip]], list[dict[str, np.ndarray]]]:
        return lambda clips: [{"wave": self._stored(clip)} for clip in clips]

    def _stored(self, clip: Clip) -> np.ndarray:
        wave = heard(clip)
        if self.dtype == "int16":
            return np.rint(wave * FULL_SCALE).clip(-FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
        return wave.astype(self.dtype)
