"""kill -9 at any moment: what is made afterwards has the bytes of an undisturbed run, and nobody lives on.

The whole demo, killed ten times, is in `tests/test_demo_kills.py`; this is its quick form.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.plan import is_done, plan
from flows.recipe import read_recipe
from tests.flows import killing
from tests.flows.small import Small
from warehouse import Warehouse

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for orphans in /proc")


@pytest.mark.parametrize("n_kills", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_extraction_that_is_killed_makes_the_same_bytes(small: Small, tmp_path: Path, n_kills: int) -> None:
    given = [part for name, root in small.roots.items() for part in ("--root", f"{name}={root}")]
    when = killing.moments(_extraction(killing.timeline(small.folder)), n_kills, seed=7)
    killing.run_with_kills(["extract", str(small.recipe), *given], tmp_path, when)

    made, expected = killing.identities(tmp_path / "lake"), killing.identities(small.lake)
    assert made.items() <= expected.items()
    assert is_done(plan(read_recipe(small.recipe), Warehouse(tmp_path / "lake"), small.roots, "extract"))
    assert killing.left_behind(tmp_path) == []
    sound = killing.run_with_kills(["verify"], tmp_path, [])
    assert f"sound: {len(made)} artifacts" in sound.printed


def _extraction(times: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """The part of a whole run that `extract` does too: up to the last features, without the alignment."""
    last_s = max(at_s for at_s, path in times if "/features/" in path)
    return [
        (at_s, path)
        for at_s, path in times
        if at_s <= last_s and path.startswith("lake/") and "/intervals/" not in path
    ]
