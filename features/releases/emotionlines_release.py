"""EmotionLines (Friends) as it lies on disk: one JSON file of dialogues per split."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.releases.walk import walk
from warehouse.errors import MissingFolder

FILES = {split: f"friends.{split}.json" for split in ("train", "dev", "test")}
JOINT = "friends.json"
"""EmotionX-2019's file: the three splits in one."""

CLASSES = ("neutral", "joy", "sadness", "fear", "anger", "surprise", "disgust")
"""In the order of the votes."""

UNDECIDED = "non-neutral"
N_RATERS = 5
DEPTH = 3

_CELLS = ("speaker", "utterance", "emotion", "annotation")
_HALF = re.compile("[\ud800-\udfff]")
"""What an escape of JSON may say, and no UTF-8 can."""

_VOTES = re.compile(r"[0-9]{7}")


@dataclass(frozen=True)
class Line:
    """One utterance; dialogues and their lines are numbered from 0, text and speaker verbatim."""

    dialogue: int
    number: int
    speaker: str
    text: str
    emotion: str
    votes: tuple[int, ...]

    @property
    def name(self) -> str:
        return line_name(self.dialogue, self.number)

    @property
    def majority(self) -> str:
        """The class of three votes or more."""
        most = max(self.votes)
        return CLASSES[self.votes.index(most)] if most > N_RATERS // 2 else UNDECIDED


@dataclass(frozen=True)
class Fault:
    """Why something cannot be read: the name of an anomaly, where ('' for the whole file), and the sentence."""

    name: str
    where: str
    problem: str


@dataclass(frozen=True)
class Table:
    """What a file holds: the lines that can be read, and what is wrong with the rest."""

    lines: tuple[Line, ...] = ()
    faults: tuple[Fault, ...] = ()
    n_dialogues: int = 0


def line_name(dialogue: int, number: int) -> str:
    """The name of an utterance in its split: 'dia3_utt6'."""
    return f"dia{dialogue}_utt{number}"


def find_files(root: Path) -> dict[str, Path]:
    """Name -> file, of the splits and the joint file: the nearest, then the first by name. What is not there is left
    out.

    Raises:
        MissingFolder: `root` itself is not there.
    """
    if not root.is_dir():
        raise MissingFolder("EmotionLines", root, "name the folder that its archive unpacks to")
    found: dict[str, Path] = {}
    for path in walk(root, DEPTH):
        if path.name in (*FILES.values(), JOINT) and path.is_file():
            found.setdefault(path.name, path)
    return found


def read_table(raw: bytes) -> Table:
    """Reads a file to its end, whatever is wrong with it."""
    try:
        dialogues = json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return _unreadable(f"it is not UTF-8 ({error.reason} at byte {error.start})")
    except (ValueError, RecursionError) as error:
        return _unreadable(f"it is no JSON ({error})")
    if not isinstance(dialogues, list) or not all(isinstance(lines, list) for lines in dialogues):
        return _unreadable("it is no list of dialogues, each a list of utterances")
    found = list(_lines(dialogues))
    lines = tuple(one for one in found if isinstance(one, Line))
    return Table(lines, tuple(one for one in found if isinstance(one, Fault)), len(dialogues))


def _unreadable(problem: str) -> Table:
    return Table(faults=(Fault("malformed_file", "", problem),))


def _lines(dialogues: list[list[Any]]) -> Iterator[Line | Fault]:
    for dialogue, lines in enumerate(dialogues):
        if not lines:
            yield Fault("empty_dialogue", f"dia{dialogue}", "it has no utterance")
        for number, cells in enumerate(lines):
            yield _line(dialogue, number, cells)


def _line(dialogue: int, number: int, cells: Any) -> Line | Fault:
    name = line_name(dialogue, number)
    if not isinstance(cells, Mapping) or not all(isinstance(cells.get(cell), str) for cell in _CELLS):
        return Fault("malformed_row", name, f"it has not the texts {', '.join(_CELLS)}")
    if broken := next((cell for cell in _CELLS if _HALF.search(cells[cell])), None):
        return Fault("malformed_row", name, f"its {broken} holds half of a character")
    if cells["emotion"] not in (*CLASSES, UNDECIDED):
        return Fault("unknown_emotion", name, f"its emotion is the unknown '{cells['emotion']}'")
    if not _VOTES.fullmatch(cells["annotation"]):
        problem = f"its votes '{cells['annotation']}' are not one digit for each of {len(CLASSES)} classes"
        return Fault("malformed_votes", name, problem)
    votes = tuple(map(int, cells["annotation"]))
    return Line(dialogue, number, cells["speaker"], cells["utterance"], cells["emotion"], votes)
