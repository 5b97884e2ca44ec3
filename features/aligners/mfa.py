"""Word, phone and syllable times by the Montreal Forced Aligner: a program in an environment of its own."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from features.mfa import invocation
from features.mfa.attempts import Answer, Asked, answer_all
from features.mfa.lexicon import read_lexicon
from features.mfa.staging import scratch_in
from features.mfa.training import Training
from features.plugin import Clip, Needs
from warehouse.artifact import MANIFEST, read_artifact
from warehouse.errors import InvalidField
from warehouse.hashing import file_digest

_WHERE = "aligner 'mfa'"
_KINDS = {"acoustic_model": ("acoustic", ".zip"), "dictionary": ("dictionary", ".dict")}


@dataclass(frozen=True)
class Mfa:
    """Words and phones of a clip in any language that MFA has a model and a dictionary of, and that parts its words.

    Words are those of `normalised_words`, phones those of the dictionary; silences are gaps. Syllables are those of
    `features.syllables` where the dictionary's phones are ARPAbet's, with stress or without; else there are none.
    Scores are None: MFA gives likelihoods of whole utterances only, and those tell no wrong transcript from a right
    one.

    The acoustic model may be one that MFA trains first, on corpora of the recipe (see `features.mfa.training`).

    Rows do not depend on their batch. MFA takes the mean and variance of its features, and with adaptation a transform
    of them, over all that a speaker says; so each clip is a speaker of its own, whoever speaks. The dictionary is cut
    to the batch's words, and a clip with a word outside it is not given to MFA. Adaptation is off by default because a
    transform estimated on the few seconds of one clip is a poor one; it is as independent of the batch when it is on.

    The identity of the rows are the digests of the two files, the beams, and the versions of MFA and kalpy, asked of
    the program that EMOLAKE_MFA names or else PATH. Nothing of MFA is imported.

    Every answer is checked (`features.mfa.outcome`): an alignment with other words than the transcript's, times outside
    the clip, or phones that do not fill the words is a failure. Two clips of the same words and the same length
    could change places unseen. Long batches, because MFA takes a quarter of a minute to start.

    Args:
        acoustic_model: a zip file, or the name of a model that `mfa model download` put in MFA's own folder.
        dictionary: likewise: one pronunciation per line, UTF-8.
        beam: of the first search.
        retry_beam: of MFA's own second search in the same run, for what has no path at `beam`. What still has none
            is run once more with both beams ten times as wide.
        speaker_adaptation: whether MFA, in a second pass, adapts to each clip, where the model is made for it.

    Raises:
        MfaMissing: there is no MFA.
        InvalidField: a beam is not positive or the second not the wider one; the model or dictionary is not there.
        MalformedSource: the dictionary is none.
        MfaFailed: MFA breaks off or hangs on whatever it is given.
        Untreatable: an empty transcript; a word outside the dictionary; a clip of 50 ms or less; no path at either
            beam; an alignment that does not hold together; a clip that breaks MFA.
    """

    acoustic_model: str = "english_us_arpa"
    dictionary: str = "english_us_arpa"
    beam: int = 10
    retry_beam: int = 40
    speaker_adaptation: bool = False

    version: ClassVar[int] = 2
    needs: ClassVar[Needs] = "pair"
    aligns_many: ClassVar[bool] = True
    trains: ClassVar[bool] = True
    batch_s: ClassVar[float] = 3600.0

    def __post_init__(self) -> None:
        if self.beam < 1:
            raise InvalidField(_WHERE, "beam", f"is {self.beam}, but must be at least 1")
        if self.retry_beam <= self.beam:
            raise InvalidField(_WHERE, "retry_beam", f"is {self.retry_beam}, but must be wider than beam {self.beam}")

    def identity_fields(self) -> dict[str, Any]:
        """What the rows are told apart by: files by their bytes, not their names, and the versions of what ran."""
        command = invocation.find()  # before its files: without it nobody can have those
        files = {field: _digest(self._file(field)) for field in _KINDS}
        own = {"beam": self.beam, "retry_beam": self.retry_beam, "speaker_adaptation": self.speaker_adaptation}
        return files | own | {"versions": invocation.versions(command)}

    def cites(self) -> dict[str, tuple[str, ...]]:
        """The artifact that the acoustic model lies in, where it was trained here."""
        folder = self._file("acoustic_model").parent
        return {"acoustic_model": (read_artifact(folder).digest,)} if (folder / MANIFEST).is_file() else {}

    def training(self) -> Training:
        """What a model that MFA trains for these fields is told apart by, beside what it hears."""
        command = invocation.find()
        file = self._file("dictionary")
        return Training(file, _digest(file), self.speaker_adaptation, invocation.versions(command))

    def load(self, device: str, lake: Path) -> Callable[[Sequence[Clip]], list[Answer]]:
        asked = Asked(
            invocation.find(), self._file("acoustic_model"), read_lexicon(self._file("dictionary")), self.beam,
            self.retry_beam, self.speaker_adaptation, functools.partial(scratch_in, lake), lake / ".cache" / "mfa",
        )  # fmt: skip
        return lambda clips: answer_all(asked, clips)

    def _file(self, field: str) -> Path:
        """The file of a field: itself, or what MFA keeps under that name."""
        value: str = getattr(self, field)
        kind, suffix = _KINDS[field]
        path = Path(value).expanduser()
        if path.suffix == ".yaml":
            raise InvalidField(_WHERE, field, f"is '{value}', which only names dictionaries: name one of them")
        if path.is_file():
            return path.absolute()
        root = Path(os.environ.get("MFA_ROOT_DIR") or "~/Documents/MFA").expanduser()
        named = root / "pretrained_models" / kind / f"{value}{suffix}"
        if len(path.parts) == 1 and named.is_file():
            return named.absolute()
        todo = f"give the path of one, or run `mfa model download {kind} {value}`"
        raise InvalidField(_WHERE, field, f"is '{value}', but neither that file nor {named} exists: {todo}")


def _digest(path: Path) -> str:
    stat = path.stat()
    return _known_digest(path, stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns)


@functools.cache
def _known_digest(path: Path, *stamp: int) -> str:
    return file_digest(path)
