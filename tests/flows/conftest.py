"""One small lake, built once through the command line and Prefect, that the tests of this room read."""

from __future__ import annotations

import json

import pytest

from features import sandbox
from tests.flows.small import Small, emolake, small_recipe


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
