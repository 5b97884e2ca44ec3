"""MELD, raw release: one unit per official split, one utterance per line of its CSV."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from features.plugin import RawFile, Rows
from features.rows import duration_of, failure_row, label_row, utterance_row
from warehouse.errors import MalformedSource, MissingFolder, Untreatable
from warehouse.schema import canonical_text, make_id

FOLDERS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
"""The clip folder of each split; archives unpack it at one of several depths, so it is found by name."""

COLUMNS = (
    "Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID",
    "Season", "Episode", "StartTime", "EndTime",
)  # fmt: skip
EMOTIONS = frozenset({"neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger"})
SENTIMENTS = frozenset({"neutral", "positive", "negative"})

_CLIP = re.compile(r"(?:final_videos_test)?dia(?P<dialogue>\d+)_utt(?P<utterance>\d+)\.mp4")
_TIME = re.compile(r"(\d{1,2}):(\d{2}):(\d{2}),(\d{3})")
_MOJIBAKE = re.compile("[\x80-\x9f]")
_DEPTH = 3
_STEP = "corpora.meld"


@dataclass(frozen=True)
class Meld:
    """Reads the folder that MELD.Raw unpacks to.

    Where a test clip exists twice, the one named `final_videos_test…` is read: its authors cut it again because
    the plain one was wrong. Clips without a line and AppleDouble files are ignored; a line without a readable clip
    is a failure. The older CSV generation, whose typographic signs are Windows-1252 bytes read as control
    characters, gives the same text as the newer.

    Args:
        channel: 'mix', or an index such as '2', the centre of the 5.1 clips that carries most speech.
    """

    version: ClassVar[int] = 1
    channel: str = "mix"

    def units(self, root: Path) -> Mapping[str, Sequence[str]]:
        tables = {f"{split}_sent_emo.csv": split for split in FOLDERS}
        folders = {name: split for split, name in FOLDERS.items()}
        found: dict[str, Path] = {}
        for path in _walk(root, _DEPTH):
            if path.name in tables or path.name in folders:
                found.setdefault(path.name, path)
        units = {}
        for split, folder in FOLDERS.items():
            for name in (f"{split}_sent_emo.csv", folder):
                if name not in found:
                    todo = f"unpack MELD.Raw and its archives there (looked {_DEPTH} folders deep)"
                    raise MissingFolder(f"'{name}' of MELD", root / name, todo)
            table = found[f"{split}_sent_emo.csv"]
            clips = sorted(_clips(found[folder]).values())
            units[split] = [path.relative_to(root).as_posix() for path in (table, *clips)]
        return units

    def read(self, root: Path, unit: str, files: Mapping[str, RawFile], corpus: str) -> Rows:
        rows = Rows()
        table = next(path for path in files if path.endswith(".csv"))
        clips = {key: path for path in files if (key := _key(path))}
        lines = _read_table(table, (root / table).read_bytes())
        turns = _turns(lines)
        for (dialogue, number), line in lines.items():
            utterance_id = make_id(corpus, unit, f"dia{dialogue}_utt{number}")
            path = clips.get((dialogue, number))
            if path is None:
                reason = f"there is no clip dia{dialogue}_utt{number}.mp4 in {FOLDERS[unit]}"
                rows.failures.append(failure_row(_STEP, utterance_id, reason))
                continue
            try:
                duration_s = duration_of(root, path)
            except Untreatable as error:
                rows.failures.append(failure_row(_STEP, utterance_id, str(error)))
                continue
            rows.utterances.append(
                utterance_row(
                    utterance_id=utterance_id,
                    corpus=corpus,
                    unit=unit,
                    recording=files[path],
                    start_s=0.0,
                    end_s=duration_s,
                    channel=self.channel,
                    verbatim=line["Utterance"],
                    text=repaired(line["Utterance"]),
                    speaker_id=canonical_text(repaired(line["Speaker"])),
                    dialogue_id=f"{unit}_dia{dialogue}",
                    turn=turns[dialogue, number],
                    split=unit,
                    language="en",
                    attributes={
                        "season": line["Season"],
                        "episode": line["Episode"],
                        "episode_start_s": f"{seconds(line['StartTime']):.3f}",
                        "episode_end_s": f"{seconds(line['EndTime']):.3f}",
                    },
                )
            )
            rows.labels.append(label_row(utterance_id, "emotion", "summary", line["Emotion"]))
            rows.labels.append(label_row(utterance_id, "sentiment", "summary", line["Sentiment"]))
        return rows


def repaired(text: str) -> str:
    """Undoes Windows-1252 bytes that were read as Latin-1 control characters; other text stays.

    Example:
        >>> repaired("I\\x92m not sure\\x85")
        'I’m not sure…'
    """
    return _MOJIBAKE.sub(lambda match: match[0].encode("latin-1").decode("cp1252", "ignore"), text)


def seconds(time: str) -> float:
    """Seconds of a CSV time, hours with one digit or two.

    Raises:
        ValueError: another form.

    Example:
        >>> seconds("0:12:32,632") == seconds("00:12:32,632") == 752.632
        True
    """
    match = _TIME.fullmatch(time)
    if match is None:
        raise ValueError(f"'{time}' is no H:MM:SS,mmm time")
    hours, minutes, whole, thousandths = map(int, match.groups())
    return (hours * 3_600_000 + minutes * 60_000 + whole * 1_000 + thousandths) / 1_000


def _walk(root: Path, depth: int) -> Iterator[Path]:
    """What lies at most `depth` folders down, nearest first, in order of name; clip folders are not entered."""
    if not root.is_dir():
        raise MissingFolder("MELD", root, "name the folder that MELD.Raw unpacks to")
    level = [root]
    for _ in range(depth):
        below = []
        for folder in level:
            for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
                if not entry.name.startswith("._"):
                    yield folder / entry.name
                    if entry.is_dir() and entry.name not in FOLDERS.values():
                        below.append(folder / entry.name)
        level = below


def _clips(folder: Path) -> dict[tuple[int, int], Path]:
    """(dialogue, utterance) -> its clip, the one cut again where there are two."""
    clips: dict[tuple[int, int], Path] = {}
    for path in sorted(folder.iterdir(), key=lambda path: path.name):  # 'dia…' sorts before 'final_videos…'
        if key := _key(path.name):
            clips[key] = path
    return clips


def _key(path: str) -> tuple[int, int] | None:
    match = _CLIP.fullmatch(path.rpartition("/")[2])
    return (int(match["dialogue"]), int(match["utterance"])) if match else None


def _read_table(path: str, raw: bytes) -> dict[tuple[int, int], dict[str, str]]:
    """(dialogue, utterance) -> line of the CSV, in the file's order.

    Raises:
        MalformedSource: not UTF-8, other columns, an unknown emotion or sentiment, a malformed number or time, a
            second line for the same utterance.
    """
    try:
        reader = csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline=""))
    except UnicodeDecodeError as error:
        raise MalformedSource(path, f"it is not UTF-8 ({error.reason} at byte {error.start})") from error
    header = tuple(reader.fieldnames or ())
    if header not in (COLUMNS, ("", *COLUMNS)):  # some copies were saved with pandas' unnamed index
        raise MalformedSource(path, f"its columns are {list(header)}, not {list(COLUMNS)}")
    lines: dict[tuple[int, int], dict[str, str]] = {}
    for line in reader:
        where = f"line {reader.line_num}"
        if None in line or None in line.values():
            raise MalformedSource(path, f"{where} has not {len(header)} cells")
        if line["Emotion"] not in EMOTIONS:
            raise MalformedSource(path, f"{where} has the unknown emotion '{line['Emotion']}'")
        if line["Sentiment"] not in SENTIMENTS:
            raise MalformedSource(path, f"{where} has the unknown sentiment '{line['Sentiment']}'")
        try:
            key = int(line["Dialogue_ID"]), int(line["Utterance_ID"])
            seconds(line["StartTime"]), seconds(line["EndTime"])
        except ValueError as error:
            raise MalformedSource(path, f"{where}: {error}") from error
        if key in lines:
            raise MalformedSource(path, f"{where} is a second line for dia{key[0]}_utt{key[1]}")
        lines[key] = line
    return lines


def _turns(lines: Mapping[tuple[int, int], Mapping[str, str]]) -> dict[tuple[int, int], int]:
    """Each utterance's rank in its dialogue; Utterance_ID has gaps."""
    turns: dict[tuple[int, int], int] = {}
    n_before: dict[int, int] = {}
    for dialogue, number in sorted(lines):
        turns[dialogue, number] = n_before.get(dialogue, 0)
        n_before[dialogue] = turns[dialogue, number] + 1
    return turns
