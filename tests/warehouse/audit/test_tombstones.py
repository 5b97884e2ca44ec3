"""What was withdrawn, known again by digests."""

from __future__ import annotations

from pathlib import Path

import pytest

from warehouse import Warehouse
from warehouse.audit.errors import UnfinishedPurge
from warehouse.audit.tombstones import (
    JOURNALS,
    Tombstone,
    concerned,
    hashed,
    hashed_all,
    purged_digests,
    refuse_unfinished,
    successors,
    taint_of,
    tombstones,
    unfinished,
    with_purged,
    withdrawn_recordings,
)
from warehouse.errors import UnreadableRef

ONE = Tombstone(
    corpora=hashed_all(["main"]), speakers=hashed_all(["main/Ana"]), utterances=hashed_all(["main-1"]),
    audio=hashed_all(["sound"]), recordings=hashed_all(["whole"]), shared=hashed_all(["part"]),
)  # fmt: skip
STAYS = {"utterance_id": "main-2", "corpus": "main", "speaker_id": "Ben", "audio_id": "other", "recording_id": "part"}


def test_a_tombstone_goes_through_a_file_and_its_id_is_that_of_what_it_says(lake: Warehouse) -> None:
    lake.set_ref(f"tombstones/{ONE.id}", ONE.as_json())
    assert tombstones(lake.root) == {ONE.id: ONE}
    assert ONE.id == Tombstone.from_json(ONE.as_json()).id != Tombstone().id


def test_a_tombstone_has_no_name_in_clear() -> None:
    assert not {"main", "main/Ana", "main-1", "sound"} & {one for ids in ONE.as_json().values() for one in ids}
    assert hashed_all(["", "x"]) == {hashed("x")}


@pytest.mark.parametrize(
    "change",
    [{"utterance_id": "main-1"}, {"audio_id": "sound"}, {"recording_id": "whole"}, {"speaker_id": "Ana"}],
)
def test_a_row_is_known_by_its_id_its_sound_its_file_or_its_speaker(change: dict[str, str]) -> None:
    assert ONE.covers(STAYS | change) and not ONE.covers(STAYS)


def test_the_speaker_of_another_corpus_is_another_speaker() -> None:
    assert not ONE.covers(STAYS | {"speaker_id": "Ana", "corpus": "other"})


def test_silence_is_nobodys_sound() -> None:
    silent = Tombstone(audio=hashed_all([""]))
    assert not silent.covers(STAYS | {"audio_id": ""})


def test_a_reading_is_concerned_by_its_corpus_or_a_raw_file() -> None:
    known = {"b": ONE, "a": Tombstone(recordings=hashed_all(["whole"]))}
    assert concerned(known, "main", []) == ("b",)
    assert concerned(known, "other", ["whole"]) == ("a", "b")
    assert concerned(known, "other", ["part"]) == ("b",) and concerned(known, "other", ["more"]) == ()
    assert withdrawn_recordings(known, ["whole", "part", "more"]) == {"whole"}
    assert withdrawn_recordings({}, ["whole"]) == frozenset()


def test_successors_follow_one_purge_after_the_other(lake: Warehouse) -> None:
    lake.set_ref("purged/1", {"digests": {"a": "b", "x": "y", "u": ""}})
    lake.set_ref("purged/2", {"digests": {"b": "c", "y": ""}})
    assert successors(lake.root) == {"a": "c", "b": "c", "x": "", "y": "", "u": ""}
    assert with_purged(lake.root, {"c": 3, "d": 4}) == {"a": 3, "b": 3, "c": 3, "d": 4}
    assert purged_digests(lake.root) == {"a", "b", "x", "y", "u"}


def test_a_damaged_tombstone_stops_and_is_not_taken_for_none(lake: Warehouse) -> None:
    for group in ("tombstones", "purged"):
        path = lake.root / "refs" / group / "1.json"
        path.parent.mkdir(parents=True)
        path.write_text("{")
    with pytest.raises(UnreadableRef):
        tombstones(lake.root)
    assert purged_digests(lake.root) == set()


def test_a_lake_whose_purge_is_not_done(lake: Warehouse) -> None:
    refuse_unfinished(lake.root)
    journal = lake.root / JOURNALS / "3f.json"
    journal.parent.mkdir()
    journal.write_text("{}")
    assert unfinished(lake.root) == ["3f"]
    with pytest.raises(
        UnfinishedPurge, match=r"^purge 3f of this lake is not done: `emolake purge --resume` completes"
    ):
        refuse_unfinished(lake.root)


def test_a_taint_in_words(lake: Warehouse, tmp_path: Path) -> None:
    lake.set_ref("tainted/k", {"purges": ["1", "2"], "step": "s", "why": "it learned from it", "retrain": "run `x`"})
    assert taint_of(lake.root, "k") == (
        "tainted by purge 1, 2: it learned from it. A purge cannot un-train a model: do not use it; run `x`"
    )
    assert taint_of(lake.root, "other") == "" == taint_of(tmp_path, "k")
