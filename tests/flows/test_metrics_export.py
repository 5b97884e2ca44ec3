"""What Prometheus reads, read by its own parser, is what the log says."""

from __future__ import annotations

import socket
import urllib.request
from collections import defaultdict
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from flows import metrics_export, run_log
from flows.metrics_export import served
from infra.gpus import Gpu
from tests.flows.recorded import Here, events, work
from tests.flows.unended import unended
from warehouse import Warehouse

Values = dict[str, dict[tuple[str, ...], float]]


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


def scraped(port: int | None) -> Values:
    """Name -> labels -> value."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    values: Values = defaultdict(dict)
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for one in family.samples:
            values[one.name][tuple(one.labels.values())] = one.value
    return values


def test_what_is_served_is_what_the_log_says(lake: Warehouse) -> None:
    lake.perform(work("b", 5))
    with run_log.logged(lake.root, "small", verb="run"), served(lake.root, ("127.0.0.1", 0)) as port:
        assert scraped(port)["emolake_runs"] == {("small",): 1}
        runner = Here(lake)
        runner.step("one", [work("a", 2), work("b", 5)])
        runner.step("two", [work("c", 3)])
        for _ in range(2):
            values = scraped(port)
        told = events(lake)
    for step in ("one", "two"):
        made = [event for event in told if event["event"] == "made" and event["step"] == step]
        labels = ("small", step)
        assert values["emolake_works_made_total"][labels] == len(made)
        assert values["emolake_rows_made_total"][labels] == sum(event["rows"] for event in made)
        assert values["emolake_committed_bytes_total"][labels] == sum(event["bytes"] for event in made)
        assert values["emolake_work_seconds_total"][labels] == sum(event["seconds"] for event in made)
        assert values["emolake_works_failed_total"][labels] == values["emolake_rows_failed_total"][labels] == 0
        assert values["emolake_rows_per_second"][labels] > 0 and values["emolake_step_seconds"][labels] > 0
    assert values["emolake_rows_wanted_total"] == {("small", "one"): 7, ("small", "two"): 3}
    assert values["emolake_rows_found_total"] == {("small", "one"): 5, ("small", "two"): 0}
    assert values["emolake_cache_hit_ratio"] == {("small", "one"): 5 / 7, ("small", "two"): 0}
    assert values["emolake_works_found_total"][("small", "one")] == 1
    assert values["emolake_works_waiting"] == values["emolake_works_in_flight"] == {("small",): 0}


def test_one_process_serves_all_runs_of_its_lake_and_the_port_is_free_afterwards(lake: Warehouse) -> None:
    with run_log.logged(lake.root, "small", verb="run"), served(lake.root, ("127.0.0.1", 0)) as port:
        with unended(lake.root) as process:
            with served(lake.root, ("127.0.0.1", port or 0)) as second:
                assert second is None
            values = scraped(port)
            assert values["emolake_runs"] == {("small",): 1, ("unended",): 1}
            assert values["emolake_works_waiting"][("unended",)] == 2
            assert values["emolake_works_in_flight"][("unended",)] == 1
            process.kill()
            process.wait()
            values = scraped(port)
        assert values["emolake_runs"][("unended",)] == values["emolake_works_in_flight"][("unended",)] == 0
        assert values["emolake_rows_wanted_total"][("unended", "one")] == 40, "until the recipe's next run"
        with run_log.logged(lake.root, "unended", verb="run"):
            values = scraped(port)
        assert ("unended", "one") not in values["emolake_rows_wanted_total"]
    (refused,) = [event for event in events(lake, "small") if event["event"] == "metrics"]
    assert refused["served"] is False and refused["why"] == "Address already in use"
    with socket.create_server(("127.0.0.1", port or 0)):
        pass


def test_accelerators_are_told_of_where_there_are_some(lake: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_export, "gpus", list)
    with served(lake.root, ("127.0.0.1", 0)) as port:
        assert not any("gpu" in name for name in scraped(port)), "absent is not idle"
        there = [Gpu(0, 0.87, 2**30, 2**33), Gpu(1, None, None, None)]
        monkeypatch.setattr(metrics_export, "gpus", lambda: there)
        values = scraped(port)
    assert values["emolake_gpu_utilization_ratio"] == {("0",): 0.87}
    assert values["emolake_gpu_memory_used_bytes"] == {("0",): 2**30}


def test_nothing_is_served_where_nobody_asked(lake: Warehouse) -> None:
    with served(lake.root, None) as port:
        assert port is None
