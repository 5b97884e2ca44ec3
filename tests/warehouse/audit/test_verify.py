"""What a damaged lake is found to be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.warehouse.small_lake import SmallLake, small_lake
from warehouse import Artifact, Request, Warehouse
from warehouse.artifact import MANIFEST
from warehouse.audit.lineage import Node
from warehouse.audit.verify import verify


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    return small_lake(tmp_path / "lake")


def put(lake: Warehouse, name: str, *inputs: Artifact, text: str | None = None, **params: Any) -> Artifact:
    request = Request("raw", name, 1, params, {"from": tuple(a.digest for a in inputs)})
    return lake.materialize(request, partial(write_text, text=text or name))


def write_text(folder: Path, text: str) -> None:
    (folder / "x").write_text(text)


def shape(node: Node) -> Any:
    """A tree as nested pairs: step (with '*' where repeated) and branches."""
    return (node.artifact.request.step + "*" * node.repeated, [shape(branch) for branch in node.branches])


def test_a_sound_lake_has_no_faults_and_progress_reaches_the_end(small: SmallLake) -> None:
    told: list[tuple[int, int]] = []
    assert verify(small.lake, lambda done, total: told.append((done, total))) == []
    n = len(small.lake.artifacts())
    assert told[-1] == (n, n) and [done for done, _ in told] == sorted(done for done, _ in told)


def flip(artifact: Artifact) -> None:
    path = artifact.path("shard.tar")
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)


def edit(change: Callable[[dict[str, Any]], Any]) -> Callable[[Artifact], None]:
    def apply(artifact: Artifact) -> None:
        path = artifact.folder / MANIFEST
        value = json.loads(path.read_bytes())
        change(value)
        path.write_text(json.dumps(value))

    return apply


DAMAGE: list[tuple[Callable[[Artifact], Any], str]] = [
    (flip, "file 'shard.tar' has other bytes than when it was made"),
    (lambda a: a.path("shard.tar").unlink(), "file 'shard.tar' is missing"),
    (lambda a: a.path("more.txt").write_text("x"), "file 'more.txt' is in its folder but not in its manifest"),
    (edit(lambda m: m["files"]["shard.tar"].update(n_bytes=1)), "the digest is not that of its files"),
    (edit(lambda m: m.update(digest="0" * 64)), "the digest is not that of its files"),
    (edit(lambda m: m["request"].update(version=9)), "its request has key"),
    (edit(lambda m: m.pop("files")), "KeyError: 'files'"),
    (lambda a: (a.folder / MANIFEST).write_text("{"), "JSONDecodeError"),
]


@pytest.mark.parametrize(("damage", "problem"), DAMAGE)
@pytest.mark.parametrize("fresh", [True, False])
def test_damage_is_named_with_what_it_taints(
    small: SmallLake, damage: Callable[[Artifact], Any], problem: str, fresh: bool
) -> None:
    victim = small.named["voice shard main"]
    damage(victim)
    faults = verify(Warehouse(small.lake.root) if fresh else small.lake)
    own = [fault for fault in faults if fault.key == victim.key]
    assert len(own) == 1 and problem in own[0].problem
    assert all(len(set(fault.taints)) == len(fault.taints) for fault in faults)
    tainted = {key for fault in faults for key in (fault.key, *fault.taints)}
    assert tainted == {victim.key, *(small.named[name].key for name in ("checkpoint", "predictions", "metrics"))}


def test_a_lost_input_is_a_fault_of_each_that_cites_it(small: SmallLake) -> None:
    lost = small.named["voice shard main"]
    shutil.rmtree(lost.folder)
    faults = {fault.key: fault for fault in verify(Warehouse(small.lake.root))}
    named = small.named
    assert faults.keys() == {named["checkpoint"].key, named["predictions"].key}
    fault = faults[named["checkpoint"].key]
    assert fault.problem == f"its input 'shards:voice' {lost.digest[:12]} is not in the lake"
    assert set(fault.taints) == {named["predictions"].key, named["metrics"].key}


def test_two_damages_are_two_faults(small: SmallLake) -> None:
    (small.named["selection"].folder / MANIFEST).write_text("{")
    flip(small.named["text shard"])
    assert {fault.key for fault in verify(Warehouse(small.lake.root))} == {
        small.named["selection"].key, small.named["text shard"].key
    }  # fmt: skip


@given(st.integers(0, 10**6))
def test_any_flipped_bit_of_any_file_is_found(lake_of_module: SmallLake, place: int) -> None:
    files = lake_of_module.lake.root.glob("artifacts/*/*/*")
    paths = sorted(path for path in files if path.name != MANIFEST and path.stat().st_size)
    path = paths[place % len(paths)]
    before = path.read_bytes()
    content = bytearray(before)
    content[place % len(content)] ^= 1 << place % 8
    path.write_bytes(content)
    try:
        assert [fault.key for fault in verify(lake_of_module.lake)] == [path.parent.name]
    finally:
        path.write_bytes(before)


@pytest.fixture(scope="module")
def lake_of_module(tmp_path_factory: pytest.TempPathFactory) -> SmallLake:
    return small_lake(tmp_path_factory.mktemp("flips") / "lake")
