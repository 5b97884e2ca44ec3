"""Features of an openSMILE configuration file of your own."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from features.opensmile_engine import ENCODING, PROBE_S, Engine, completed, configuration, levels, tried
from features.plugin import Clip, FeatureSpec, Needs, heard
from warehouse.errors import EmolakeError, InvalidField, Untreatable

_WHERE = "extractor 'opensmile_config'"


@dataclass(frozen=True)
class OpenSmileConfig:
    """What a configuration file gives at one of its levels: 'frames' [frame, dim] where the level steps through the
    clip, 'vector' [dim] where it sums the clip up. A trial on noise tells which, and the step; it runs in a
    process of its own, because openSMILE may crash on a configuration that is wrong.

    The file is one for the `opensmile` package: it takes its sound by `\\{\\cm[source{?}:…]}` and ends with
    `\\{\\cm[sink{?}:…]}`. It is read once, here: `config` then holds the digest of its bytes, so that it may move, and
    may not change unnoticed. Where it includes others by path, the digest is that of the whole, each in the place of
    the line that includes it.

    Args:
        config: path of the file, from the folder that the command runs in. What is kept of it: SHA-256, 64 hex
            characters.
        level: the level to read; several, joined by ';', are cut to their common length.

    Raises:
        InvalidField: no such file or level, or openSMILE refuses it, or it gives nothing, or two features of one name.
        Untreatable: the clip is too short for one frame, or the sound or a feature is not finite.
    """

    config: str
    level: str = "func"

    version: ClassVar[int] = 1
    needs: ClassVar[Needs] = "audio"
    libraries: ClassVar[tuple[str, ...]] = ("opensmile",)
    tolerance: ClassVar[float] = 1e-4

    def __post_init__(self) -> None:
        path = Path(self.config)
        if not path.is_file():
            raise InvalidField(_WHERE, "config", f"is '{path}', which is no file: give the path of a configuration")
        try:
            text = configuration(path)
        except EmolakeError as error:
            raise InvalidField(_WHERE, "config", f"is no use: {error}") from error
        vars(self)["text"] = text  # no field: it is in no key, and travels with the plug-in to other processes
        vars(self)["config"] = hashlib.sha256(text.encode(ENCODING)).hexdigest()

    def outputs(self) -> Mapping[str, FeatureSpec]:
        names, step_s = _tried(vars(self)["text"], self.level)
        if step_s:
            return {"frames": FeatureSpec("frame", ("frame", "dim"), len(names), hop_s=step_s, names=names)}
        return {"vector": FeatureSpec("utterance", ("dim",), len(names), names=names)}

    def load(self, device: str) -> Callable[[Sequence[Clip]], list[dict[str, np.ndarray]]]:
        [(output, _)] = self.outputs().items()
        engine = _engine(vars(self)["text"], self.level)

        def extract(clips: Sequence[Clip]) -> list[dict[str, np.ndarray]]:
            return [row(clip) for clip in clips]

        def row(clip: Clip) -> dict[str, np.ndarray]:
            frames = engine.frames(heard(clip))
            if not len(frames):
                raise Untreatable(f"the clip lasts {clip.duration_s:.3f} s, too short for one frame at '{self.level}'")
            finite = np.isfinite(frames).all(axis=0)
            if not finite.all():
                n_bad, first = (~finite).sum(), engine.names[finite.argmin()]
                raise Untreatable(f"{n_bad} features at '{self.level}' are not finite (first: {first})")
            return {output: frames if output == "frames" else frames[0]}

        return extract


def _engine(text: str, level: str) -> Engine:
    return Engine(completed(text), level)


def _tried(text: str, level: str) -> tuple[tuple[str, ...], float]:
    """Names, and seconds from one frame to the next: 0 where there is one vector per clip."""
    whole = completed(text)
    known = levels(whole)
    for part in level.split(";"):
        if part not in known:
            raise InvalidField(_WHERE, "level", f"is '{level}', but the levels are {', '.join(known)}")
    trial = tried(whole, level)
    if trial.refusal:
        raise InvalidField(_WHERE, "config", f"is no use at level '{level}': {trial.refusal}")
    if not trial.n_frames:
        raise InvalidField(_WHERE, "config", f"gives nothing at level '{level}' for {PROBE_S:g} s of noise")
    [(name, n_times)] = Counter(trial.names).most_common(1)
    if n_times > 1:
        raise InvalidField(_WHERE, "config", f"has {n_times} features of the name '{name}' at level '{level}'")
    return trial.names, trial.step_s
