"""The strict check of MELD: lines, clips, and both against each other."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from features import audio
from features.check import Anomaly, Findings, counted
from features.releases import meld_flaws
from features.releases.meld_flaws import Known, flaws
from features.releases.meld_release import (
    CUT_AGAIN,
    DEPTH,
    EMOTIONS,
    FOLDERS,
    TABLES,
    Key,
    Line,
    Table,
    canonical,
    clip_name,
    clips_in,
    find_parts,
    read_table,
)
from features.releases.walk import misnamed_files
from warehouse.errors import UnreadableAudio

_SPLIT_COUNTS = {
    "train": {
        "rows": 9989, "dialogues": 1038, "speakers": 260, "clips": 9988, "neutral": 4710, "joy": 1743,
        "surprise": 1205, "anger": 1109, "sadness": 683, "disgust": 271, "fear": 268,
    },
    "dev": {
        "rows": 1109, "dialogues": 114, "speakers": 47, "clips": 1108, "neutral": 470, "joy": 163,
        "surprise": 150, "anger": 153, "sadness": 111, "disgust": 22, "fear": 40,
    },
    "test": {
        "rows": 2610, "dialogues": 280, "speakers": 100, "clips": 2610, "neutral": 1256, "joy": 402,
        "surprise": 281, "anger": 345, "sadness": 208, "disgust": 68, "fear": 50,
    },
}  # fmt: skip

PUBLISHED: Mapping[str, int] = {
    **{f"{what}, {split}": n for split, counts in _SPLIT_COUNTS.items() for what, n in counts.items()},
    "rows": 13_708,
    "speakers": 304,
    "clips": 13_706,
}
"""Counted on the published CSV files. The README counts 1,039 dialogues in train, but there is none of number 60.
'clips' are those that belong to a line and can be opened."""

ANOMALIES: Mapping[str, str] = {
    "missing_part": "a split's CSV or clip folder is not there",
    "malformed_table": "a CSV is not UTF-8 or has other columns",
    "malformed_row": "a row has another number of cells, or an id or time that is none",
    "duplicate_row": "a dialogue and utterance number stands twice in a split",
    "unknown_emotion": "an emotion that is none of the seven",
    "unknown_sentiment": "a sentiment that is none of the three",
    "broken_text": "a text or speaker holds control or replacement characters that no repair explains",
    "empty_interval": "a line ends no later than it starts",
    "missing_clip": "a line has no clip",
    "unreadable_clip": "a line's clip cannot be opened",
    "no_sound": "a line's clip opens, but nothing can be heard",
    "clip_without_line": "a clip that no line names: readers ignore it",
    "duration_mismatch": f"a clip differs from its line's times by more than {meld_flaws.MISMATCH_S} s",
    "long_clip": f"a clip is longer than {meld_flaws.LONG_S:.0f} s: minutes of film were cut as one utterance",
    "bad_sound": "users reported that the clip's sound is faulty",
    "out_of_step": "users reported that the clip does not hold its line's words",
    "misnamed_file": "a file or folder whose name is not UTF-8: what lies there is not ingested",
    "short_clip": f"clips shorter than {meld_flaws.SHORT_S} s, of which strided features may have no frame",
    "cut_again": "clips that are there twice, since their authors cut them again: the plain twins are wrong",
    "apple_double": "twins that an archive made on a Mac carries; ignored",
    "older_encoding": "a CSV of the generation whose typographic signs are control characters: read as the newer",
}

_BROKEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd]")
_SILENT = ("it has no audio stream", "it holds no sound")

_KNOWN: Mapping[str, Known] = {
    "missing_clip": meld_flaws.ABSENT,
    "unreadable_clip": meld_flaws.ABSENT,
    "clip_without_line": meld_flaws.WITHOUT_LINE,
    "empty_interval": meld_flaws.EMPTY_INTERVAL,
    "long_clip": meld_flaws.LONG,
    "duration_mismatch": meld_flaws.MISMATCHED,
}
"""What every published copy has; the two that users reported are known by definition."""


def check(root: Path, expected: Mapping[str, int]) -> Findings:
    """Counts and anomalies of the tree under `root`.

    A split whose clip folder is missing is checked as far as its CSV goes: one anomaly says that the folder is not
    there, not one per line.

    Raises:
        MissingFolder: `root` itself is not there.
    """
    parts = find_parts(root)
    found: Counter[str] = Counter()
    anomalies: list[Anomaly] = []
    speakers: set[str] = set()
    for split, folder in FOLDERS.items():
        for name in (TABLES[split], folder):
            if name not in parts:
                problem = f"'{name}' is not there (looked {DEPTH} folders deep)"
                anomalies.append(Anomaly("missing_part", name, problem))
        if TABLES[split] not in parts:
            continue  # without lines, nothing can be said of the clips
        path = parts[TABLES[split]]
        table = read_table(path.relative_to(root).as_posix(), path.read_bytes())
        anomalies += table.faults
        anomalies += [anomaly for line in table.lines for anomaly in _line_anomalies(split, line)]
        if n := sum(line.is_older for line in table.lines):
            problem = f"{n} of its lines {'are' if n > 1 else 'is'} repaired"
            anomalies.append(Anomaly("older_encoding", TABLES[split], problem, known=True))
        own = {canonical(line.speaker) for line in table.lines}
        speakers |= own
        found += _line_counts(split, table.lines, own)
        if folder in parts and table.is_one:
            told, seen = _clips(split, table, clips_in(parts[folder]))
            anomalies += [*told, *_twins(split, parts[folder])]
            found += seen
    found["speakers"] = len(speakers)
    anomalies += misnamed_files(root)
    return Findings(counted(found, expected), anomalies)


def _line_counts(split: str, lines: Sequence[Line], speakers: set[str]) -> Counter[str]:
    emotions = Counter(line.emotion for line in lines)
    counts = {
        "rows": len(lines),
        "dialogues": len({line.dialogue for line in lines}),
        "speakers": len(speakers),
        **{emotion: emotions[emotion] for emotion in sorted(EMOTIONS)},
    }
    return Counter({"rows": len(lines), **{f"{what}, {split}": n for what, n in counts.items()}})


def _line_anomalies(split: str, line: Line) -> Iterator[Anomaly]:
    if line.duration_s <= 0:
        problem = f"its line runs from {line.start_s} to {line.end_s} s of the episode"
        yield _anomaly("empty_interval", split, line.key, problem)
    for what, text in (("text", line.text), ("speaker", line.speaker)):
        if broken := _BROKEN.search(canonical(text)):
            yield _anomaly("broken_text", split, line.key, f"its {what} holds the character U+{ord(broken[0]):04X}")


def _clips(split: str, table: Table, clips: Mapping[Key, Path]) -> tuple[list[Anomaly], Counter[str]]:
    anomalies = []
    short = []
    found: Counter[str] = Counter()
    for line in table.lines:
        if line.key not in clips:
            anomalies.append(_anomaly("missing_clip", split, line.key, f"no such clip in {FOLDERS[split]}"))
            continue
        path = clips[line.key]
        try:
            stream = audio.probe(path)
        except UnreadableAudio as error:
            name = "no_sound" if error.why in _SILENT else "unreadable_clip"
            anomalies.append(_anomaly(name, split, line.key, str(UnreadableAudio(path.name, error.why))))
            continue
        layout = {2: "stereo", 6: "5.1"}.get(stream.n_channels, f"{stream.n_channels} channels")
        found.update(["clips", f"clips, {split}", f"clips, {layout}"])
        if path.name.startswith(CUT_AGAIN):
            found[f"clips cut again, {split}"] += 1
        for name in flaws(split, line.key, line.duration_s, stream.duration_s):
            if name == "short_clip":
                short.append(clip_name(line.key))
            elif name in _PROBLEMS:
                problem = _PROBLEMS[name].format(line=line, clip_s=stream.duration_s)
                anomalies.append(_anomaly(name, split, line.key, problem))
    if short:
        problem = f"{_clips_are(len(short))} shorter than {meld_flaws.SHORT_S} s (first: {short[0]})"
        anomalies.append(Anomaly("short_clip", FOLDERS[split], problem, known=True))
    for key in sorted(clips.keys() - {line.key for line in table.lines} - table.faulty):
        anomalies.append(_anomaly("clip_without_line", split, key, f"no line of {TABLES[split]} names it"))
    return anomalies, found


def _twins(split: str, folder: Path) -> Iterator[Anomaly]:
    """Of the files in a clip folder, those beside another of the same clip; each kind is told once."""
    names = {path.name for path in folder.iterdir()}
    if n := sum(name.startswith("._") for name in names):
        problem = f"{n} files named ._* are ignored" if n > 1 else "1 file named ._* is ignored"
        yield Anomaly("apple_double", folder.name, problem, known=True)
    if n := sum(name.startswith(CUT_AGAIN) and name.removeprefix(CUT_AGAIN) in names for name in names):
        again = "ones that were cut again are" if n > 1 else "one that was cut again is"
        yield Anomaly("cut_again", folder.name, f"{_clips_are(n)} there twice: the {again} read", split == "test")


def _clips_are(n: int) -> str:
    return f"{n} clips are" if n > 1 else "1 clip is"


_PROBLEMS = {
    "duration_mismatch": "its clip lasts {clip_s:.3f} s, its line {line.duration_s} s",
    "long_clip": "its clip lasts {clip_s:.3f} s",
    "bad_sound": "users reported faulty sound",
    "out_of_step": "users reported that it holds other words",
}
"""Of the flaws of a clip, those that are told of each: short clips are many, and told together."""


def _anomaly(name: str, split: str, key: Key, problem: str) -> Anomaly:
    known = name in ("bad_sound", "out_of_step") or (split, *key) in _KNOWN.get(name, ())
    return Anomaly(name, f"{split}, {clip_name(key)}", problem, known)
