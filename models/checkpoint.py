"""A checkpoint: the network's own files, and `student.json`, the card that says what it is and how to build it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models.orders import build_student, plain_fields
from models.plugin import Student
from warehouse.hashing import canonical_json

if TYPE_CHECKING:
    from models.network import Network

CARD = "student.json"


@dataclass(frozen=True)
class Card:
    """What a checkpoint is.

    `shapes[role]` is the shape of one utterance's array of those it was fitted on, () for text. `fresh` names the
    weights that the initial checkpoint did not give, None where there was none.
    """

    step: str
    student: Student
    classes: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]
    fresh: tuple[str, ...] | None = None


def save(network: Network, step: str, student: Student, classes: Sequence[str], shapes: Mapping[str, tuple[int, ...]],
         folder: Path) -> None:  # fmt: skip
    """Writes a checkpoint into a folder."""
    network.save(folder)
    card = {
        "step": step,
        "version": student.version,
        "fields": plain_fields(student),
        "classes": classes,
        "shapes": shapes,
        "fresh": network.fresh,
    }
    (folder / CARD).write_bytes(canonical_json(card))


def read_card(folder: Path) -> Card:
    """Reads the card of a checkpoint.

    Raises:
        VersionDiffers: another version of the student fitted it.
    """
    card = json.loads((folder / CARD).read_bytes())
    student = build_student(card["step"], card["version"], card["fields"])
    shapes = {role: tuple(shape) for role, shape in card["shapes"].items()}
    fresh = None if card["fresh"] is None else tuple(card["fresh"])
    return Card(card["step"], student, tuple(card["classes"]), shapes, fresh)


def load(folder: Path) -> tuple[Card, Network]:
    """The card and the network of a checkpoint, ready to predict on the CPU.

    Raises:
        VersionDiffers: another version of the student fitted it.
    """
    card = read_card(folder)
    network = card.student.module(card.shapes, card.classes, None)
    network.load(folder)
    network.eval()
    return card, network
