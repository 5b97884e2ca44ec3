"""What can be wrong with EmotionLines (Friends), planted in a copy of its sandbox tree."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from features.sandbox.emotionlines import SIZES, path_of
from features.sandbox.traps import misnamed_file

_TRAIN = path_of("train")


def _missing_part(root: Path) -> None:
    (root / path_of("dev")).unlink()


def _joint_file(root: Path) -> None:
    whole = [dialogue for split in SIZES for dialogue in json.loads((root / path_of(split)).read_bytes())]
    _write(root / "Friends/friends.json", whole)


def _malformed_file(root: Path) -> None:
    raw = (root / _TRAIN).read_bytes()
    (root / _TRAIN).write_bytes(raw[: len(raw) // 2])


def _empty_dialogue(root: Path) -> None:
    dialogues = json.loads((root / _TRAIN).read_bytes())
    _write(root / _TRAIN, [*dialogues, []])


def _changed(**cells: Any) -> Callable[[Path], None]:
    """Plants other cells in the first utterance of train; '{}' in a text is what was there."""

    def plant(root: Path) -> None:
        dialogues = json.loads((root / _TRAIN).read_bytes())
        first = dialogues[0][0]
        for name, cell in cells.items():
            first[name] = cell.replace("{}", first[name]) if isinstance(cell, str) else cell
        _write(root / _TRAIN, dialogues)

    return plant


def _write(path: Path, dialogues: list[Any]) -> None:
    path.write_text(json.dumps(dialogues, ensure_ascii=False, indent=1), encoding="utf-8")


TRAPS: Mapping[str, Callable[[Path], None]] = {
    "missing_part": _missing_part,
    "joint_file": _joint_file,
    "misnamed_file": misnamed_file,
    "malformed_file": _malformed_file,
    "malformed_row": _changed(speaker=None),
    "empty_dialogue": _empty_dialogue,
    "unknown_emotion": _changed(emotion="happy"),
    "malformed_votes": _changed(annotation="50000"),
    "votes_sum": _changed(annotation="6000000"),
    "majority_differs": _changed(emotion="fear", annotation="5000000"),
    "mojibake": _changed(utterance="{} That\x92s all\x85"),
    "broken_text": _changed(utterance="{}\x81"),
}
"""Anomaly -> what plants it, and nothing else, in a copy of the sandbox tree."""
