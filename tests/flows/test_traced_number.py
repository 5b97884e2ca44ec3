from __future__ import annotations

import subprocess

import pyarrow.parquet as pq

from flows.traced_number import metric_rows, trace_number
from tests.flows.small import Small


def test_the_number_is_traced_to_bytes_and_seconds(small: Small) -> None:
    warehouse = small.warehouse
    number = trace_number(warehouse, warehouse.resolve("reports/small"))
    assert number is not None
    assert [hop.what for hop in number.hops] == [
        "prediction", "truth", "labels", "checkpoint", "shard", "feature row", "utterance", "raw file",
    ]  # fmt: skip
    row = next(r for r in metric_rows(warehouse, "small") if r["part"] == "test")
    assert number.value == row["value"]
    path = number.hops[-1].note.split(", seconds")[0]
    sha256 = number.hops[-1].note.rpartition(" ")[2]
    assert subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.startswith(sha256)


def test_another_utterance_can_be_traced(small: Small) -> None:
    warehouse = small.warehouse
    row = next(r for r in metric_rows(warehouse, "small") if r["part"] == "test")
    predictions = warehouse.with_digest(row["predictions"])[0]
    last = pq.read_table(predictions.path("predictions.parquet")).column("utterance_id").to_pylist()[-1]
    number = trace_number(warehouse, predictions, last)
    assert number is not None and number.hops[0].note.startswith(last)
