"""Sums of a run are those of its lines, in whatever order the lines of several processes come."""

from __future__ import annotations

import random
from typing import Any

from flows.tally import StepTally, Tally


def event(second: float, name: str, **fields: Any) -> dict[str, Any]:
    return {"time": f"2026-11-22T00:00:{second:09.6f}+00:00", "event": name} | fields


START = event(0, "run began", recipe="demo", verb="run", pid=7, host="here")
STEP = event(1, "step began", step="one", rows=100, new=60, works=3, found=2)
AT = [event(2 + number, "began", key=key, rows=20, maker="m", pid=8) for number, key in enumerate("abc")]
MADE = [
    event(4 + number, "made", step="one", key=key, rows=20, bytes=100, seconds=1.5, failures=number)
    for number, key in enumerate("ab")
]
NOW = Tally(began=event(11, "")).began_at


def test_what_is_done_and_what_is_left() -> None:
    tally = Tally()
    tally.add([START, STEP, *AT[:2], MADE[0]])
    (step,) = tally.steps.values()
    assert (step.rows, step.new, step.works, step.found, step.made, step.rows_made) == (100, 60, 3, 2, 1, 20)
    assert (step.hit_rate, step.n_bytes, step.work_s, step.seconds) == (0.4, 100, 1.5, 0.0)
    assert list(tally.running) == ["b"] and tally.waiting == 1 and tally.outcome == ""
    assert step.lasted_s(NOW) == 10 and step.rows_per_s(NOW) == 2 and step.left_s(NOW) == 20
    tally.add([MADE[1], AT[2], event(8, "failed", step="one", key="c"), event(9, "step ended", step="one", seconds=8)])
    assert (step.made, step.failed, step.rows_failed) == (2, 1, 1) and tally.waiting == 0 and not tally.running
    assert step.lasted_s(NOW) == 8 and step.rows_per_s(NOW) == 5 and step.left_s(NOW) is None
    tally.add([event(9, "run ended", outcome="done", seconds=9)])
    assert tally.outcome == "done" and tally.last_at == NOW - 2


def test_a_line_that_comes_late_changes_no_sum() -> None:
    """Workers write files of their own, and clocks of hosts differ: a work that was made is not begun again."""
    told = [*AT, *MADE]
    expected = Tally()
    expected.add([START, STEP, *told])
    for seed in range(5):
        random.Random(seed).shuffle(told)
        tally = Tally()
        tally.add([START, STEP])
        for one in told:
            tally.add([one])
        assert tally.steps == expected.steps and tally.running.keys() == {"c"} == expected.running.keys()


def test_deaths_and_second_tries_are_counted() -> None:
    tally = Tally()
    tally.add([STEP, AT[0], event(3, "retried", step="one", key="a"), event(3, "worker died", key="a"), AT[0]])
    (step,) = tally.steps.values()
    assert (step.retried, step.died, step.made) == (1, 1, 0) and list(tally.running) == ["a"]


def test_a_step_that_comes_again_adds_to_itself() -> None:
    tally = Tally()
    tally.add([STEP, event(3, "step ended", step="one", seconds=2), event(5, "step began", step="one", rows=4, new=4)])
    (step,) = tally.steps.values()
    assert (step.rows, step.new) == (104, 64) and step.lasted_s(NOW) == 2 + 6


def test_nothing_is_said_of_what_is_not_known() -> None:
    step = StepTally("one")
    assert step.hit_rate is None and step.rows_per_s(NOW) is None and step.left_s(NOW) is None
    tally = Tally()
    tally.add([event(3, "progress", key="a", done=1, total=2, note="epoch 1"), event(4, "metrics")])
    assert tally.progress["a"]["note"] == "epoch 1" and tally.waiting == 0
    tally.add([{"time": "yesterday", "event": "run began"}])
    assert tally.began_at == 0
