"""What failed is tried again once that is asked for, and then the newest answer counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow.parquet as pq
import pytest

from features import inventory
from features.extract import works
from features.plugin import Clip, FeatureSpec
from features.retry import Retry, retry
from warehouse import Artifact, Request, Warehouse
from warehouse.errors import NothingToRetry, Untreatable
from warehouse.schema import FAILURES, UTTERANCES, text_id
from warehouse.tables import write_rows

STEP = "extractors.flaky"
TEXTS = ("one", "two", "three", "four")


@dataclasses.dataclass(frozen=True)
class Flaky:
    """The number of letters, of what does not fail today."""

    version: ClassVar[int] = 1
    needs: ClassVar[str] = "text"
    fails: ClassVar[dict[str, str]] = {}
    calls: ClassVar[list[str]] = []

    def outputs(self) -> Mapping[str, FeatureSpec]:
        return {"vector": FeatureSpec("utterance", ("dim",), 1, names=("n_letters",))}

    def load(self, device: str) -> Callable[[Sequence[Clip]], Sequence[Mapping[str, np.ndarray]]]:
        return lambda clips: [self._row(clip.text) for clip in clips]

    def _row(self, text: str) -> dict[str, np.ndarray]:
        if text in self.fails:
            raise Untreatable(self.fails[text])
        self.calls.append(text)
        return {"vector": np.array([len(text)], np.float32)}


@pytest.fixture(autouse=True)
def flaky() -> None:
    Flaky.fails.clear()
    Flaky.calls.clear()


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    lake = Warehouse(tmp_path / "lake", create=True)
    texts = dict.fromkeys(UTTERANCES.names, "")
    rows = [
        texts | {"utterance_id": f"u-{text}", "text": text, "text_id": text_id(text), "corpus": "made", "turn": 0}
        | {"start_s": 0.0, "end_s": 0.0, "attributes": []}
        for text in TEXTS
    ]  # fmt: skip

    def write(folder: Path) -> None:
        write_rows(folder / "utterances.parquet", rows, UTTERANCES)
        odd = {"input_id": "", "utterance_id": "made-5", "step": "corpora.made", "reason": "line 5 is no line"}
        write_rows(folder / "failures.parquet", [odd], FAILURES)

    made = lake.materialize(Request("utterances", "corpora.made", 1), write)
    ref = {"reader": "made", "root": "/nowhere", "raw": [], "utterances": [made.digest], "labels": []}
    lake.set_ref("corpora/made", ref)
    return lake


def missing(lake: Warehouse) -> list[Any]:
    return works(lake, STEP, Flaky(), lake.artifacts("utterances"), {})


def made(lake: Warehouse, **fails: str) -> list[Artifact]:
    """What a run makes today."""
    Flaky.fails.clear()
    Flaky.fails.update(fails)
    return [lake.perform(work) for work in missing(lake)]


def failures(lake: Warehouse) -> dict[str, str]:
    rows = lake.sql(f"SELECT utterance_id, reason FROM failures WHERE step = '{STEP}'").fetchall()
    assert len(dict(rows)) == len(rows), "one is listed twice"
    held = inventory.failed(inventory.holding(lake, "features", STEP, Flaky()))
    assert sorted((row["utterance_id"], row["reason"]) for row in held) == sorted(rows), "the view and the loop agree"
    return dict(rows)


def answered(lake: Warehouse) -> list[str]:
    found = inventory.holding(lake, "features", STEP, Flaky())
    return sorted(i for a in found for i in pq.read_table(a.path("features.parquet"))["input_id"].to_pylist())


def test_what_failed_is_tried_again_only_when_that_is_asked_for(lake: Warehouse) -> None:
    (first,) = made(lake, two="the server is away", four="the server is away")
    assert missing(lake) == [] and failures(lake) == dict.fromkeys(["u-two", "u-four"], "the server is away")
    assert retry(lake, "server is") == Retry({STEP: 2})
    assert failures(lake) == dict.fromkeys(["u-two", "u-four"], "the server is away"), "till there is a newer answer"
    (work,) = missing(lake)
    assert work.n_rows == 2 and work.request.params["attempt"] == 1 and "attempt" not in first.request.params
    Flaky.calls.clear()
    made(lake)
    assert Flaky.calls == ["two", "four"] and failures(lake) == {} and missing(lake) == []
    assert answered(lake) == sorted(text_id(text) for text in TEXTS)
    with pytest.raises(NothingToRetry, match=r"that contains 'server' \(reasons: 'line 5 is no line'\); `emolake fail"):
        retry(lake, "server")


def test_a_failure_that_fails_again_is_listed_once_with_its_newest_reason(lake: Warehouse) -> None:
    made(lake, two="no power", four="no power")
    retry(lake, "power")
    made(lake, two="no water")
    assert failures(lake) == {"u-two": "no water"}
    assert retry(lake, "no") == Retry({STEP: 1}, {"corpora.made": 1})
    (work,) = missing(lake)
    assert work.request.params["attempt"] == 2
    made(lake)
    assert failures(lake) == {} and len({a.key for a in lake.artifacts("features")}) == 3


def test_only_what_the_reason_and_the_step_name_is_tried_again(lake: Warehouse) -> None:
    made(lake, one="the clip lasts 0.5 s", two="the clip lasts 12 s", four="it is odd")
    with pytest.raises(NothingToRetry, match=r"failed in step 'extractors.other' with .* 'odd': nothing failed there"):
        retry(lake, "odd", "extractors.other")
    assert retry(lake, "clip lasts 0.02 s", STEP) == Retry({STEP: 2}), "a number stands for any number"
    made(lake)
    assert failures(lake) == {"u-four": "it is odd"}


def test_attempts_of_different_numbers_are_requests_of_their_own(lake: Warehouse) -> None:
    made(lake, one="wet", two="cold")
    retry(lake, "wet")
    made(lake, one="wet")
    retry(lake, "wet")
    retry(lake, "cold")
    assert [(work.n_rows, work.request.params["attempt"]) for work in missing(lake)] == [(1, 1), (1, 2)]
    made(lake)
    assert failures(lake) == {}


def test_a_dry_run_only_counts(lake: Warehouse) -> None:
    made(lake, one="wet", two="wet")
    assert retry(lake, "wet", dry_run=True) == Retry({STEP: 2})
    assert lake.refs("retries") == {} and missing(lake) == []


def test_what_a_reader_could_not_read_is_counted_apart_and_not_tried_again(lake: Warehouse) -> None:
    assert retry(lake, "line 7 is") == Retry({}, {"corpora.made": 1})
    assert lake.refs("retries") == {}


def test_killed_in_between_and_asked_again_it_takes_the_rest(lake: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [lake.perform(work).key for work in _two_batches(lake)]
    assert len(keys) == 2 and len(failures(lake)) == 4
    real, done = lake.set_ref, []

    def killed(name: str, value: Mapping[str, Any]) -> None:
        if done:
            raise KeyboardInterrupt
        done.append(name)
        real(name, value)

    monkeypatch.setattr(lake, "set_ref", killed)
    with pytest.raises(KeyboardInterrupt):
        retry(lake, "wet")
    monkeypatch.undo()
    assert sum(work.n_rows for work in missing(lake)) == 2
    assert retry(lake, "wet") == Retry({STEP: 4}), "those that wait for their turn are still failures"
    assert {work.request.params["attempt"] for work in missing(lake)} == {1}
    made(lake)
    assert failures(lake) == {} and len(answered(lake)) == 4


def _two_batches(lake: Warehouse) -> list[Any]:
    Flaky.fails.update(dict.fromkeys(TEXTS, "wet"))
    return works(lake, STEP, Flaky(), lake.artifacts("utterances"), {}, batch_s=0.6)


def test_a_retry_of_which_the_run_was_killed_goes_on_where_it_stopped(lake: Warehouse) -> None:
    for work in _two_batches(lake):
        lake.perform(work)
    retry(lake, "wet")
    Flaky.fails.clear()
    first, second = works(lake, STEP, Flaky(), lake.artifacts("utterances"), {}, batch_s=0.6)
    lake.perform(second)
    assert [w.request for w in works(lake, STEP, Flaky(), lake.artifacts("utterances"), {}, batch_s=0.6)] == [
        first.request
    ]


def test_the_rows_of_a_fork_are_tried_for_themselves(lake: Warehouse) -> None:
    made(lake, two="wet")
    retry(lake, "wet")
    fork = inventory.forked(Flaky(), "0" * 32)
    assert inventory.tries(lake, "features", STEP, fork) == {}
    assert inventory.tries(lake, "features", STEP, Flaky()) == {text_id("two"): 1}
