"""One small lake, built once through the command line and Prefect, that the tests of this room read."""

from __future__ import annotations

import json

import pytest

from features import sandbox
from tests.flows.small import Small, emolake, small_recipe


@pytest.hookimpl(tryfirst=True)  # before the workers read the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the small lake go to one worker: it takes half a minute to build."""
    for test in items:
        if "small" in getattr(test, "fixturenames", ()):
            test.add_marker(pytest.mark.xdist_group("small"))


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    folder = tmp_path_factory.mktemp("small")
    roots = sandbox.write(folder / "sandbox", scale=0.1)
    recipe = folder / "small.toml"
    recipe.write_text(small_recipe(), encoding="utf-8")
    given = [part for name, root in roots.items() for part in ("--root", f"{name}={root}")]
    printed = emolake("run", str(recipe), *given, "--json", cwd=folder)
    assert printed.returncode == 0, printed.stderr
    return Small(folder, recipe, roots, printed, json.loads(printed.stdout))
