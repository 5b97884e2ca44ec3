"""From a bundle and the same raw files come the same bytes; from other files a sentence that names them."""

from __future__ import annotations

import importlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flows import run as runs
from flows.audit.bundle import read_bundle, shards_of, write_bundle
from flows.audit.rebuild import compare, rebuild, summary
from flows.line import Line
from flows.recipe import read_recipe
from tests.flows.saying import saying
from tests.flows.swept import swept_line
from tests.flows.wholly import Wholly
from warehouse import Warehouse
from warehouse.audit.errors import OtherRawFiles, ShardsThere

CONSOLE = Console(quiet=True)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    line = swept_line(tmp_path_factory.mktemp("swept"), verb="pack")
    write_bundle(line.recipe.folder / "b.zip", line.recipe, line.warehouse, dict(line.roots))
    return line


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run without Prefect."""

    def run(path: Path, setup: runs.Setup, verb: str, console: Any) -> None:
        recipe, warehouse = read_recipe(path), Warehouse(setup.lake)
        roots = runs.roots_of(recipe, warehouse, setup.roots, setup.weights)
        getattr(Line(recipe, warehouse, roots, Wholly(warehouse)), verb)()

    monkeypatch.setattr(runs, "run", run)


def setup_for(lake: Path, clips: Path) -> runs.Setup:
    return runs.Setup(lake, {"clips": clips}, "cpu", 1)


def own_copy(line: Line, folder: Path) -> Path:
    """The raw files as somebody else has them."""
    return Path(shutil.copytree(line.roots["clips"], folder / "clips"))


@pytest.mark.usefixtures("in_process")
def test_every_shard_comes_out_the_same_however_rows_were_cut(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, bundle = own_copy(line, tmp_path), line.recipe.folder / "b.zip"
    monkeypatch.setattr(importlib.import_module("features.extract"), "BATCH_S", 3.0)
    found = rebuild(bundle, setup_for(tmp_path / "lake", clips), CONSOLE)
    assert [one.outcome for one in found] == ["same", "same"]
    assert {one.source for one in found} == {"extractors.opensmile vector", "utterances text"}
    ours = {a.key for a in Warehouse(tmp_path / "lake").artifacts("features")}
    assert len(ours) > len(line.warehouse.artifacts("features")), "or the law above shows little"
    again = rebuild(bundle, setup_for(tmp_path / "lake", clips), CONSOLE)
    assert again == found, "a lake where the same bundle was begun goes on"
    assert [row["n"] for row in summary(found)] == [1, 1]


@pytest.mark.usefixtures("in_process")
def test_other_files_are_named_before_anything_is_extracted(line: Line, tmp_path: Path) -> None:
    clips = own_copy(line, tmp_path)
    wave = sorted(clips.rglob("*.wav"))[0]
    wave.write_bytes(wave.read_bytes()[:-2] + b"\1\1")
    table = clips / "clips.csv"
    table.write_text(table.read_text())
    with pytest.raises(
        OtherRawFiles,
        match=rf"copy of corpus 'clips' is not the one .*: 1 files have other bytes \({wave.name}\); its shards can",
    ):
        rebuild(line.recipe.folder / "b.zip", setup_for(tmp_path / "lake", clips), CONSOLE)
    assert Warehouse(tmp_path / "lake").artifacts("features") == []


@pytest.mark.usefixtures("in_process")
def test_missing_and_extra_files_are_told_apart(line: Line, tmp_path: Path) -> None:
    clips = own_copy(line, tmp_path)
    wave = sorted(clips.rglob("*.wav"))[0]
    wave.rename(wave.with_name("renamed.wav"))
    table = clips / "clips.csv"
    table.write_text(table.read_text().replace(f"\n{wave.name}", "\nrenamed.wav"))
    with pytest.raises(
        OtherRawFiles,
        match=rf"1 files are missing \({wave.name}\); 1 files are not in the bundle's \(renamed\.wav\); "
        r"1 files have other bytes \(clips\.csv\)",
    ):
        rebuild(line.recipe.folder / "b.zip", setup_for(tmp_path / "lake", clips), CONSOLE)


def test_a_lake_with_other_work_proves_nothing(line: Line, tmp_path: Path) -> None:
    with pytest.raises(ShardsThere, match=r"holds other work, so finding shards there would prove nothing: name an"):
        rebuild(line.recipe.folder / "b.zip", setup_for(line.warehouse.root, Path(line.roots["clips"])), CONSOLE)


def test_what_differs_says_which_library_moved(line: Line) -> None:
    bundle = read_bundle(line.recipe.folder / "b.zip")
    shards = shards_of(line.recipe, line.warehouse, dict(line.roots))
    first, second = bundle.shards
    packages = first.environment["packages"] | {"numpy": "1.0"}
    moved = replace(first, digest="f" * 64, environment=first.environment | {"packages": packages})
    strange = replace(second, digest="e" * 64, request=replace(second.request, version=99))
    told = replace(bundle, artifacts=[moved, strange])
    other, not_made = compare(told, line.warehouse, shards)
    assert other.outcome == "other bytes" and other.why.startswith("numpy 1.0 → ")
    assert (not_made.outcome, not_made.why) == ("not made", "this version of Emolake asks for other shards")
    alike = replace(bundle, artifacts=[replace(first, digest="f" * 64)])
    assert next(compare(alike, line.warehouse, shards)).why.endswith("its extractor is not deterministic")


@pytest.mark.usefixtures("in_process")
def test_from_the_command_line(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    say = saying(monkeypatch, capsys)
    shared = say("share", str(line.recipe.folder / "swept.toml"), "--lake", str(line.warehouse.root))
    assert shared.out.startswith("bundle: swept.bundle.zip, ")
    assert "MiB for 2 shards\nothers: emolake rebuild" in shared.out
    root = f"clips={own_copy(line, tmp_path)}"
    rebuilt = say("rebuild", "swept.bundle.zip", "--lake", "mine", "--root", root)
    assert rebuilt.code == 0 and rebuilt.out.endswith("\n2 of 2 shards have the same bytes\n"), rebuilt
    again = say("rebuild", "swept.bundle.zip", "--lake", "mine", "--json").json
    assert [one["outcome"] for one in again] == ["same", "same"]
