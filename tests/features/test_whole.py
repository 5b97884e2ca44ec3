"""Rows that were all there are not read again, and whatever comes or goes is asked anew."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pytest

from features import whole
from features.rows import failure_row
from features.whole import Whole, holding_wanted, of_utterances, remembered
from warehouse import Artifact, Request, Warehouse
from warehouse.catalog import identity
from warehouse.compaction import merge, merges
from warehouse.schema import FAILURES, UTTERANCES
from warehouse.tables import write_rows

STEP, KIND = "extractors.made", "features"


@dataclasses.dataclass(frozen=True)
class Made:
    version: ClassVar[int] = 1
    needs: ClassVar[str] = "text"
    gain: float = 1.0


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


def rows(lake: Warehouse, answered: Sequence[str], failed: Sequence[str] = ()) -> Artifact:
    def write(folder: Path) -> None:
        schema = pa.schema([pa.field("input_id", pa.string(), nullable=False)])
        write_rows(folder / "features.parquet", [{"input_id": one} for one in answered], schema)
        write_rows(folder / "failures.parquet", [failure_row(STEP, f"u{i}", "odd", i) for i in failed], FAILURES)

    params = {"plugin": identity(STEP, Made()), "ids": [*answered, *failed]}
    return lake.materialize(Request(KIND, STEP, 1, params), write)


def spoken(lake: Warehouse, *ids: str) -> list[Artifact]:
    found = [
        dict.fromkeys(UTTERANCES.names, "")
        | {"utterance_id": one, "text_id": one, "turn": 0, "start_s": 0.0, "end_s": 1.0, "attributes": []}
        for one in ids
    ]
    request = Request("utterances", "made", 1, {"ids": list(ids)})
    return [lake.materialize(request, lambda folder: write_rows(folder / "utterances.parquet", found, UTTERANCES))]


def ask(lake: Warehouse, utterances: Sequence[Artifact], wanted: str) -> list[Artifact]:
    return holding_wanted(lake, KIND, STEP, Made(), utterances, set(wanted))


def told(lake: Warehouse, utterances: Sequence[Artifact]) -> Whole | None:
    """By another process."""
    return remembered(Warehouse(lake.root), KIND, STEP, Made(), utterances)


def test_what_is_whole_is_remembered_with_what_holds_it(lake: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    utterances = spoken(lake, "a", "b", "c")
    held = sorted([rows(lake, "a"), rows(lake, "b", "c")], key=lambda one: one.key)
    rows(lake, "x")
    assert told(lake, utterances) is None
    assert ask(lake, utterances, "abc") == held
    assert told(lake, utterances) == Whole(3, held, has_failures=True)
    monkeypatch.setattr(whole, "wanted_ids", lambda *asked: pytest.fail("read again"))
    assert of_utterances(lake, KIND, STEP, Made(), utterances) == held


def test_a_missing_row_is_never_remembered_as_there(lake: Warehouse) -> None:
    utterances = spoken(lake, "a", "b")
    one = rows(lake, "a")
    assert ask(lake, utterances, "ab") == [one] and told(lake, utterances) is None
    assert of_utterances(lake, KIND, STEP, Made(), utterances) == [one]
    assert ask(lake, spoken(lake), "") == [] and told(lake, spoken(lake)) is None, "of nothing nothing is said"


def test_other_utterances_other_artifacts_and_other_retries_are_other_questions(lake: Warehouse) -> None:
    utterances = spoken(lake, "a", "b")
    one = rows(lake, "a", "b")
    ask(lake, utterances, "ab")
    assert told(lake, utterances) and told(lake, spoken(lake, "a", "b", "c")) is None
    lake.set_ref(f"retries/{one.key}", {"input_ids": ["b"]})
    assert told(lake, utterances) is None
    assert ask(lake, utterances, "ab") == [one] and told(lake, utterances) is None, "the failure does not count"
    (lake.root / "refs" / "retries" / f"{one.key}.json").unlink()
    assert told(lake, utterances)
    rows(lake, "y")
    assert told(lake, utterances) is None


def test_rows_that_were_deleted_are_not_remembered_as_there(lake: Warehouse) -> None:
    utterances, one = spoken(lake, "a"), rows(lake, "a")
    ask(lake, utterances, "a")
    one.path("features.parquet").unlink()
    assert told(lake, utterances) is None


def test_whether_anything_failed_is_remembered_of_what_is_wanted(lake: Warehouse) -> None:
    rows(lake, "x", failed="y")
    held = rows(lake, "a")
    assert ask(lake, spoken(lake, "a"), "a") == [held]
    assert told(lake, spoken(lake, "a")) == Whole(1, [held], has_failures=False), "of others nothing is said"
    rows(lake, "b", failed="c")
    for ids in ("abc", "ab"):
        ask(lake, spoken(lake, *ids), ids)
        there = told(lake, spoken(lake, *ids))
        assert there and there.has_failures


def test_what_was_merged_is_there_while_the_merged_rows_are(lake: Warehouse) -> None:
    utterances, made = spoken(lake, "a", "b"), [rows(lake, one) for one in "ab"]
    (merged,) = [merge(lake, one) for one in merges(lake)]
    found = ask(lake, utterances, "ab")
    assert {one.key for one in found} == {one.key for one in made}
    assert told(lake, utterances) == Whole(2, found, has_failures=False)
    merged.path("features.parquet").unlink()
    assert told(lake, utterances) is None


def test_damage_to_what_is_remembered_only_costs_time(lake: Warehouse) -> None:
    utterances = spoken(lake, "a")
    ask(lake, utterances, "a") if rows(lake, "a") else None
    (path,) = (lake.root / ".cache" / "whole").iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert told(lake, utterances) is None
    assert ask(lake, utterances, "a") and told(lake, utterances)


def test_few_answers_are_kept(lake: Warehouse) -> None:
    rows(lake, "abcdefghijkl")
    several = [spoken(lake, *"abcdefghijkl"[: n + 1]) for n in range(12)]
    for n, utterances in enumerate(several):
        ask(lake, utterances, "abcdefghijkl"[: n + 1])
    assert [bool(told(lake, utterances)) for utterances in several] == [False] * 4 + [True] * 8
