"""Acoustic descriptors of openSMILE: frame by frame, or functionals of the whole utterance."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from features.opensmile_engine import Engine, completed, configuration, only, package
from features.plugin import Clip, FeatureSpec, Needs, heard
from warehouse.errors import InvalidField, Untreatable

HOP_S = 0.01
"""Every feature set of openSMILE steps by 10 ms; its windows last 20 to 60 ms."""

CONFIGURATIONS = {
    "ComParE_2016": "compare/ComParE_2016",
    "GeMAPS": "gemaps/v01a/GeMAPSv01a", "GeMAPSv01a": "gemaps/v01a/GeMAPSv01a", "GeMAPSv01b": "gemaps/v01b/GeMAPSv01b",
    "eGeMAPS": "egemaps/v01a/eGeMAPSv01a", "eGeMAPSv01a": "egemaps/v01a/eGeMAPSv01a",
    "eGeMAPSv01b": "egemaps/v01b/eGeMAPSv01b", "eGeMAPSv02": "egemaps/v02/eGeMAPSv02",
    "emobase": "emobase/emobase",
    "IS09": "is09-13/IS09_emotion", "IS10": "is09-13/IS10_paraling_compat", "IS11": "is09-13/IS11_speaker_state",
    "IS12": "is09-13/IS12_speaker_trait_compat", "IS13": "is09-13/IS13_ComParE",
}  # fmt: skip
"""Feature set -> its file in the package, as `opensmile.FeatureSet` has it, which takes half a second to import."""

_LEVELS = {"lld_and_deltas": "lld;lld_de", "lld": "lld", "functionals": "func"}


@dataclass(frozen=True)
class OpenSmile:
    """Low-level descriptors, with or without their deltas, as 'frames' [frame, dim], or functionals as 'vector' [dim].

    openSMILE's delta level is two frames longer than its descriptor level, because its regression also runs over the
    padded end. The two are aligned at the start, so the delta level's last two frames are cut: both levels are read
    in one pass over the sound, and openSMILE joins them to their common length. ComParE_2016 gives 65 + 65 = 130.

    Columns have openSMILE's own names. Frame i covers the window that begins at i * HOP_S; the windows are as long as
    the feature set has them, and n seconds give some four frames fewer than n / HOP_S.

    Args:
        feature_set: openSMILE's name of it. 'GeMAPS' and 'eGeMAPS' are its old aliases of their v01a.
        level: 'lld_and_deltas', 'lld' or 'functionals'; the GeMAPS family has no deltas.

    Raises:
        InvalidField: deltas of a set of the GeMAPS family.
        Untreatable: the clip is too short for one frame (under 25 ms for IS09, 60 ms for ComParE_2016 and the GeMAPS
            family, some 70 ms for IS10 to IS12), or the sound or a feature is not finite.

    Source: F. Eyben, M. Wöllmer, B. Schuller, "openSMILE", ACM Multimedia 2010. We differ from its Python wrapper in
        that full scale is +32767 (the wrapper wraps +1.0 round to -32768), and in that a short clip is an error (there,
        a row of NaN).
    """

    feature_set: Literal[
        "ComParE_2016", "GeMAPS", "GeMAPSv01a", "GeMAPSv01b", "eGeMAPS", "eGeMAPSv01a", "eGeMAPSv01b", "eGeMAPSv02",
        "emobase", "IS09", "IS10", "IS11", "IS12", "IS13",
    ] = "ComParE_2016"  # fmt: skip
    level: Literal["lld_and_deltas", "lld", "functionals"] = "lld_and_deltas"

    version: ClassVar[int] = 1
    needs: ClassVar[Needs] = "audio"
    libraries: ClassVar[tuple[str, ...]] = ("opensmile",)
    tolerance: ClassVar[float] = 1e-4

    def __post_init__(self) -> None:
        if self.level == "lld_and_deltas" and "GeMAPS" in self.feature_set:
            problem = f"is 'lld_and_deltas', but {self.feature_set} has no deltas: use 'lld' or 'functionals'"
            raise InvalidField("extractor 'opensmile'", "level", problem)

    def outputs(self) -> Mapping[str, FeatureSpec]:
        names = _names(self.feature_set, self.level)
        if self.level == "functionals":
            return {"vector": FeatureSpec("utterance", ("dim",), len(names), names=names)}
        return {"frames": FeatureSpec("frame", ("frame", "dim"), len(names), hop_s=HOP_S, names=names)}

    def load(self, device: str) -> Callable[[Sequence[Clip]], list[dict[str, np.ndarray]]]:
        engine = _engine(self.feature_set, self.level)

        def extract(clips: Sequence[Clip]) -> list[dict[str, np.ndarray]]:
            return [row(clip) for clip in clips]

        def row(clip: Clip) -> dict[str, np.ndarray]:
            frames = engine.frames(heard(clip))
            if not len(frames):
                told = f"the clip lasts {clip.duration_s:.3f} s, too short for one frame of {self.feature_set}"
                raise Untreatable(told)
            finite = np.isfinite(frames).all(axis=0)
            if not finite.all():
                n_bad, first = (~finite).sum(), engine.names[finite.argmin()]
                raise Untreatable(f"{n_bad} features of {self.feature_set} are not finite (first: {first})")
            return {"vector": frames[0]} if self.level == "functionals" else {"frames": frames}

        return extract


def _engine(feature_set: str, level: str) -> Engine:
    path = package() / "core" / "config" / f"{CONFIGURATIONS[feature_set]}.conf"
    return Engine(only(completed(configuration(path)), _LEVELS[level]), _LEVELS[level])


@functools.cache
def _names(feature_set: str, level: str) -> tuple[str, ...]:
    return _engine(feature_set, level).names
