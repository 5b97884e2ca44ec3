from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from prefect.cache_policies import NO_CACHE
from prefect.utilities.collections import visit_collection

from flows.tasks import Parcel, answer
from flows.workers import Workers, workers
from tests.flows import deeds
from warehouse import Artifact, Request, Warehouse, Work


class Answering:
    """A pool that answers with what it is given, and reports some progress of its own."""

    def answer(self, works: Sequence[Work], note: Any) -> list[Artifact]:
        note(1, 3, "a third")
        return cast(list[Artifact], works)


def test_a_task_is_one_call_and_ends_with_all_done() -> None:
    notes: list[tuple[int, int, str]] = []
    work = Work(Request("made", "a", 1))
    assert answer.fn(cast(Workers, Answering()), [work], lambda *note: notes.append(note)) == [work]
    assert notes == [(1, 3, "a third"), (1, 1, "")]


def test_a_parcel_is_known_by_its_request_and_not_walked_through() -> None:
    work = Work(Request("made", "a", 1), arguments={"rows": [{"n": 1}]})
    seen: list[object] = []
    visit_collection({"parcel": Parcel(work)}, visit_fn=seen.append)
    assert work not in seen and Parcel(work).__dask_tokenize__() == work.request.key


def test_the_warehouse_is_the_only_memory() -> None:
    assert answer.cache_policy == NO_CACHE
    assert answer.persist_result is False and answer.retries == 0


def test_a_work_that_is_answered_is_not_done_again(tmp_path: Path) -> None:
    lake = Warehouse(tmp_path / "lake", create=True)
    work = Work(Request("made", "write_pid", 1), deeds.write_pid)
    with workers(lake.root, 1, "cpu") as pool:
        [first] = answer.fn(pool, [work], lambda *note: None)
        [again] = answer.fn(pool, [work], lambda *note: None)
    assert again.digest == first.digest and again.created_at == first.created_at
