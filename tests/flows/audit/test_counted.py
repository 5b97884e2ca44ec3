"""Counts do not depend on how they are counted: what is looked at first, how many texts at a time, with whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.audit import counted
from flows.audit.counted import count
from flows.audit.overlap import Learner, evaluations, learner_of
from tests.flows.audit.lent import IEMOCAP, LONG, lent_lake, row


def test_rows_that_share_nothing_are_left_out_first_and_texts_pass_by_in_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lent = lent_lake(tmp_path / "lake")
    again = [one | {"turn": 9} for one in IEMOCAP]
    again += [row("iemocap", "other", LONG, dialogue_id="d-i_test"), row("else", "i_dev", "So it is.")]
    read = lent.read("again", again)
    readings, splits = lent.lake.by_digest("utterances"), lent.lake.by_digest("split")
    fits = [learner_of(fit, "it", readings, splits) for fit in (lent.student, lent.teacher)]
    pairs = [(fit, evaluations(lent.lake)) for fit in [*fits, Learner("again", "", [read])]]
    found = [own for _, own in count(pairs)]
    # "Nothing of the kind." has too few words to be near anything.
    assert [counts for _, counts in found[2]] == [(2, [2, 0, 2, 2, 2, 1, 2, 2]), (2, [2, 0, 2, 2, 2, 0, 2, 2])]
    known = counted._Tests.__init__

    def all_known(self: Any, connection: Any, _: Any) -> None:
        known(self, connection, {one.key for one in readings.values()} | {read.key})

    monkeypatch.setattr(counted, "_ROWS", 1)
    monkeypatch.setattr(counted._Tests, "__init__", all_known)
    assert [own for _, own in count(pairs)] == found
    assert [own for pair in pairs for _, own in count([pair])] == found
    assert list(count([(fits[0], []), *pairs[1:2]])) == [(fits[0], []), (fits[1], found[1])]


def test_who_learned_from_one_reading_is_counted_together_and_as_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folds of one corpus, and one who learned from all of it: the corpus is gone through once for all of them."""
    lent = lent_lake(tmp_path / "lake")
    rows = [*IEMOCAP, row("iemocap", "i_more", f"well {LONG}", recording_id="a" * 64), row("iemocap", "i_last", LONG)]
    read, parts = lent.read("more", rows), [one["utterance_id"] for one in rows]
    splits = [
        lent.split(
            f"p{n}", read, f"p{n}", "true", test=parts[n : n + 1], dev=parts[n + 1 : n + 2], train=parts[n + 2 :]
        )
        for n in range(4)
    ]
    splits += [lent.split("none", read, "none", "true", dev=parts)]
    fits = [*(Learner(f"{n}", "", [read], split) for n, split in enumerate(splits)), Learner("all", "", [read])]
    judging = [one for one in evaluations(lent.lake) if one.split in splits]
    pairs = [(fit, judging[n % 3 :]) for n, fit in enumerate(fits)]
    alone = [own for pair in pairs for own in count([pair])]
    gone_through: list[int] = []
    words = counted.Echoes.among

    def among(self: Any, references: Any, asked: Any) -> Any:
        references = list(references)
        gone_through.append(sum(len(texts) for texts, _ in references))
        return words(self, references, asked)

    monkeypatch.setattr(counted.Echoes, "among", among)
    assert list(count(pairs)) == alone and gone_through == [len(rows)]
    assert len({str(counts) for _, own in alone for _, counts in own}) > 5, "they met different things"
    monkeypatch.setattr(counted, "_AT_ONCE", 2)
    assert list(count(pairs)) == alone and len(gone_through) == 4
    highest = [Learner("all", "", [read])] * 62 + [fits[1]]
    monkeypatch.setattr(counted, "_AT_ONCE", 63)
    assert list(count([(fit, judging) for fit in highest]))[-1] == next(count([(fits[1], judging)]))
