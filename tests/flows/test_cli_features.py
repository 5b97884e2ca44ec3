from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.flows.saying import Say, saying
from warehouse import Request, Warehouse
from warehouse.schema import FAILURES, INTERVALS
from warehouse.tables import write_rows


def test_features_as_a_table_and_as_json(say: Say) -> None:
    rows = say("features", "--json").json
    assert [row["name"] for row in rows] == ["egemaps", "lld", "teacher", "waveform"]
    assert all(len(row["key"]) == 32 for row in rows)
    printed = say("features").out.splitlines()
    assert printed[0].split() == [
        "name", "step", "fields", "rows", "failures", "hours", "speed", "bytes", "canary", "licence",
    ]  # fmt: skip
    assert len(printed) == 5


def test_no_failure_is_said_in_words(say: Say) -> None:
    assert say("failures").out == "every utterance could be treated\n"
    assert say("failures", "--json").json == []


def test_the_history_of_canaries(say: Say) -> None:
    rows = say("canary", "--json").json
    assert {row["name"] for row in rows} == {"egemaps", "lld", "teacher", "waveform"}
    assert {(row["namespace"], row["drift"]) for row in rows} == {("first", 0.0)}
    printed = say("canary").out.splitlines()
    assert printed[0].split() == [
        "name", "step", "environment", "moved", "drift", "where", "namespace", "when",
    ]  # fmt: skip
    assert len(printed) == 5 and "torch" in printed[1], "encoder, then opensmile"


def test_a_retry_says_what_it_lets_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    say = saying(monkeypatch, capsys)
    lake = Warehouse(tmp_path / "lake", create=True)
    assert say("canary").out == "no extractor was tried yet\n"
    nothing = say("retry", "odd")
    assert (nothing.code, nothing.out) == (1, "")
    assert nothing.err == "emolake: nothing failed with a reason that contains 'odd': nothing failed there\n"

    def write(folder: Path, step: str) -> None:
        write_rows(folder / "intervals.parquet", [], INTERVALS)
        rows = [{"input_id": f"i{n}", "utterance_id": f"u{n}", "step": step, "reason": "odd"} for n in range(2)]
        write_rows(folder / "failures.parquet", rows, FAILURES)

    for step in ("aligners.a", "aligners.provided"):
        lake.materialize(Request("intervals", step, 1, {"plugin": {"step": step}}), partial(write, step=step))
    fixed = "aligners.provided: 2 looked at again only when the files or rows that they were made from change\n"
    counted = say("retry", "od", "--dry-run")
    assert counted.out == "aligners.a: 2 would be tried again\n" + fixed and lake.refs("retries") == {}
    assert say("retry", "od", "--json", "--step", "aligners.a").json == {
        "failures": {"aligners.a": 2}, "fixed": {}, "dry_run": False,
    }  # fmt: skip
    assert len(lake.refs("retries")) == 1
