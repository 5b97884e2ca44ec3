"""A checkpoint: the network's own files, and `student.json`, the card that says what it is and how to build it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from models.orders import build_student, plain_fields
from models.plugin import Listener, Student, encoder_slots
from warehouse.hashing import canonical_json

if TYPE_CHECKING:
    from models.network import Network

CARD = "student.json"
ENCODERS = "encoders"


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


def encoder_folder(folder: Path, slot: str) -> Path:
    """Where a checkpoint describes the network of one of its slots."""
    return folder / ENCODERS / slot


def build_network(
    student: Student, shapes: Mapping[str, tuple[int, ...]], classes: Sequence[str], init: Path | None,
    encoders: Mapping[str, Path],
) -> Network:  # fmt: skip
    """The network of a student; one without slots is not asked about encoders."""
    if not encoder_slots(student):
        return student.module(shapes, classes, init)
    return cast(Listener, student).module(shapes, classes, init, encoders)


def load(folder: Path) -> tuple[Card, Network]:
    """The card and the network of a checkpoint, ready to predict on the CPU.

    Raises:
        VersionDiffers: another version of the student fitted it.
    """
    card = read_card(folder)
    encoders = {slot: encoder_folder(folder, slot) for slot in encoder_slots(card.student)}
    network = build_network(card.student, card.shapes, card.classes, None, encoders)
    network.load(folder)
    network.eval()
    return card, network
