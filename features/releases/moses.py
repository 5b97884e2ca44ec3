"""Text as OPUS packs it for Moses: one file per language, one sentence per line, aligned by line number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np

from features.releases.opus_xml import YEARS, document_name
from features.releases.walk import walk
from warehouse.errors import MalformedSource

DEPTH = 3

_LANGUAGE = r"[a-z]{2,3}(?:_[A-Za-z]+)?"
_NAME = re.compile(rf"OpenSubtitles\.(?P<one>{_LANGUAGE})-(?P<other>{_LANGUAGE})\.(?P<side>{_LANGUAGE})")
_SENTENCE = re.compile(r"0*[1-9][0-9]{0,8}")
_BLOCK = 1 << 20
_NEWLINE = ord("\n")


@dataclass(frozen=True)
class Moses:
    """The files of one pair of languages: the text that is read, and what is aligned with it where it is there."""

    text: Path
    translation: Path | None
    ids: Path | None

    @property
    def aligned(self) -> list[Path]:
        return [path for path in (self.translation, self.ids) if path]


@dataclass(frozen=True)
class Origin:
    """Where a line comes from: a document such as '1968/62622/5157083', and the number of its sentence, from 1."""

    document: str
    sentence: int


def find_moses(root: Path, language: str) -> Moses | None:
    """The files of the pair with this language, if there is one.

    Raises:
        MalformedSource: there are several.
    """
    pairs = {}
    for path in walk(root, DEPTH, closed=YEARS):
        match = _NAME.fullmatch(path.name)
        if match and match["side"] == language and language in (match["one"], match["other"]) and path.is_file():
            pairs[path] = match["other" if language == match["one"] else "one"]
    if len(pairs) > 1:
        names = ", ".join(sorted(path.name for path in pairs))
        raise MalformedSource(root, f"it holds {len(pairs)} texts in '{language}' ({names}): give each its own folder")
    for path, other in pairs.items():
        translation, ids = (path.with_suffix(f".{suffix}") for suffix in (other, "ids"))
        return Moses(path, translation if translation.is_file() else None, ids if ids.is_file() else None)
    return None


def line_starts(path: Path, every: int) -> tuple[int, tuple[int, ...]]:
    """How many lines a file has, and the byte where line 1, 1 + every, 1 + 2 · every, … begins. A last line need not be
    ended. Only '\\n' ends a line, as in every tool that aligns by number. Remembered while the file stays as it is."""
    stat = path.stat()
    return _line_starts(path, every, (stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns))


@lru_cache(maxsize=16)
def _line_starts(path: Path, every: int, stamp: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    starts = [0]
    n_lines, at, last = 0, 0, _NEWLINE
    with open(path, "rb") as stream:
        while block := stream.read(_BLOCK):
            n_ended = block.count(b"\n")
            if len(starts) * every <= n_lines + n_ended:
                ends = np.flatnonzero(np.frombuffer(block, np.uint8) == _NEWLINE)
                while len(starts) * every <= n_lines + n_ended:
                    starts.append(at + int(ends[len(starts) * every - n_lines - 1]) + 1)
            n_lines, at, last = n_lines + n_ended, at + len(block), block[-1]
    if starts[-1] == at:
        starts.pop()  # a piece of no line
    return n_lines + (last != _NEWLINE), tuple(starts)


def read_lines(path: Path, start: int = 0, n_lines: int | None = None) -> Iterator[bytes]:
    """Lines from a byte on, without their ends: all, or at most some."""
    with open(path, "rb") as stream:
        stream.seek(start)
        for line in islice(stream, n_lines):
            yield line.removesuffix(b"\n").removesuffix(b"\r")


def origin_of(line: bytes, language: str) -> Origin | None:
    """What a line of an .ids file says of this language's side, None where it has another form: two documents and two
    lists of sentences, tabs between them.

    Example:
        >>> origin_of(b"en/1968/62/51.xml.gz\\tzh_cn/1968/62/47.xml.gz\\t7 8\\t6", "en")
        Origin(document='1968/62/51', sentence=7)
    """
    cells = line.decode("utf-8", "replace").split("\t")
    if len(cells) != 4:
        return None
    for document, sentences in (cells[::2], cells[1::2]):
        first = sentences.partition(" ")[0]
        own, _, name = document.partition("/")
        if own == language and name and _SENTENCE.fullmatch(first):
            return Origin(document_name(name), int(first))
    return None
