from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from models.checkpoint import load, read_card
from models.orders import build_student
from tests.models.tiny_lake import CLASSES, DIM, FIELDS, TinyLake, fitted, order
from warehouse.errors import VersionDiffers


def test_the_card_says_what_was_fitted(lake: TinyLake) -> None:
    card = read_card(fitted(lake, order(lake, "mced")).folder)
    assert card.student == build_student("students.mced", 1, FIELDS["mced"])
    assert (card.step, card.classes, card.fresh) == ("students.mced", CLASSES, None)
    assert card.shapes["speech"][-1] == DIM


def test_a_checkpoint_of_another_version(lake: TinyLake, tmp_path: Path) -> None:
    shutil.copytree(fitted(lake, order(lake, "mced")).folder, tmp_path / "old")
    card = tmp_path / "old" / "student.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"version": 0}))
    with pytest.raises(VersionDiffers, match=r"version 0 of 'students.mced' is asked for, but version 1 is installed"):
        load(tmp_path / "old")
