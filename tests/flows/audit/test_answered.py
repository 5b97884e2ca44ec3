"""Answers that a lake gave are given again, and never to another question."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from flows.audit import answered
from flows.audit.answered import remembering
from flows.audit.contamination import contamination
from tests.flows.audit.lent import lent_lake
from warehouse import Warehouse


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


def told(lake: Warehouse, **more: object) -> dict[str, object]:
    with remembering(lake, "asked") as known:
        before = dict(known)
        known |= more
    return before


def test_answers_are_remembered_also_by_who_is_interrupted(lake: Warehouse) -> None:
    assert told(lake, one=[1, [2]]) == {} and told(lake, one=[1, [2]], other=None) == {"one": [1, [2]]}
    with pytest.raises(KeyboardInterrupt), remembering(lake, "asked") as known:
        known["third"] = 3
        told(lake, meanwhile=4)
        raise KeyboardInterrupt
    assert told(lake) == {"one": [1, [2]], "other": None, "meanwhile": 4, "third": 3}
    with remembering(lake, "else") as known:
        assert known == {}
    assert [path.name for path in (lake.root / ".cache").iterdir()] == ["asked"], "of nothing new no file is written"


@pytest.mark.parametrize("harm", [b"", b"not ours", b"cut"])
def test_damage_remembers_nothing(lake: Warehouse, harm: bytes) -> None:
    told(lake, one=1)
    path = lake.root / ".cache" / "asked"
    path.write_bytes(path.read_bytes()[:-1] if harm == b"cut" else harm)
    assert told(lake, other=2) == {} and told(lake) == {"other": 2}


def test_only_the_newest_are_kept(lake: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answered, "_MOST", 2)
    for name in ("b", "c", "a"):
        told(lake, **{name: 1})
    assert list(told(lake)) == ["c", "a"]


def test_a_lake_that_cannot_be_written_to_can_be_asked(lake: Warehouse) -> None:
    (lake.root / ".cache").write_text("no folder")
    assert told(lake, one=1) == {} and told(lake) == {}


def test_a_model_is_asked_of_twice_and_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte for byte the same; nothing of an utterance is remembered, neither its id nor its words."""
    lent = lent_lake(tmp_path / "lake")
    first = contamination(lent.lake, "mine:best")
    kept = (lent.lake.root / ".cache" / "overlaps-met").read_bytes()
    numbers = json.loads(kept.partition(b"\n")[2])
    assert len(numbers) == 4 and all(len(key) == 32 and len(counts) == 8 for key, (_, counts) in numbers.items())
    monkeypatch.setattr("flows.audit.counted.duckdb", None)
    again = contamination(Warehouse(lent.lake.root), "mine:best")
    assert json.dumps(again.as_json()) == json.dumps(first.as_json())
    os.unlink(lent.lake.root / ".cache" / "overlaps-met")
    with pytest.raises(AttributeError):
        contamination(lent.lake, "mine:best")
