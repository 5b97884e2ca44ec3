"""The simulated build: what no queue can be quicker or slower than."""

from __future__ import annotations

import random

import pytest

from benchmarks.scale import DISK, NOTHING, PAGE, Costs, simulate

WORKERS = (1, 2, 3, 16, 64)


@pytest.fixture(params=range(5))
def works(request: pytest.FixtureRequest) -> list[float]:
    drawn = random.Random(request.param)
    return [drawn.expovariate(0.1) for _ in range(drawn.randint(1, 300))]


def test_equal_works_without_costs_scale_as_they_are_divided() -> None:
    for n in WORKERS:
        run = simulate([2.0] * (n * 10), n)
        assert run.seconds == pytest.approx(20.0) and run.efficiency(n) == pytest.approx(1.0)
    assert simulate([], 4) == simulate([], 1) and simulate([], 4).seconds == 0.0


@pytest.mark.parametrize("costs", [NOTHING, DISK, Costs(5.0, 0.5, 0.1, 1.0, 1e6)])
def test_no_build_is_quicker_than_its_works_allow(works: list[float], costs: Costs) -> None:
    for n in WORKERS:
        run = simulate(works, n, costs, n_bytes=1e5)
        assert run.seconds >= max(sum(works) / n, max(works)) - 1e-9
        assert run.seconds >= costs.start_s + run.server_s + run.flush_s - 1e-9
        assert run.seconds >= costs.start_s + run.store_s + run.flush_s - 1e-9
        assert run.work_s == pytest.approx(sum(works)) and 0 < run.efficiency(n) <= 1 + 1e-9


def test_without_costs_a_build_is_no_slower_than_any_that_keeps_its_workers_busy(works: list[float]) -> None:
    for n in WORKERS:
        assert simulate(works, n).seconds <= sum(works) / n + max(works) + 1e-9


def test_more_workers_are_no_slower_and_costs_no_quicker(works: list[float]) -> None:
    seconds = [simulate(works, n).seconds for n in WORKERS]
    assert seconds == sorted(seconds, reverse=True)
    for n in WORKERS:
        assert simulate(works, n, DISK).seconds > simulate(works, n).seconds


def test_one_worker_waits_for_everything_in_turn() -> None:
    run = simulate([1.0, 2.0], 1, Costs(start_s=10, ask_s=0.5, end_s=3, commit_s=0.25, store_bytes_per_s=100), 50)
    assert run.seconds == pytest.approx(10 + (0.5 + 0.5 + 0.25) * 2 + 3.0 + 3 * 2)
    assert (run.server_s, run.store_s, run.flush_s) == (1.0, 1.0, 6.0)


def test_server_and_store_serve_one_after_the_other() -> None:
    assert simulate([1.0] * 4, 4, Costs(ask_s=1.0)).seconds == pytest.approx(5.0), "the last is asked for at 4 s"
    assert simulate([1.0] * 4, 4, Costs(store_bytes_per_s=1.0), 2.0).seconds == pytest.approx(9.0)


def test_the_page_holds_a_table() -> None:
    assert "| 64 workers |" in PAGE.read_text(encoding="utf-8")
