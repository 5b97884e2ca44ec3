"""The corpus that MFA is given: one folder, one wav and one transcript per clip, and a dictionary of their words."""

from __future__ import annotations

import shutil
import tempfile
import wave
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features.mfa.lexicon import Lexicon, spoken, write_lexicon
from features.plugin import RATE_HZ, Clip, normalised_words
from warehouse.in_progress import owner

SHORTEST_S = 0.05
"""MFA 3.4.3 answers no clip of 50 ms or less, and says so nowhere but in a file of its validator."""


@dataclass(frozen=True)
class Stage:
    """Where one run reads and writes. MFA refuses a corpus whose path begins like that of its root."""

    folder: Path

    @property
    def corpus(self) -> Path:
        return self.folder / "corpus"

    @property
    def dictionary(self) -> Path:
        return self.folder / "words.dict"

    @property
    def output(self) -> Path:
        return self.folder / "aligned"

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def log(self) -> Path:
        return self.folder / "mfa.log"


def name_of(position: int) -> str:
    """What the clip at this position is called; its folder, which MFA takes for its speaker, has the same name."""
    return f"u{position:06d}"


def refusal(clip: Clip, lexicon: Lexicon) -> str:
    """Why a clip is not given to MFA at all, or ''.

    A word outside the dictionary is said here, with its name, and not left to MFA: it would align the one phone `spn`
    for it, and with an old model write words of one file into another's alignment.
    """
    words = normalised_words(clip.text)
    if not words:
        return "the transcript is empty"
    if clip.duration_s <= SHORTEST_S:
        return f"the clip lasts {clip.duration_s:.3f} s, and MFA answers none of {SHORTEST_S} s or less"
    if not np.isfinite(np.asarray(clip.wave)).all():
        return "its sound holds values that are not finite"
    unknown = dict.fromkeys(word for word in words if word not in lexicon)
    if unknown:
        return f"out of vocabulary: the dictionary lacks {', '.join(map(repr, unknown))}"
    return ""


def scratch_in(lake: Path) -> Path:
    """A new folder, named as the lake names its scratch, and so swept with it where this process is killed."""
    scratch = lake / ".scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=owner(), dir=scratch))


@contextmanager
def staged(scratch: Callable[[], Path], clips: Sequence[Clip], lexicon: Lexicon) -> Iterator[Stage]:
    """A stage with these clips, of which nothing is left afterwards; `scratch` makes its folder."""
    stage = Stage(scratch())
    try:
        write_stage(stage, clips, lexicon)
        yield stage
    finally:
        shutil.rmtree(stage.folder, ignore_errors=True)


def write_stage(stage: Stage, clips: Sequence[Clip], lexicon: Lexicon) -> None:
    """Writes what a run reads. Each clip is a speaker of its own: MFA normalises and adapts by speaker, so clips of one
    speaker would change each other's times.

    Args:
        clips: without a `refusal`.
    """
    words: set[str] = set()
    for position, clip in enumerate(clips):
        own = normalised_words(clip.text)
        words |= set(own)
        name = name_of(position)
        folder = stage.corpus / name
        folder.mkdir(parents=True)
        (folder / f"{name}.lab").write_text(" ".join(map(spoken, own)) + "\n", encoding="utf-8", newline="\n")
        _write_wav(folder / f"{name}.wav", np.asarray(clip.wave))
    write_lexicon(stage.dictionary, lexicon, words)
    stage.root.mkdir()


def _write_wav(path: Path, signal: np.ndarray) -> None:
    pcm = np.rint(signal * 32_768).clip(-32_768, 32_767).astype("<i2").tobytes()
    with wave.open(str(path), "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(RATE_HZ)
        stream.writeframes(pcm)
