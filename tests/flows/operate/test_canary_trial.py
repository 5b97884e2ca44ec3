"""Canaries run again: of what is on record nothing is written, and what moved is said."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from features.extractors.waveform import Waveform
from flows.operate import canary_trial
from flows.operate.canary_trial import Trial, trials
from flows.recipe import read_recipe
from tests.flows.partly import contents, lake_copy
from tests.flows.small import Small
from warehouse import Request, Warehouse
from warehouse.artifact import Work


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


def test_an_extractor_that_reads_a_model_is_tried_although_other_canaries_come_before_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its model learned from another feature, whose own canary is asked for on the way to it."""
    warehouse, ran = Warehouse(tmp_path / "lake", create=True), []
    works = {name: Work(Request("canary", f"extractors.{name}", 1, {}, {}), write_nothing) for name in ("mfcc", "deep")}

    class Asking:
        def __init__(self, recipe: Any, lake: Warehouse, roots: Any, doer: Any, device: str) -> None:
            self.doer = doer

        def feature(self, name: str) -> None:
            for one in ("mfcc", "deep")[: 1 + (name == "deep")]:
                self.doer.step(f"canary {one}", [works[one]])

    def tried(warehouse: Warehouse, feature: str, work: Work) -> Trial:
        ran.append(feature)
        warehouse.perform(work)
        return Trial(feature, "same")

    monkeypatch.setattr(canary_trial, "Line", Asking)
    monkeypatch.setattr(canary_trial, "_tried", tried)
    recipe: Any = SimpleNamespace(features={"mfcc": None, "deep": None})
    assert trials(recipe, warehouse, {}, "cpu") == [Trial("mfcc", "same"), Trial("deep", "same")]
    assert ran == ["mfcc", "deep"], "each once"


def write_nothing(folder: Path) -> None:
    (folder / "numbers").write_bytes(b"")


def test_what_waits_for_something_is_not_tried(small: Small, tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "empty", create=True)
    found = trials(read_recipe(small.recipe), warehouse, small.roots, "cpu")
    assert {one.outcome for one in found} == {"not tried"}
    assert found[0].told == "'record meld' is not done yet"
