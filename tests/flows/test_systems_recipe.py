"""The recipe that runs all five systems in miniature, on a few clips of the sandbox."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from features.sandbox import checkpoints, meld
from flows.line import Line
from flows.recipe import read_recipe, recipe_path
from tests.flows.wholly import Wholly
from warehouse import Warehouse
from warehouse.audit.verify import verify


def test_its_encoders_are_the_same_each_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        checkpoints.write(tmp_path / name)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert {"model.safetensors", "tokenizer.json", "preprocessor_config.json"} <= {path.name for path in files}
    assert all((tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes() for file in files)


@pytest.mark.slow
def test_every_system_ends_in_the_report(tmp_path: Path) -> None:
    meld.write(tmp_path / "raw", meld.plan(0, 0.3), 0, lambda: None)
    checkpoints.write(tmp_path)
    recipe, warehouse = read_recipe(recipe_path("systems")), Warehouse(tmp_path / "lake", create=True)
    roots = {"meld": tmp_path / "raw"} | {f"checkpoints/{name}": tmp_path / name for name in recipe.checkpoints}
    line = Line(recipe, warehouse, roots, Wholly(warehouse))
    line.run()
    content = json.loads(line.report().path("report.json").read_text(encoding="utf-8"))
    assert {row["variant"] for row in content["scores"]} == {
        "cmd", "mced", "krishna", "mmer", "late", "early", "combined",
    }  # fmt: skip
    assert [one["model"] for one in content["explanations"]] == ["cmd", "krishna"]
    assert verify(warehouse) == []
