"""MELD as it lies on disk: the lines of its CSV files, and the folders of its clips."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.check import Anomaly
from features.releases.walk import walk
from warehouse.errors import MissingFolder
from warehouse.schema import canonical_text

FOLDERS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
"""The clip folder of each split; archives unpack it at one of several depths, so it is found by name."""

TABLES = {split: f"{split}_sent_emo.csv" for split in FOLDERS}
DEPTH = 3

COLUMNS = (
    "Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID",
    "Season", "Episode", "StartTime", "EndTime",
)  # fmt: skip
_INDEX = ("", "Unnamed: 0")
"""What pandas calls the index that it writes before the columns, and that index when it is written again."""

EMOTIONS = frozenset({"neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger"})
SENTIMENTS = frozenset({"neutral", "positive", "negative"})

Key = tuple[int, int]
"""Dialogue and utterance: what names a clip and a line inside one split."""

CUT_AGAIN = "final_videos_test"
"""How the names of clips begin that their authors cut a second time; all are of test."""

_CLIP = re.compile(rf"(?:{CUT_AGAIN})?dia(?P<dialogue>\d+)_utt(?P<utterance>\d+)\.mp4")
_TIME = re.compile(r"\d{1,2}:[0-5]\d:[0-5]\d,\d{3}")
_MOJIBAKE = re.compile("[\x80-\x9f]")


@dataclass(frozen=True)
class Line:
    """One row of a CSV; `text` and `speaker` verbatim, times in seconds of the episode."""

    dialogue: int
    utterance: int
    text: str
    speaker: str
    emotion: str
    sentiment: str
    season: str
    episode: str
    start_s: float
    end_s: float

    @property
    def key(self) -> Key:
        return self.dialogue, self.utterance

    @property
    def duration_s(self) -> float:
        return round(self.end_s - self.start_s, 3)

    @property
    def is_older(self) -> bool:
        """It is of the CSV generation whose typographic signs are control characters, and holds some."""
        return any(repaired(cell) != cell for cell in (self.text, self.speaker))


def clip_name(key: Key) -> str:
    """The name MELD gives an utterance: 'dia3_utt6'."""
    return f"dia{key[0]}_utt{key[1]}"


def canonical(text: str) -> str:
    """The same text from both generations of the CSV: repaired, white space collapsed.

    Example:
        >>> canonical("I\\x92m  not\\xa0sure\\x85") == canonical("I’m not sure…")
        True
    """
    return canonical_text(repaired(text))


def repaired(text: str) -> str:
    """Undoes Windows-1252 bytes that were read as Latin-1 control characters; other text stays, and so do the five
    bytes that Windows-1252 leaves undefined.

    Example:
        >>> repaired("I\\x92m not sure\\x85")
        'I’m not sure…'
    """
    return _MOJIBAKE.sub(lambda match: _REPAIR.get(match[0], match[0]), text)


_REPAIR = {chr(byte): char for byte in range(0x80, 0xA0) if (char := bytes([byte]).decode("cp1252", "ignore"))}


def seconds(time: str) -> float:
    """Seconds of a CSV time that has its form, hours with one digit or two.

    Example:
        >>> seconds("0:12:32,632") == seconds("00:12:32,632") == 752.632
        True
    """
    hours, minutes, whole, thousandths = map(int, re.split("[:,]", time))
    return (hours * 3_600_000 + minutes * 60_000 + whole * 1_000 + thousandths) / 1_000


@dataclass(frozen=True)
class Table:
    """What a CSV holds: the lines that can be read, what is wrong with the others, and which those are.

    `is_one` is False where nothing of the file can be read.
    """

    lines: tuple[Line, ...] = ()
    faults: tuple[Anomaly, ...] = ()
    faulty: frozenset[Key] = frozenset()
    is_one: bool = True


def read_table(path: str, raw: bytes) -> Table:
    """Reads a CSV to its end, whatever is wrong with it. A byte order mark and pandas' unnamed index are accepted.

    Args:
        path: as anomalies should call the file.
    """

    def unreadable(problem: str) -> Table:
        return Table(faults=(Anomaly("malformed_table", path, problem),), is_one=False)

    try:
        reader = csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline=""))
    except UnicodeDecodeError as error:
        return unreadable(f"it is not UTF-8 ({error.reason} at byte {error.start})")
    rows = []
    try:
        header = tuple(reader.fieldnames or ())
        for row in reader:
            rows.append((f"line {reader.line_num}", row))
    except csv.Error as error:
        return unreadable(f"it cannot be read past line {reader.line_num} ({error}): a quote may be open")
    if header not in (COLUMNS, *((index, *COLUMNS) for index in _INDEX)):
        return unreadable(f"its columns are {list(header)}, not {list(COLUMNS)}")
    lines: dict[Key, Line] = {}
    faults, faulty = [], set()
    for where, row in rows:
        name, problem = _fault(row, len(header), where)
        try:
            key = int(row["Dialogue_ID"]), int(row["Utterance_ID"])
            if not name and key in lines:
                name, problem = "duplicate_row", f"{where} is a second line for {clip_name(key)}"
            if name:
                faulty.add(key)
            else:
                lines[key] = _line(row, key)
        except (TypeError, ValueError) as error:  # TypeError: the row breaks off before its ids
            if not name:
                name, problem = "malformed_row", f"{where}: {error}"
        if name:
            faults.append(Anomaly(name, path, problem))
    return Table(tuple(lines.values()), tuple(faults), frozenset(faulty))


def _fault(row: Mapping[str | Any, Any], n_cells: int, where: str) -> tuple[str, str]:
    """The anomaly that a row is, with the sentence that says why; empty for a good one."""
    if None in row or None in row.values():
        return "malformed_row", f"{where} has not {n_cells} cells"
    if row["Emotion"] not in EMOTIONS:
        return "unknown_emotion", f"{where} has the unknown emotion '{row['Emotion']}'"
    if row["Sentiment"] not in SENTIMENTS:
        return "unknown_sentiment", f"{where} has the unknown sentiment '{row['Sentiment']}'"
    for name in COLUMNS:
        if not canonical(row[name]):  # not strip(): it would take the older generation's ellipsis, U+0085, for a blank
            return "malformed_row", f"{where} has an empty '{name}'"
    for time in (row["StartTime"], row["EndTime"]):
        if not _TIME.fullmatch(time):
            return "malformed_row", f"{where}: '{time}' is no H:MM:SS,mmm time"
    return "", ""


def _line(row: Mapping[str, str], key: Key) -> Line:
    return Line(
        dialogue=key[0],
        utterance=key[1],
        text=row["Utterance"],
        speaker=row["Speaker"],
        emotion=row["Emotion"],
        sentiment=row["Sentiment"],
        season=row["Season"],
        episode=row["Episode"],
        start_s=seconds(row["StartTime"]),
        end_s=seconds(row["EndTime"]),
    )


def find_parts(root: Path) -> dict[str, Path]:
    """File or folder name of a split's CSV and clip folder -> where it is: the nearest, then the first by name.

    Raises:
        MissingFolder: `root` itself is not there.
    """
    if not root.is_dir():
        raise MissingFolder("MELD", root, "name the folder that MELD.Raw unpacks to")
    wanted = {*FOLDERS.values(), *TABLES.values()}
    found: dict[str, Path] = {}
    for path in walk(root, DEPTH, closed=FOLDERS.values()):
        if path.name in wanted:
            found.setdefault(path.name, path)
    return found


def clips_in(folder: Path) -> dict[Key, Path]:
    """Each clip of a folder, the one cut again where there are two."""
    clips: dict[Key, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda path: path.name):  # 'dia…' sorts before 'final_videos…'
        if key := clip_key(path.name):
            clips[key] = path
    return clips


def clip_key(path: str) -> Key | None:
    """Dialogue and utterance of a clip's path, None for any other file."""
    match = _CLIP.fullmatch(path.rpartition("/")[2])
    return (int(match["dialogue"]), int(match["utterance"])) if match else None
