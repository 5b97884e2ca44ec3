from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from tests.flows.small import Small, emolake
from warehouse import Request, Warehouse
from warehouse.schema import FAILURES, INTERVALS
from warehouse.tables import write_rows


def test_features_as_a_table_and_as_json(small: Small) -> None:
    rows = json.loads(small.cli("features", "--json").stdout)
    assert [row["name"] for row in rows] == ["egemaps", "lld", "teacher", "waveform"]
    assert all(len(row["key"]) == 32 for row in rows)
    printed = small.cli("features").stdout.splitlines()
    assert printed[0].split() == [
        "name", "step", "fields", "rows", "failures", "hours", "speed", "bytes", "canary", "licence",
    ]  # fmt: skip
    assert len(printed) == 5


def test_no_failure_is_said_in_words(small: Small) -> None:
    assert small.cli("failures").stdout == "every utterance could be treated\n"
    assert json.loads(small.cli("failures", "--json").stdout) == []


def test_the_history_of_canaries(small: Small) -> None:
    rows = json.loads(small.cli("canary", "--json").stdout)
    assert {row["name"] for row in rows} == {"egemaps", "lld", "teacher", "waveform"}
    assert {(row["namespace"], row["drift"]) for row in rows} == {("first", 0.0)}
    printed = small.cli("canary").stdout.splitlines()
    assert printed[0].split() == [
        "name", "step", "environment", "moved", "drift", "where", "namespace", "when",
    ]  # fmt: skip
    assert len(printed) == 5 and "torch" in printed[1], "encoder, then opensmile"


def test_a_retry_says_what_it_lets_be_tried_again(tmp_path: Path) -> None:
    lake = Warehouse(tmp_path / "lake", create=True)
    assert emolake("canary", cwd=tmp_path).stdout == "no extractor was tried yet\n"
    nothing = emolake("retry", "odd", cwd=tmp_path)
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert nothing.stderr == "emolake: nothing failed with a reason that contains 'odd': nothing failed there\n"

    def write(folder: Path, step: str) -> None:
        write_rows(folder / "intervals.parquet", [], INTERVALS)
        rows = [{"input_id": f"i{n}", "utterance_id": f"u{n}", "step": step, "reason": "odd"} for n in range(2)]
        write_rows(folder / "failures.parquet", rows, FAILURES)

    for step in ("aligners.a", "aligners.provided"):
        lake.materialize(Request("intervals", step, 1, {"plugin": {"step": step}}), partial(write, step=step))
    fixed = "aligners.provided: 2 looked at again only when the files or rows that they were made from change\n"
    counted = emolake("retry", "od", "--dry-run", cwd=tmp_path)
    assert counted.stdout == "aligners.a: 2 would be tried again\n" + fixed and lake.refs("retries") == {}
    assert json.loads(emolake("retry", "od", "--json", "--step", "aligners.a", cwd=tmp_path).stdout) == {
        "failures": {"aligners.a": 2}, "fixed": {}, "dry_run": False,
    }  # fmt: skip
    assert len(lake.refs("retries")) == 1
