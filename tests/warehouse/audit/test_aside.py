"""What is damaged goes where nobody finds it, and what is misplaced goes back, each by a rename."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.warehouse.small_lake import SmallLake, small_lake
from warehouse import Warehouse
from warehouse.artifact import MANIFEST
from warehouse.audit.aside import ASIDE, damaged_in, lost_in, names_aside, put_back, remove, set_aside, tidy
from warehouse.audit.verify import verify


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    return small_lake(tmp_path / "lake")


def all_aside(small: SmallLake) -> list[str]:
    """Sets aside whatever verify finds; what was told."""
    return [fate.told for fault in verify(small.lake) for fate in set_aside(small.lake, fault)]


def test_a_sound_lake_stays_as_it_is(small: SmallLake) -> None:
    assert all_aside(small) == [] and list(put_back(small.lake, verify(small.lake))) == []
    tidy(small.lake)
    assert not (small.lake.root / ASIDE).exists() and lost_in(small.lake, []) == set()


def test_damaged_artifacts_are_known_by_what_their_manifests_say(small: SmallLake) -> None:
    split, shard, labels = (small.named[name] for name in ("split", "text shard", "labels main"))
    split.path("split.parquet").write_bytes(b"")
    (shard.folder / MANIFEST).write_text("{")
    value = json.loads((labels.folder / MANIFEST).read_bytes())
    (labels.folder / MANIFEST).write_text(json.dumps(value | {"digest": "0" * 64}))
    assert all_aside(small) == []
    found = {one.key: one for one in damaged_in(small.lake)}
    assert found.keys() == {split.key, shard.key, labels.key}
    assert found[split.key].artifact is not None and found[split.key].digests == {split.digest}
    assert found[shard.key].artifact is None and found[shard.key].digests == frozenset()
    assert found[labels.key].digests == {labels.digest, "0" * 64}
    assert {a.key for a in Warehouse(small.lake.root).artifacts()}.isdisjoint(found)
    assert lost_in(Warehouse(small.lake.root), list(found.values())) == set()  # all of it lies aside


def test_of_two_damages_of_one_artifact_the_newer_stays_aside(small: SmallLake) -> None:
    split = small.named["split"]
    for content in (b"first", b"second"):
        split.folder.mkdir(parents=True, exist_ok=True)
        split.path("split.parquet").write_bytes(content)
        all_aside(small)
    assert (small.lake.root / ASIDE / "split" / split.key / "split.parquet").read_bytes() == b"second"
    assert not any((small.lake.root / ".scratch").iterdir())


def test_a_misplaced_artifact_goes_back_unless_its_place_is_taken(small: SmallLake) -> None:
    split, truth = small.named["split"], small.named["truth"]
    split.folder.rename(split.folder.with_name("f" * 32))
    (truth.folder.parent.parent / "split" / truth.key).symlink_to(truth.folder)
    (fate,) = put_back(small.lake, verify(small.lake))
    assert (fate.key, fate.told) == (split.key, f"put back from artifacts/split/{'f' * 32}")
    all_aside(small)
    assert verify(small.lake) == [] and (small.lake.root / ASIDE / "split" / truth.key).is_symlink()
    remove(small.lake, small.lake.root / ASIDE / "split" / truth.key)
    tidy(small.lake)
    assert not (small.lake.root / ASIDE).exists() and truth.path("truth.parquet").is_file()


def test_names_that_a_recipe_writes_again_go_aside_and_no_others(small: SmallLake) -> None:
    refs = small.lake.root / "refs"
    (refs / "features" / "voice.json").write_text("{")
    (refs / "corpora" / "main.json").write_text("{")
    all_aside(small)
    assert names_aside(small.lake) == [Path("refs/features/voice.json")]
    assert (refs / "corpora" / "main.json").exists()


def test_what_is_cited_and_neither_there_nor_aside_is_lost(small: SmallLake) -> None:
    metrics = small.named["metrics"]
    small.lake.set_ref("reports/demo", {"artifact": metrics.key, "metrics": metrics.key})
    for name in ("split", "metrics"):
        remove(small.lake, small.named[name].folder)
    assert lost_in(Warehouse(small.lake.root), []) == {small.named["split"].digest, metrics.key}
