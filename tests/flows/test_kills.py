"""kill -9 at any moment: what is made afterwards has the bytes of an undisturbed run, and nobody lives on.

The whole demo, killed ten times, is in `tests/test_demo_kills.py`; `tests/reliability` kills smaller runs in many ways.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.plan import is_done, plan
from flows.recipe import read_recipe
from tests.flows import killing
from tests.flows.small import Small, films_recipe
from warehouse import Warehouse
from warehouse.audit.lineage import closure_up

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for orphans in /proc")


@pytest.mark.slow  # `tests/reliability` kills a smaller run in `make test`
def test_extraction_that_is_killed_makes_the_same_bytes(small: Small, tmp_path: Path) -> None:
    recipe = tmp_path / "films.toml"
    recipe.write_text(films_recipe(), encoding="utf-8")
    films = {a.digest for a in small.warehouse.artifacts("utterances") if a.request.params["corpus"] == "films"}
    own = [a for a in small.warehouse.artifacts("features") if films & set(a.request.inputs["utterances"])]
    keys = {a.key for a in own if a.request.step != "extractors.encoder"}
    times = [(at_s, path) for at_s, path in killing.timeline(small.folder) if path.split("/")[-2] in keys]
    assert len(times) == len(keys) > 3
    _is_killed_and_makes_the_same_bytes(small, recipe, {"films": small.roots["films"]}, tmp_path, times, 1)


@pytest.mark.slow
def test_extraction_that_waits_for_a_fit_too(small: Small, tmp_path: Path) -> None:
    known = small.warehouse.artifacts()
    rows = closure_up(known, [a.key for a in known if a.request.kind == "features"])  # and the fit that rows wait for
    times = [(at_s, path) for at_s, path in killing.timeline(small.folder) if path.split("/")[-2] in rows]
    assert any("/checkpoint/" in path for _, path in times)
    _is_killed_and_makes_the_same_bytes(small, small.recipe, small.roots, tmp_path, times, 3)


def _is_killed_and_makes_the_same_bytes(
    small: Small, recipe: Path, roots: dict[str, Path], folder: Path, times: list[tuple[float, str]], n_kills: int
) -> None:
    given = [part for name, root in roots.items() for part in ("--root", f"{name}={root}")]
    when = killing.moments(times, n_kills, seed=7)
    killing.run_with_kills(["extract", str(recipe), *given], folder, when)

    made, expected = killing.identities(folder / "lake"), killing.identities(small.lake)
    assert made.items() <= expected.items()
    assert is_done(plan(read_recipe(recipe), Warehouse(folder / "lake"), roots, "extract"))
    assert killing.left_behind(folder) == []
    sound = killing.run_with_kills(["verify"], folder, [])
    assert f"sound: {len(made)} artifacts" in sound.printed
