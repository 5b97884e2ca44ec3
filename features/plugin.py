"""What readers, aligners and extractors are, and what passes between them and the loops that run them.

Each is a plug-in (see `warehouse.catalog`): one frozen dataclass in a file of its own, whose `load(device)`, where
it has one, returns a callable and is the only place of heavy imports.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from warehouse.errors import Untreatable

RATE_HZ = 16_000
"""The one sampling rate of everything that hears: recordings are resampled to it when decoded."""

Needs = Literal["audio", "text", "pair"]


@dataclass(frozen=True)
class FeatureSpec:
    """What an extractor promises of one output.

    Args:
        level: 'utterance' (one vector, plain columns), 'sample', 'frame', 'token' (arrays, one row per step).
        axes: names of the array's axes, such as ('frame', 'dim') or ('layer', 'token', 'dim').
        dim: size of the last axis (1 for a waveform, whose axes are ('sample',)).
        dtype: numpy name.
        hop_s: seconds from one step to the next, where steps are equidistant in time.
        names: of the last axis; required at utterance level, where they become columns.
    """

    level: Literal["utterance", "sample", "frame", "token"]
    axes: tuple[str, ...]
    dim: int
    dtype: str = "float32"
    hop_s: float | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Clip:
    """One input of an aligner or extractor. `wave` is float32 [n_samples] at RATE_HZ in [-1, 1], or None when
    the plug-in needs only text; `text` is the normalised transcript, '' when the plug-in needs only audio."""

    input_id: str
    wave: np.ndarray | None = None
    text: str = ""

    @property
    def duration_s(self) -> float:
        return 0.0 if self.wave is None else len(self.wave) / RATE_HZ


@dataclass(frozen=True)
class Interval:
    """One aligned symbol. Times are seconds from the start of the utterance; `score` as the aligner gives it."""

    tier: Literal["word", "phone", "syllable"]
    symbol: str
    start_s: float
    end_s: float
    score: float | None = None


@dataclass(frozen=True)
class RawFile:
    """One raw file of a corpus: path relative to the corpus root (forward slashes), size and SHA-256."""

    path: str
    n_bytes: int
    sha256: str


@dataclass
class Rows:
    """What a reader finds in one unit: rows of UTTERANCES, LABELS and FAILURES of `warehouse.schema`."""

    utterances: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    labels: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    failures: list[dict[str, Any]] = dataclasses.field(default_factory=list)


class Corpus(Protocol):
    """A reader. `units` says which files (relative paths) make each unit: a session, a split, a film; adding a
    film adds a unit and touches no other. `read` turns one unit into rows.

    A reader of a corpus that ships an alignment has `intervals(root, unit, files, corpus)` too: each utterance id of
    `read` with its intervals, or with the Untreatable that says why it has none.

    A reader whose rows of one unit depend on other units is a `Surveyor` too.
    """

    version: ClassVar[int]

    def units(self, root: Path) -> Mapping[str, Sequence[str]]: ...

    def read(self, root: Path, unit: str, files: Mapping[str, RawFile], corpus: str) -> Rows: ...


class Surveyor(Corpus, Protocol):
    """A reader that may look at all units before any is read.

    `wants_survey` says whether it does, as it is set and with what lies at the root; only then is `survey` called,
    once, with the raw files of every unit, and `read` given what it says of the unit: name -> marks. The rows rest on
    all raw files then: whatever is added or changed, the survey is made again, and every unit is read again if it comes
    out otherwise.
    """

    def wants_survey(self, root: Path) -> bool: ...

    def survey(self, root: Path, units: Mapping[str, Mapping[str, RawFile]]) -> Sequence[Mapping[str, Any]]:
        """Rows of SURVEY of `warehouse.schema`, in the order of units."""

    def read(
        self, root: Path, unit: str, files: Mapping[str, RawFile], corpus: str,
        survey: Mapping[str, bytes] | None = None,
    ) -> Rows: ...  # fmt: skip


class Aligner(Protocol):
    """`load(device)(clip)` returns the clip's intervals, tiers in order, or raises Untreatable with the reason.
    One that is marked `is_shipped` takes what the corpus brings and has no `load` (`features.aligners.provided`).
    One that is marked `aligns_many` has `load(device, lake)(clips)`, which answers each clip, in order, with its
    intervals or the Untreatable that says why it has none; it may work below the lake's `.scratch`, and what it raises
    stops the run (`features.aligners.mfa`). Its `batch_s`, if it has one, is how many seconds it likes at once."""

    version: ClassVar[int]
    needs: ClassVar[Needs]

    def load(self, device: str) -> Callable[[Clip], Sequence[Interval]]: ...


class Extractor(Protocol):
    """`outputs` promises; `load(device)(clips)` answers one mapping per clip, in order: output name -> array.

    A row is the same whatever it was batched with. A clip that cannot be treated raises Untreatable; the loop then
    takes the batch's clips one by one and records that one.

    `libraries` names the distributions whose versions can move its numbers, 'torch' among them if it computes where
    `device` says; `tolerance` is how much of a dimension's scale they may move by (`features.canary`).
    """

    version: ClassVar[int]
    needs: ClassVar[Needs]
    libraries: ClassVar[tuple[str, ...]]
    tolerance: ClassVar[float]

    def outputs(self) -> Mapping[str, FeatureSpec]: ...

    def load(self, device: str) -> Callable[[Sequence[Clip]], Sequence[Mapping[str, np.ndarray]]]: ...


def heard(clip: Clip) -> np.ndarray:
    """The clip's wave, of which there is some, and all of it finite numbers.

    Raises:
        Untreatable: no sound at all, or what is no sound.
    """
    if clip.wave is None or not len(clip.wave):
        raise Untreatable("the clip is empty: it lasts 0.000 s")
    finite = np.isfinite(clip.wave)
    if not finite.all():
        first_s = int(finite.argmin()) / RATE_HZ
        raise Untreatable(f"{(~finite).sum()} samples of the clip are not finite (first: at {first_s:.3f} s)")
    return clip.wave


class _Spoken(dict[int, str | None]):
    """What becomes of each character, asked once: corpora have many millions, of few kinds."""

    def __missing__(self, code: int) -> str | None:
        letter = chr(code)
        self[code] = letter if letter.isalnum() or letter.isspace() else None
        return self[code]


_SPOKEN = _Spoken({ord("’"): "'", ord("'"): "'", ord("-"): " "})


def words(text: str) -> list[str]:
    """The words of a text as they are written, without punctuation; apostrophes inside words are kept.

    Example:
        >>> words("Well -- I can't, Mr. O'Neil!")
        ['Well', 'I', "can't", 'Mr', "O'Neil"]
    """
    return _split(text.translate(_SPOKEN))


def _split(spoken: str) -> list[str]:
    found = spoken.split()
    return [word for part in found if (word := part.strip("'"))] if "'" in spoken else found


def normalised_words(text: str) -> list[str]:
    """`words` in upper case: what aligners and filters count.

    Example:
        >>> normalised_words("Well -- I can't, Mr. O'Neil!")
        ['WELL', 'I', "CAN'T", 'MR', "O'NEIL"]
    """
    return _split(text.translate(_SPOKEN).upper())
