"""The demo, killed with -9 at ten random moments, ends with the artifacts of an undisturbed run, byte for byte."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

from tests.flows import killing
from tests.flows.killing import Moment

SEED = 20


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for orphans in /proc")
def test_the_demo_killed_at_ten_moments_makes_the_same_bytes(tmp_path: Path) -> None:
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    undisturbed.mkdir(), disturbed.mkdir()
    killing.run_with_kills(["demo"], undisturbed, [])
    times = killing.timeline(undisturbed)
    there_s = {path: at_s for at_s, path in times}
    when = [*killing.moments(times, 7, SEED), *_short_phases(times)]
    when.sort(key=lambda moment: there_s[moment.path] + moment.delay_s)
    print(*when, sep="\n")

    last = killing.run_with_kills(["demo"], disturbed, when)
    assert "one number, traced" in last.printed
    assert killing.identities(disturbed / "lake") == killing.identities(undisturbed / "lake")
    assert killing.left_behind(disturbed) == []
    sound = killing.run_with_kills(["verify", "--deep"], disturbed, [])
    assert "sound: " in sound.printed
    again = killing.run_with_kills(["demo", "--json"], disturbed, [])
    assert json.loads(again.printed)["new"] == 0
    shutil.rmtree(tmp_path)  # half a gigabyte


def _short_phases(times: list[tuple[float, str]]) -> list[Moment]:
    """Three phases are so short that a moment drawn from the whole run seldom hits them: the writing of the sandbox,
    the start of Prefect, which follows the lake's first file, and the report, which follows the metrics."""
    chance = random.Random(SEED)
    metrics_s, metrics = next((at_s, path) for at_s, path in times if "/metrics/" in path)
    report_s, report = next((at_s, path) for at_s, path in times if "/report/" in path)
    first = next(path for _, path in times if path.startswith("lake/artifacts/"))
    spoken = chance.choice([path for _, path in times if path.startswith("sandbox/")])
    return [
        Moment(spoken, 0.0, first),
        Moment("lake/lake.json", chance.uniform(0, 5), first),
        Moment(metrics, chance.uniform(0, report_s - metrics_s), report),
    ]
