"""What disturbs a build costs it time, and nothing else: no artifact, no row, no byte.

The quick rounds go without Prefect. `make test-all` plays 110 of the whole command, of each disturbance as many as
`DISTURBANCES` says, with `benchmarks/reliability.py`, which writes what came of them into RELIABILITY.md.
"""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

from tests.reliability import rounds
from tests.reliability.rounds import CAN_LOOK, DISTURBANCES, DOOR, Bench, Build, Disturbance, play

pytestmark = pytest.mark.skipif(not CAN_LOOK, reason="looks for processes in /proc")


@pytest.fixture(scope="module")
def small_bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("quick") / "bench", DOOR)


@pytest.mark.parametrize("what", ["kill -9 of the run", "two schedulers, one build"])
def test_a_round_without_prefect(small_bench: Bench, what: str) -> None:
    """Workers that are killed have a quick test of their own, `test_crashes`."""
    found = play(small_bench, what, seed=1)
    assert found.problems == []
    assert found.was_disturbed
    assert found.went_on == (what != "kill -9 of the run")


def test_a_round_sees_what_is_lost_doubled_and_left(small_bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge is worth nothing if it finds nothing: here somebody takes an artifact and leaves half of another."""

    def steal(build: Build, chance: object) -> bool:
        shutil.copytree(small_bench.folder / "in-peace-both" / "lake", build.lake)
        artifacts = build.lake / "artifacts"
        shutil.rmtree(sorted((artifacts / "features").iterdir())[0])
        (sorted((artifacts / "raw").iterdir())[0] / "files.parquet").write_bytes(b"other bytes")
        (build.lake / ".scratch").mkdir(exist_ok=True)
        (build.lake / ".scratch" / "elsewhere-1-0123456789ab").mkdir()
        build.log.write_text("began a 1\nbegan a 2\nbegan a 3\nbegan a 4\n")
        over = SimpleNamespace(
            end=lambda timeout_s: 0, wait_until_nobody_is_left=lambda: None, complaint="Traceback (most recent…",
            process=SimpleNamespace(returncode=0),
        )  # fmt: skip
        monkeypatch.setattr(Build, "start", lambda self: self.running.append(over) or over)
        build.start()
        return True

    small_bench.in_peace()
    monkeypatch.setattr(rounds, "DISTURBANCES", {"theft": Disturbance(steal, 1)})
    found = play(small_bench, "theft", seed=0)
    assert found.n_repeated == 3
    losses = "\n".join(found.losses)
    again = "3 works were done again, and there were 2 workers"
    for sentence in ("is None, not", "is (6, 6), not (12, 12)", "still to do", again, "a traceback"):
        assert sentence in losses
    assert len(found.faults) == 1 and "files.parquet" in found.faults[0]
    assert found.left == ["lake/.scratch/elsewhere-1-0123456789ab"]


def test_a_hundred_rounds_are_shared_out() -> None:
    assert sum(disturbance.share for disturbance in DISTURBANCES.values()) >= 100
