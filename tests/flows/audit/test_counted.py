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
