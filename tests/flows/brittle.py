"""An extractor and an aligner that some transcripts kill, as a native library would: for processes of a pool."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import features.extract  # noqa: F401 (its module: the package's own `extract` is the function)
from features.plugin import Clip, FeatureSpec, Interval
from warehouse.errors import Untreatable

MENDED = "EMOLAKE_TEST_MENDED"
"""Environment variable: what kills says why it cannot be treated instead."""

ONCE = "EMOLAKE_TEST_ONCE"
"""Environment variable: a file. Who begins with a text that says 'outside' while it is not there is killed from
outside."""

THEN = "EMOLAKE_TEST_THEN"
"""The same, of who begins with a text that says 'then': it crashes, after it was killed."""


def treat(text: str) -> None:
    """What a text asks for."""
    if MENDED in os.environ and any(word in text for word in ("abort", "fault", "full", "exit")):
        raise Untreatable("mended, but odd")
    if "abort" in text:
        os.abort()
    if "fault" in text:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "full" in text:
        os.kill(os.getpid(), signal.SIGKILL)
    if "end" in text:
        os.kill(os.getpid(), signal.SIGTERM)
    if "exit" in text:
        os._exit(3)
    if "outside" in text:
        once(signal.SIGKILL)
    if "then" in text:
        once(signal.SIGSEGV, THEN)


def once(number: int, variable: str = ONCE) -> None:
    """Kills this process, but only the first time."""
    mark = Path(os.environ[variable])
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), number)


@dataclasses.dataclass(frozen=True)
class Brittle:
    """The number of letters."""

    version: ClassVar[int] = 1
    needs: ClassVar[str] = "text"
    libraries: ClassVar[tuple[str, ...]] = ()
    tolerance: ClassVar[float] = 0.0

    def outputs(self) -> Mapping[str, FeatureSpec]:
        return {"vector": FeatureSpec("utterance", ("dim",), 1, names=("n_letters",))}

    def load(self, device: str) -> Callable[[Sequence[Clip]], Sequence[Mapping[str, np.ndarray]]]:
        return lambda clips: [self._row(clip) for clip in clips]

    def _row(self, clip: Clip) -> dict[str, np.ndarray]:
        treat(clip.text)
        return {"vector": np.array([len(clip.text)], np.float32)}


@dataclasses.dataclass(frozen=True)
class BrittleLoad(Brittle):
    """Dies before it sees a clip."""

    version: ClassVar[int] = 1

    def load(self, device: str) -> Any:
        os.abort()


@dataclasses.dataclass(frozen=True)
class BrittleDecoder(Brittle):
    """What decodes dies of the recording '1.wav'."""

    version: ClassVar[int] = 1
    needs: ClassVar[str] = "pair"

    def load(self, device: str) -> Any:
        module: Any = sys.modules["features.extract"]
        real = module.decode_many

        def decode_many(path: Path, *arguments: Any) -> Any:
            if path.name == "1.wav":
                os.abort()
            return real(path, *arguments)

        module.decode_many = decode_many  # of this process, which is one of the pool
        return super().load(device)


@dataclasses.dataclass(frozen=True)
class BrittleAligner:
    """The whole clip is its first word."""

    version: ClassVar[int] = 1
    needs: ClassVar[str] = "pair"

    def load(self, device: str) -> Callable[[Clip], Sequence[Interval]]:
        def align(clip: Clip) -> list[Interval]:
            treat(clip.text)
            return [Interval("word", clip.text.split()[0], 0.0, clip.duration_s)]

        return align
