"""What a merged artifact stands for, and what is read of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.warehouse.audit.withdrawn_lake import OWN
from warehouse import Artifact, Request
from warehouse.merged import (
    PIECES,
    STEP,
    Pieces,
    entries,
    held_before,
    holding,
    is_piece,
    live,
    own_ids,
    pieces,
    superseded,
    superseding,
    with_pieces,
)

PLUGIN = {"step": "extractors.made", "version": 3, "fields": {}}


def small(number: int) -> Artifact:
    request = Request("features", "extractors.made", 3, {"plugin": PLUGIN, "ids": str(number)}, {"utterances": (OWN,)})
    environment = {"python": "3", "work_s": float(number)}
    return Artifact(request, {}, f"digest {number}", environment, f"day {number}", Path(f"/lake/{request.key}"))


def merged(*numbers: int) -> Artifact:
    own = [small(number) for number in numbers]
    told = [
        {"key": a.key, "digest": a.digest, "n_bytes": 1, "params": {"ids": a.request.params["ids"]},
         "inputs": {"utterances": [OWN]}}
        for a in sorted(own, key=lambda a: a.key)
    ]  # fmt: skip
    request = Request("features", STEP, 1, {"plugin": PLUGIN, "merged": told}, {"utterances": (OWN,)})
    made = {a.key: [a.created_at, a.environment["work_s"], 0] for a in own}
    environment = {"merged": made, "environments": [{"python": "3"}]}
    return Artifact(request, {}, "digest", environment, "later", Path(f"/lake/{request.key}"))


def test_pieces_are_as_they_were_but_for_where_they_lie() -> None:
    whole = merged(1, 2)
    for piece, before in zip(pieces(whole), sorted((small(1), small(2)), key=lambda a: a.key), strict=True):
        assert dataclasses.replace(piece, folder=before.folder) == before
        assert piece.key == before.key == Request.from_json(piece.request.as_json()).key
        assert is_piece(piece) and piece.folder == whole.folder
    assert pieces(small(1))[0].key == small(1).key and not is_piece(small(1)) and not entries(small(1))


def test_a_piece_has_its_own_size_and_the_files_that_it_had() -> None:
    whole = merged(1, 2)
    files = {"features.parquet": {"n_bytes": 900}, "failures.parquet": {"n_bytes": 90}, PIECES: {"n_bytes": 9}}
    for piece in pieces(dataclasses.replace(whole, files=files)):
        assert piece.n_bytes == 1 and piece.files.keys() == files.keys() - {PIECES}
    whole.environment["merged"][small(1).key][1] = None
    recorded = {piece.key: "work_s" in piece.environment for piece in pieces(whole)}
    assert recorded == {small(1).key: False, small(2).key: True}, "what was not recorded is not nothing"


def test_pieces_are_found_by_their_digest_and_the_newest_place_counts() -> None:
    early, late = merged(1, 2), merged(1, 3)
    known = Pieces([early, late])
    (one,), (two,) = known.with_digest("digest 1"), known.with_digest("digest 2")
    assert (one.key, one.folder) == (small(1).key, late.folder) and two.folder == early.folder
    assert known.with_digest("digest 9") == [] == Pieces([]).with_digest("digest 1")


def test_what_lies_in_another_one_is_not_read_and_neither_is_what_was_merged_again() -> None:
    a, b, c, early, late = small(1), small(2), small(3), merged(1, 2), merged(1, 2, 3)
    assert live([a, b, c]) == [a, b, c]
    assert live([a, b, c, early]) == [c, early]
    assert live([a, b, c, early, late]) == [late] and superseded([late]) == {a.key, b.key, c.key}
    apart = merged(2, 3)
    assert live([early, apart]) == [early, apart], "neither holds all of the other"


def test_what_lies_in_two_counts_in_the_first() -> None:
    early, apart, late = merged(1, 2), merged(3, 4), merged(2, 5)
    assert list(held_before([small(2), early, apart, late])) == [(late, [small(2).key])]
    assert list(held_before([late, small(2), early])) == [(early, [small(2).key])]


def test_what_is_read_in_place_of_each_that_is_superseded() -> None:
    a, b, c, early, late, apart = small(1), small(2), small(3), merged(1, 2), merged(1, 2, 3), merged(2, 4)
    assert superseding([a, b, c]) == {}
    assert superseding([a, b, c, early]) == {a.key: [early], b.key: [early]}
    found = superseding([a, b, c, early, late, apart])
    assert found == {a.key: [late], b.key: [late, apart], c.key: [late], early.key: [late]}


def test_a_piece_is_there_once_and_a_small_one_that_is_still_there_is_its_own(tmp_path: Path) -> None:
    a, whole = small(1), merged(1, 2)
    found = with_pieces([a, whole])
    assert [one.key for one in found] == [a.key, small(2).key, whole.key] and found[0] is a
    assert with_pieces([a]) == [a]
    assert list(holding([a, whole], {small(2).key})) == [whole.key] and not list(holding([a, whole], {OWN}))


def test_all_ids_of_a_file_are_a_small_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_ids(small(1), ["x", "y", "x"]) == {"x", "y"}
    monkeypatch.setattr("warehouse.merged.held_ids", lambda artifact: {small(1).key: {"x"}})
    one, two = (next(p for p in pieces(merged(1, 2)) if p.key == small(n).key) for n in (1, 2))
    assert own_ids(one, ["x", "y"]) == {"x"} and own_ids(two, ["x", "y"]) == set()
