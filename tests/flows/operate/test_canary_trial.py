"""Canaries run again: of what is on record nothing is written, and what moved is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from features.extractors.waveform import Waveform
from flows.operate.canary_trial import Trial, trials
from flows.recipe import read_recipe
from tests.flows.partly import contents, lake_copy
from tests.flows.small import Small
from warehouse import Warehouse


def test_numbers_that_are_on_record_are_the_same_and_nothing_is_written(small: Small, tmp_path: Path) -> None:
    text = small.recipe.read_text(encoding="utf-8").replace('"eGeMAPSv02"', '"GeMAPSv01b"')
    (tmp_path / "other.toml").write_text(text, encoding="utf-8")
    recipe, warehouse = read_recipe(tmp_path / "other.toml"), lake_copy(small, tmp_path)
    before = contents(warehouse.root)

    found = {one.feature: one for one in trials(recipe, warehouse, small.roots, "cpu")}
    assert found.pop("teacher").outcome == "same"
    assert set(found.values()) == {Trial(name, "same") for name in ("lld", "egemaps", "waveform")}
    kinds = {path.split("/")[1] for path in contents(warehouse.root).keys() - before.keys()}
    assert kinds == {"canary", "first_canary"}, "the new extractor's first numbers are kept, as an extraction would"


def test_numbers_that_moved_although_no_library_did_are_said(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, warehouse = read_recipe(small.recipe), lake_copy(small, tmp_path)
    before, load = contents(warehouse.root), Waveform.load

    def louder(self: Waveform, device: str) -> Any:
        run = load(self, device)
        return lambda clips: [
            {name: (array / 2).astype(array.dtype) for name, array in answer.items()} for answer in run(clips)
        ]

    monkeypatch.setattr(Waveform, "load", louder)
    found = {one.feature: one for one in trials(recipe, warehouse, small.roots, "cpu")}
    assert {name: one.outcome for name, one in found.items()} == {
        "lld": "same", "egemaps": "same", "waveform": "moved", "teacher": "same",
    }  # fmt: skip
    assert "moved by 0.5 of its scale, and no library did" in found["waveform"].told
    assert contents(warehouse.root) == before


def test_what_waits_for_something_is_not_tried(small: Small, tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "empty", create=True)
    found = trials(read_recipe(small.recipe), warehouse, small.roots, "cpu")
    assert {one.outcome for one in found} == {"not tried"}
    assert found[0].told == "'record meld' is not done yet"
