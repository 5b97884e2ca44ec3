"""XED (English) as it lies on disk: annotated lines, and neutral ones in another layout."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from features.releases.untokenised import untokenised
from features.releases.walk import walk
from warehouse.errors import MissingFolder

FILES = {"annotated": "en-annotated.tsv", "neutral": "neu_en.txt"}
"""Unit -> name of its file."""

LABELS = {
    "1": "anger", "2": "anticipation", "3": "disgust", "4": "fear", "5": "joy", "6": "sadness", "7": "surprise",
    "8": "trust",
}  # fmt: skip
NEUTRAL = "9"
"""What the neutral file has, although the README says 0."""

DEPTH = 3

_NUMBERS = re.compile(r"\d+(?:, \d+)*")
_MUSIC = re.compile("[♪♫]")


@dataclass(frozen=True)
class Line:
    """One line; `number` counts the file's lines from 1, `labels` are in the order of the line."""

    number: int
    text: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Fault:
    """Why a line cannot be read: the name of an anomaly, and the sentence."""

    number: int
    name: str
    problem: str


@dataclass(frozen=True)
class Table:
    """What a file holds. `n_other_ends` lines end otherwise than those of this file do; `n_trailing` readable ones
    have tabs at their end."""

    lines: tuple[Line, ...]
    faults: tuple[Fault, ...]
    n_other_ends: int
    n_trailing: int


def find_files(root: Path) -> dict[str, Path]:
    """Unit -> its file: the nearest, then the first by name. What is not there is left out.

    Raises:
        MissingFolder: `root` itself is not there.
    """
    if not root.is_dir():
        raise MissingFolder("XED", root, "name the folder that its repository was copied to")
    units = {name: unit for unit, name in FILES.items()}
    found: dict[str, Path] = {}
    for path in walk(root, DEPTH):
        if path.name in units and path.is_file():
            found.setdefault(units[path.name], path)
    return found


def read_table(unit: str, raw: bytes) -> Table:
    """Reads a file to its end, whatever is wrong with it.

    Raises:
        UnicodeDecodeError: it is not UTF-8.
    """
    rows = raw.decode("utf-8-sig").split("\n")
    if not rows[-1]:
        rows.pop()  # the last line may or may not be ended
    n_crlf = sum(row.endswith("\r") for row in rows)
    lines, faults = [], []
    n_trailing = 0
    for number, row in enumerate((row.removesuffix("\r") for row in rows), start=1):
        found = _line(unit, number, row)
        if isinstance(found, Line):
            lines.append(found)
            n_trailing += row.endswith("\t")
        else:
            faults.append(found)
    n_ended = raw.count(b"\n")
    n_other_ends = n_ended - n_crlf if unit == "annotated" else n_crlf
    return Table(tuple(lines), tuple(faults), n_other_ends, n_trailing)


def _line(unit: str, number: int, row: str) -> Line | Fault:
    if not row.strip():
        return Fault(number, "blank_line", f"line {number} is blank")
    if unit == "neutral":
        given, _, text = row.partition("\t")
        text = text.rstrip("\t")
        layout, known = f"{NEUTRAL}, a tab and the text", {NEUTRAL: "neutral"}
    else:
        text, _, given = row.partition("\t")
        layout, known = "the text, a tab and labels such as '1, 5'", LABELS
    if not text.strip() or "\t" in text or not _NUMBERS.fullmatch(given):
        return Fault(number, "malformed_line", f"line {number} is not {layout}")
    numbers = given.split(", ")
    for label in numbers:
        if label not in known:
            return Fault(number, "unknown_label", f"line {number} has the unknown label '{label}'")
    if len(set(numbers)) < len(numbers):
        return Fault(number, "repeated_label", f"line {number} has a label twice: {given}")
    return Line(number, text, tuple(known[label] for label in numbers))


def plain_text(text: str) -> str:
    """A line without music marks, punctuation at its words; placeholders such as [PERSON] stay.

    Example:
        >>> plain_text("♪ Well , [PERSON] ... ♪")
        'Well, [PERSON]...'
    """
    return untokenised(" ".join(_MUSIC.sub(" ", text).split()))


def single_label(labels: tuple[str, ...]) -> str:
    """The one label of a line by the later rule of MCED's group: anger where surprise stands beside it, else joy if
    there is any, else the first.

    Example:
        >>> single_label(("surprise", "anger")), single_label(("fear", "joy")), single_label(("trust", "fear"))
        ('anger', 'joy', 'trust')
    """
    if {"anger", "surprise"} <= set(labels):
        return "anger"
    return "joy" if "joy" in labels else labels[0]
