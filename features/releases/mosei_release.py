"""CMU-MOSEI as it lies on disk: labels as a computational sequence, beside the raw release."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from features.releases.csd import Heading
from features.releases.walk import walk
from warehouse.errors import MalformedSource, MissingFolder

AUDIO = ("Audio", "Full", "WAV_16000")
TRANSCRIPTS = ("Transcript", "Segmented", "Combined")
DEPTH = 3

COLUMNS = ("sentiment", "happy", "sad", "anger", "surprise", "disgust", "fear")
"""The seven labels of a segment in their published order: sentiment from -3 to 3, each emotion from 0 to 3."""

SPLITS = {"train": "train", "valid": "dev", "test": "test", "no fold": ""}
"""Part of the standard folds -> split; 68 labelled videos are in no part."""

MISALIGNED = frozenset({"hh04W3xXa5s"})
"""Videos whose transcripts stand at wrong times, reported by users."""

_SEPARATOR = "___"
_ALIGNED = re.compile(r".+\[\d+\]")


@dataclass(frozen=True)
class Release:
    """Where the parts of a release are; None for one that is not there.

    `rounded` are public CSV files of labels rounded to classes, `others` further computational sequences.
    """

    labels: Path | None
    audio: Path | None
    transcripts: Path | None
    rounded: tuple[Path, ...]
    others: tuple[Path, ...]


@dataclass(frozen=True)
class Piece:
    """One line of a transcript; times are seconds in the whole video."""

    number: int
    start_s: float
    end_s: float
    text: str


def find_release(root: Path, labels: str) -> Release:
    """Finds the parts by name, the nearest first.

    Args:
        labels: name of the .csd with the labels.

    Raises:
        MissingFolder: `root` itself is not there.
    """
    if not root.is_dir():
        raise MissingFolder("CMU-MOSEI", root, f"name the folder that holds {labels} and the raw release")
    folders = [root]
    found: dict[str, list[Path]] = {".csd": [], ".csv": []}
    for path in walk(root, DEPTH, closed={AUDIO[-1], TRANSCRIPTS[-1]}):
        if path.is_dir():
            folders.append(path)
        elif path.suffix in found and path.is_file():  # which a link to nowhere is not
            found[path.suffix].append(path)
    return Release(
        labels=next((path for path in found[".csd"] if path.name == labels), None),
        audio=_below(folders, AUDIO),
        transcripts=_below(folders, TRANSCRIPTS),
        rounded=tuple(path for path in found[".csv"] if _is_rounded(path)),
        others=tuple(path for path in found[".csd"] if path.name != labels),
    )


def _below(folders: Sequence[Path], tail: tuple[str, ...]) -> Path | None:
    return next((path for folder in folders if (path := folder.joinpath(*tail)).is_dir()), None)


def _is_rounded(path: Path) -> bool:
    with path.open("rb") as stream:
        first = stream.readline(4096).decode("utf-8", "replace")
    return "label6" in next(csv.reader([first]), [])


def whole_videos(heading: Heading, name: str) -> tuple[str, ...]:
    """The ids of a sequence of whole videos.

    Raises:
        MalformedSource: they are of segments ('video[0]'), as the SDK names them when it has aligned a sequence.
    """
    if aligned := next((video for video in heading.videos if _ALIGNED.fullmatch(video)), None):
        problem = f"its ids are of aligned segments, such as '{aligned}': give the labels as they are published"
        raise MalformedSource(name, problem)
    return heading.videos


def column_order(heading: Heading, name: str) -> tuple[str, ...]:
    """The labels' names by column: as the metadata states them, or the published order where it states none.

    Raises:
        MalformedSource: it states other names.
    """
    stated = heading.metadata.get("dimension names")
    if stated is None:
        return COLUMNS
    if not isinstance(stated, list) or sorted(map(str, stated)) != sorted(COLUMNS):
        raise MalformedSource(name, f"its columns are {stated}, not {list(COLUMNS)}")
    return tuple(stated)


def read_pieces(raw: bytes, video: str) -> tuple[list[Piece], list[str]]:
    """The lines of a transcript, and a sentence for each that cannot be read.

    A line is `<video>___<number>___<start>___<end>___<text>`. The text may hold the separator too, and so may a
    video's id, which is therefore taken off as it is known.

    Example:
        >>> read_pieces(b"vid_A-x___4___31.25___36.9___So _____ this is text.", "vid_A-x")
        ([Piece(number=4, start_s=31.25, end_s=36.9, text='So _____ this is text.')], [])
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return [], [f"it is not UTF-8 ({error.reason} at byte {error.start})"]
    pieces, problems = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.removesuffix("\r")
        if not line.strip():
            continue
        prefix = video + _SEPARATOR
        parts = line.removeprefix(prefix).split(_SEPARATOR, 3)
        try:
            position, start_s, end_s = int(parts[0]), float(parts[1]), float(parts[2])
        except (IndexError, ValueError):
            position, start_s, end_s = 0, math.nan, math.nan
        if not line.startswith(prefix) or len(parts) < 4 or not math.isfinite(start_s + end_s):
            problems.append(f"line {number} is not {video}___number___start___end___text")
        else:
            pieces.append(Piece(position, start_s, end_s, parts[3]))
    return pieces, problems


def matching(pieces: Sequence[Piece], start_s: float, end_s: float, tolerance_s: float) -> list[Piece]:
    """The pieces of these times, each within the tolerance; a start before 0 counts as 0 on both sides."""
    within = tolerance_s + 1e-9
    return [
        piece
        for piece in pieces
        if abs(max(piece.start_s, 0.0) - max(start_s, 0.0)) <= within and abs(piece.end_s - end_s) <= within
    ]
