"""Word vectors from a text file of the user's: GloVe's, or any other of that form."""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from features.plugin import Clip, FeatureSpec, Needs, words
from warehouse.catalog import Count
from warehouse.errors import MalformedSource, Untreatable


@dataclass(frozen=True)
class Glove:
    """'vectors' [token, dim]: one for each word of `features.plugin.words`, so that aligned words meet theirs by
    position.

    A word is looked up as it is written, then in lower case, then without what follows its apostrophe ("dog's", "dog").
    One that the file has not is a vector of zeros, and a text without any word has one such vector, for nothing could
    be averaged over none. The file is mapped, not read: of each line only where it begins is kept in memory.

    Args:
        weights: digest of the checkpoint artifact: of a folder with the one text file; the folder is given to `load`.
        case: 'as_written' as above; 'lower' for files that hold lower case only.

    Raises:
        MalformedSource: the folder has not one text file, or its lines are not a word and numbers.
        Untreatable: an empty transcript.

    Source: J. Pennington, R. Socher, C. D. Manning, "GloVe: Global vectors for word representation", 2014.
    """

    weights: str
    case: Literal["as_written", "lower"] = "as_written"

    version: ClassVar[int] = 1
    needs: ClassVar[Needs] = "text"
    libraries: ClassVar[tuple[str, ...]] = ()
    tolerance: ClassVar[float] = 1e-6
    reads_checkpoint: ClassVar[bool] = True

    def outputs(self, checkpoint: Path) -> Mapping[str, FeatureSpec]:
        """What the file promises; reads its first line."""
        return {"vectors": FeatureSpec("token", ("token", "dim"), _dim(_file(checkpoint)))}

    def load(self, device: str, checkpoint: Path) -> Callable[[Sequence[Clip]], list[dict[str, np.ndarray]]]:
        path = _file(checkpoint)
        stat = path.stat()
        file = _opened(path, (stat.st_size, stat.st_ino, stat.st_mtime_ns))

        def row(clip: Clip) -> dict[str, np.ndarray]:
            if not clip.text.strip():
                raise Untreatable("the transcript is empty")
            found = [self._vector(word, file) for word in words(clip.text)]
            return {"vectors": np.array(found or [np.zeros(file.dim)], dtype=np.float32)}

        return lambda clips: [row(clip) for clip in clips]

    def _vector(self, word: str, file: _File) -> np.ndarray:
        stem = word.partition("'")[0]
        forms = (word, word.lower(), stem, stem.lower())
        for form in forms if self.case == "as_written" else forms[1::2]:
            vector = file.vector(form.encode())
            if vector is not None:
                return vector
        return np.zeros(file.dim)


@dataclass(frozen=True)
class _File:
    """A mapped file. Line i begins at starts[i] and has a word of checksum checks[i]; in order of checksum."""

    path: Path
    lines: mmap.mmap
    dim: Count
    checks: np.ndarray
    starts: np.ndarray

    def vector(self, word: bytes) -> np.ndarray | None:
        """float64 [dim] of the first line with this word."""
        check = zlib.crc32(word)
        first, end = np.searchsorted(self.checks, [check, check + 1])
        for start in self.starts[first:end]:
            self.lines.seek(int(start))
            own, *numbers = self.lines.readline().split(b" ")
            if own == word and len(numbers) == self.dim:  # else it is a word with a space in it, or another word
                try:
                    return np.array(numbers, dtype=np.float64)
                except ValueError as error:
                    raise MalformedSource(self.path.name, f"the line of '{word.decode()}' is not numbers") from error
        return None


@lru_cache(maxsize=1)
def _opened(path: Path, stamp: tuple[int, ...]) -> _File:
    """Reads where the lines begin: once per process and file, for there are millions."""
    with open(path, "rb") as stream:
        lines = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    checks, starts = [], []
    start = 0
    while line := lines.readline():
        checks.append(zlib.crc32(line.partition(b" ")[0]))
        starts.append(start)
        start += len(line)
    order = np.argsort(np.array(checks), kind="stable")  # stable: of two lines with one word the first counts
    return _File(path, lines, _dim(path), np.array(checks)[order], np.array(starts)[order])


def _file(checkpoint: Path) -> Path:
    found = sorted(path for path in checkpoint.glob("*.txt") if not path.name.startswith("."))
    if len(found) != 1:
        problem = f"it holds {len(found)} text files of vectors: give each file a folder of its own"
        raise MalformedSource(checkpoint, problem)
    return found[0]


def _dim(path: Path) -> int:
    """Of the first line with a vector: word2vec's files begin with a line of two counts."""
    with open(path, "rb") as stream:
        for line in (stream.readline(), stream.readline()):
            _, *numbers = line.split(b" ")
            if len(numbers) > 1:
                try:
                    np.array(numbers, dtype=np.float64)
                except ValueError:
                    break
                return len(numbers)
    raise MalformedSource(path.name, "it does not begin with lines of a word and numbers, single spaces between them")
