"""A lake whose small artifacts were merged is the same to every plan, and to whoever asks what a number rests on."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from flows.audit.repair import repair
from tests.flows.audit.little import Little, at_once, flip, write_little
from tests.flows.saying import Say, saying
from tests.warehouse.faulty_store import FaultyStore, on_store, put_lake
from warehouse import Warehouse, copies
from warehouse.audit.tombstones import JOURNALS
from warehouse.audit.verify import verify
from warehouse.compaction import Merge, merges
from warehouse.merged import is_merged


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Little]:
    """With two artifacts of each extractor."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_module("features.extract"), "BATCH_S", 5.0)
        yield write_little(tmp_path_factory.mktemp("compact"))


@pytest.fixture
def tell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    return saying(monkeypatch, capsys)


def test_on_a_store_others_know_that_something_is_merged(
    tell: Say, little: Little, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_names = list[int]()

    def before(request: str, path: str) -> None:
        if request == "pipe_file" and path.endswith("manifest.json"):
            n_names.append(len(on_store(".working")))

    monkeypatch.setenv("EMOLAKE_COPIES", str(tmp_path / "copies"))
    FaultyStore.reset()
    put_lake(little.warehouse.root)
    FaultyStore.before = staticmethod(before)
    try:
        tell("compact", "--lake", "faulty://bucket/lake", "--apply")
        assert n_names == [1, 1] and on_store(".working") == {}
    finally:
        FaultyStore.reset()
        copies.REMOTES.clear()


def test_small_artifacts_are_merged_taken_and_made_again(tell: Say, little: Little) -> None:
    lake, recipe = ("--lake", str(little.warehouse.root)), str(little.recipe)
    traced = tell("lineage", "reports/little", *lake).out
    listed = tell("compact", *lake)
    header, *rows, last = listed.out.splitlines()
    assert header.split() == ["kind", "step", "name", "artifacts", "into", "MiB"]
    assert {tuple(row.split()[:5]) for row in rows} == {
        ("features", "extractors.opensmile", "functionals", "2", "1"),
        ("features", "extractors.mfcc", "frames", "2", "1"),
    }  # fmt: skip
    assert last == "4 artifacts can be merged into 2: --apply"
    assert tell("compact", *lake, "--json").json["merged"] is False
    done = tell("compact", *lake, "--apply").out.splitlines()
    assert done[-2].startswith("merged: 4 artifacts into 2, ") and done[-1].endswith("`emolake gc` takes them")
    again = tell("compact", *lake, "--apply", "--json").json
    assert again["artifacts"] == [] and again["to_take"]["artifacts"] == 4
    assert tell("plan", recipe, *lake).out.splitlines()[-1].startswith("0 of ")
    taken = tell("gc", *lake, "--older-than", "0", "--delete", "--json").json
    assert taken["deleted"] == 4 and tell("compact", *lake).out == "nothing to merge\n"
    assert tell("plan", recipe, *lake).out.splitlines()[-1].startswith("0 of ")
    assert tell("lineage", "reports/little", *lake).out == traced
    assert tell("gc", *lake, "--older-than", "0", "--json").json["artifacts"] == []
    warehouse = Warehouse(little.warehouse.root)
    assert verify(warehouse) == []
    before = {a.key: a.digest for a in warehouse.artifacts()}
    flip(next(a for a in warehouse.artifacts() if is_merged(a)).path("features.parquet"))
    fates = repair(little.setup(), verify(Warehouse(warehouse.root)), at_once(Warehouse(warehouse.root)))
    assert {fate.outcome for fate in fates} == {"repaired"}, fates
    found = Warehouse(little.warehouse.root)
    assert verify(found) == [] and before.items() <= {a.key: a.digest for a in found.artifacts()}.items()
    assert tell("plan", recipe, *lake).out.splitlines()[-1].startswith("0 of ")


def test_from_the_first_look_to_the_last_merge_nothing_is_taken_away(
    tell: Say, little: Little, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A purge between the two would be merged over, and could never be completed."""
    looked: list[bool] = []

    def beside(warehouse: Warehouse, *how: object) -> list[Merge]:
        at_work = [path for path in (warehouse.root / ".scratch").glob("*") if path.is_dir()]
        looked.append(bool(at_work))
        return merges(warehouse)

    monkeypatch.setattr("flows.cli_compact.merges", beside)
    lake = ("--lake", str(little.warehouse.root))
    tell("compact", *lake)
    (little.warehouse.root / JOURNALS).mkdir()
    (little.warehouse.root / JOURNALS / "half.json").write_text("{}")
    assert "purge half of this lake is not done" in tell("compact", *lake, "--apply").err
    assert looked == [False, True]
