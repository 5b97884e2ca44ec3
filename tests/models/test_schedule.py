from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.orders import Fit
from models.schedule import Drops, rate_factor


def _fit(**fields: object) -> Fit:
    return Fit(**{"epochs": 50, "learning_rate": 1e-4, "batch_frames": 1, "warmup_fraction": 0.2} | fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("schedule", ["linear", "constant", "exponential", "plateau"])
def test_every_schedule_rises_over_the_warm_up_and_never_passes_its_peak(schedule: str) -> None:
    fit = _fit(schedule=schedule)
    factors = [rate_factor(fit, n / 10) for n in range(500)]
    assert factors[:100] == pytest.approx([n / 100 for n in range(100)])
    assert max(factors) <= 1 and min(factors[1:]) > 0
    after = factors[100:]
    assert after == sorted(after, reverse=True)


def test_linear_falls_to_nothing_and_exponential_by_the_epoch() -> None:
    assert rate_factor(_fit(), 50) == 0
    assert rate_factor(_fit(), 30) == pytest.approx(0.5)
    cmd = _fit(schedule="exponential")
    assert [rate_factor(cmd, n) for n in (10, 10.9, 11, 12.5, 49.9)] == pytest.approx([1, 1, 0.9, 0.81, 0.9**39])


@given(st.lists(st.floats(0, 1), max_size=60), st.integers(1, 4))
def test_plateaus_are_counted_as_by_hand(losses: list[float], plateau: int) -> None:
    drops = Drops(_fit(plateau=plateau))
    n, waited = 0, 0
    for position, loss in enumerate(losses):
        drops.see(loss)
        waited = 0 if all(loss < earlier for earlier in losses[:position]) else waited + 1
        if waited == plateau:
            n, waited = n + 1, 0
        assert drops.n == n
    fit = _fit(schedule="plateau", warmup_fraction=0.0, decay=0.5)
    assert rate_factor(fit, 3.2, drops.n) == 0.5**n
    assert rate_factor(_fit(schedule="constant"), 30, drops.n) == 1
