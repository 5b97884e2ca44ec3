"""Mel-frequency cepstral coefficients, as torchaudio's transform defines them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from threadpoolctl import ThreadpoolController

from features.plugin import RATE_HZ, Clip, FeatureSpec, Needs, heard
from warehouse.catalog import Count
from warehouse.errors import InvalidField, Untreatable

FLOOR = 1e-10
"""Least power of a mel band."""

RANGE_DB = 80.0
"""What lies further below the clip's loudest band is raised to there."""

_BLOCK = 4_096  # frames at once: the spectrum of a long clip is never whole in memory


@dataclass(frozen=True)
class Mfcc:
    """Coefficients 0 to n_mfcc - 1 as 'frames' [frame, dim], of every step of hop_length samples.

    Frame i is centred at i * hop_s and reaches n_fft / 2 samples both ways, so it covers all of [i, i + 1) * hop_s; at
    both ends the sound is mirrored. A clip of n samples has 1 + n // hop_length frames. Each clip is treated on its
    own, in float64 up to the last step, so a row is the same to the bit whatever it came with. But a part of a clip has
    other coefficients than the clip: RANGE_DB hangs on the loudest band of the whole, and that shifts coefficients of
    silence. With 400 and 128, four of the lowest bands fall between two steps of the spectrum and stand at the floor.

    Args:
        n_mfcc: how many coefficients.
        n_fft: samples of one window, a periodic Hann window; even.
        hop_length: samples from one window to the next.
        n_mels: triangular bands from 0 Hz to half the rate, equidistant in mel (2595 log10(1 + f / 700)), of height 1.

    Raises:
        InvalidField: a length or number below 1, an odd window, more coefficients than bands, or steps so long that
            frames leave sound out.
        Untreatable: the clip is not longer than half a window, or not finite.

    Example:
        >>> Mfcc().load("cpu")([Clip("a", np.zeros(16_000, dtype=np.float32))])[0]["frames"].shape
        (101, 80)

    Source: D. Kim, P. Kang, "Cross-modal distillation with audio–text fusion for fine-grained emotion classification
        using BERT and Wav2vec 2.0", 2022: torchaudio's, with n_fft 400 and 80 coefficients. The rest are torchaudio's
        defaults, but for the hop: 160 is ours, its default is half a window.
    """

    n_mfcc: Count = 80
    n_fft: Count = 400
    hop_length: Count = 160
    n_mels: Count = 128

    version: ClassVar[int] = 1
    needs: ClassVar[Needs] = "audio"
    libraries: ClassVar[tuple[str, ...]] = ()
    tolerance: ClassVar[float] = 1e-4

    def __post_init__(self) -> None:
        if self.n_fft % 2:
            raise InvalidField("extractor 'mfcc'", "n_fft", f"is {self.n_fft}, but must be even")
        if self.n_mfcc > self.n_mels:
            raise InvalidField("extractor 'mfcc'", "n_mfcc", f"is {self.n_mfcc}, but there are {self.n_mels} bands")
        if self.hop_length > self.n_fft // 2:
            problem = f"is {self.hop_length}: above {self.n_fft // 2}, half of n_fft, frames leave sound out"
            raise InvalidField("extractor 'mfcc'", "hop_length", problem)

    def outputs(self) -> Mapping[str, FeatureSpec]:
        names = tuple(f"mfcc_{i}" for i in range(self.n_mfcc))
        hop_s = self.hop_length / RATE_HZ
        return {"frames": FeatureSpec("frame", ("frame", "dim"), self.n_mfcc, hop_s=hop_s, names=names)}

    def load(self, device: str) -> Callable[[Sequence[Clip]], list[dict[str, np.ndarray]]]:
        window = np.hanning(self.n_fft + 1)[:-1]
        bands = _bands(self.n_fft, self.n_mels)
        cosines = _cosines(self.n_mels, self.n_mfcc)
        pools = ThreadpoolController()  # to look for them takes longer than a short clip

        def extract(clips: Sequence[Clip]) -> list[dict[str, np.ndarray]]:
            with pools.limit(limits=1):  # more show in the last bits of silent frames
                return [{"frames": self._row(clip, window, bands, cosines)} for clip in clips]

        return extract

    def _row(self, clip: Clip, window: np.ndarray, bands: np.ndarray, cosines: np.ndarray) -> np.ndarray:
        wave, reach = heard(clip), self.n_fft // 2
        if len(wave) <= reach:
            told = f"the clip lasts {clip.duration_s:.3f} s, not longer than half a window ({reach / RATE_HZ:g} s)"
            raise Untreatable(told)
        mirrored = np.pad(wave, reach, mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(mirrored, self.n_fft)[:: self.hop_length]
        levels_db = np.concatenate([
            _levels_db(windows[begin : begin + _BLOCK], window, bands) for begin in range(0, len(windows), _BLOCK)
        ])  # fmt: skip
        return (np.maximum(levels_db, levels_db.max() - RANGE_DB) @ cosines).astype(np.float32)


def _levels_db(windows: np.ndarray, window: np.ndarray, bands: np.ndarray) -> np.ndarray:
    """The power of each band in decibels, [frame, band]."""
    spectrum = np.fft.rfft(windows * window)
    power = spectrum.real**2 + spectrum.imag**2
    return 10 * np.log10(np.maximum(power @ bands, FLOOR))


def _bands(n_fft: int, n_mels: int) -> np.ndarray:
    """How much of each frequency of the spectrum each band takes, [frequency, band]."""
    frequencies = np.linspace(0, RATE_HZ / 2, n_fft // 2 + 1)
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + RATE_HZ / 2 / 700), n_mels + 2) / 2595) - 1)
    rise = (frequencies[:, None] - edges[:-2]) / np.diff(edges)[:-1]
    fall = (edges[2:] - frequencies[:, None]) / np.diff(edges)[1:]
    return np.maximum(np.minimum(rise, fall), 0)


def _cosines(n_mels: int, n_mfcc: int) -> np.ndarray:
    """The orthonormal cosine transform (II), [band, coefficient]."""
    cosines = np.cos(np.pi / n_mels * np.outer(np.arange(n_mels) + 0.5, np.arange(n_mfcc))) * np.sqrt(2 / n_mels)
    cosines[:, 0] /= np.sqrt(2)
    return cosines
