"""What a damaged lake is found to be."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.warehouse.small_lake import SmallLake, small_lake
from warehouse import Artifact, Warehouse
from warehouse.artifact import MANIFEST
from warehouse.audit import verify as checks
from warehouse.audit.verify import verify
from warehouse.hashing import canonical_json


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    return small_lake(tmp_path / "lake")


def test_a_sound_lake_has_no_faults_and_progress_reaches_the_end(small: SmallLake) -> None:
    told: list[tuple[int, int]] = []
    assert verify(small.lake, lambda done, total: told.append((done, total))) == []
    n_bytes = sum(a.n_bytes for a in small.lake.artifacts())
    assert told[-1] == (n_bytes, n_bytes) and [done for done, _ in told] == sorted(done for done, _ in told)
    quick: list[tuple[int, int]] = []
    assert verify(small.lake, lambda done, total: quick.append((done, total)), deep=False) == []
    n = len(small.lake.artifacts())
    assert quick == [(number, n) for number in range(1, n + 1)]


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
def test_any_flipped_bit_of_any_file_is_found_that_of_a_manifest_too(lake_of_module: SmallLake, place: int) -> None:
    files = lake_of_module.lake.root.glob("artifacts/*/*/*")
    paths = sorted(path for path in files if path.stat().st_size)
    path = paths[place % len(paths)]
    before = path.read_bytes()
    content = bytearray(before)
    content[place % len(content)] ^= 1 << place % 8
    path.write_bytes(content)
    try:
        faults = verify(lake_of_module.lake)
        victims = {fault.key for fault in faults if fault.what not in ("input", "name")}
        assert victims == {path.parent.name}
        if path.name != MANIFEST:  # an artifact whose manifest is lost is missed by others
            assert len(faults) == 1
    finally:
        path.write_bytes(before)


@pytest.fixture(scope="module")
def lake_of_module(tmp_path_factory: pytest.TempPathFactory) -> SmallLake:
    return small_lake(tmp_path_factory.mktemp("flips") / "lake")


# -- ten kinds of corruption -----------------------------------------------------------------------------------------


def largest(folder: Path) -> Path:
    """A file of the artifact."""
    return max((path for path in folder.iterdir() if path.name != MANIFEST), key=lambda path: path.stat().st_size)


def flipped(folder: Path) -> None:
    content = bytearray(largest(folder).read_bytes())
    content[len(content) // 2] ^= 1
    largest(folder).write_bytes(content)


def truncated(folder: Path) -> None:
    largest(folder).write_bytes(largest(folder).read_bytes()[:-1])


def appended(folder: Path) -> None:
    largest(folder).write_bytes(largest(folder).read_bytes() + b"\0")


def missing(folder: Path) -> None:
    largest(folder).unlink()


def one_more(folder: Path) -> None:
    (folder / "below").mkdir()
    (folder / "below" / "more.txt").write_text("more")


def manifest_edited(folder: Path) -> None:
    value = json.loads((folder / MANIFEST).read_bytes())
    value["environment"]["python"] = "2.7"
    (folder / MANIFEST).write_bytes(canonical_json(value))


def manifest_missing(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def renamed(folder: Path) -> None:
    folder.rename(folder.with_name("f" * 32))


def of_another_kind(folder: Path) -> None:
    (folder.parent.parent / "others").mkdir()
    folder.rename(folder.parent.parent / "others" / folder.name)


def linked(folder: Path) -> None:
    path = largest(folder)
    path.rename(folder.parent.parent.parent / "elsewhere")
    path.symlink_to(folder.parent.parent.parent / "elsewhere")


def a_folder(folder: Path) -> None:
    path = largest(folder)
    path.unlink()
    path.mkdir()


def swapped(folder: Path) -> None:
    """Two files of the artifact, or where it has one, that and another artifact's."""
    others = [*sorted(folder.iterdir()), *sorted(folder.parent.parent.glob("*/*/*"))]
    other = next(path for path in others if path.name != MANIFEST and path.read_bytes() != largest(folder).read_bytes())
    path, beside = largest(folder), folder.parent.parent.parent / "beside"
    path.rename(beside), other.rename(path), beside.rename(other)


KINDS: dict[Callable[[Path], None], tuple[str, bool]] = {
    flipped: ("has other bytes than when it was made", False),
    truncated: (r"file '.*' has \d+ bytes, but had \d+ when it was made", True),
    appended: (r"file '.*' has \d+ bytes, but had \d+ when it was made", True),
    missing: ("file '.*' is missing", True),
    one_more: ("(folder 'below'|file 'below/more.txt') is in its folder but not in its manifest", True),
    manifest_edited: ("its manifest was edited: it is not what was written when the artifact was made", True),
    manifest_missing: (
        "its folder has no manifest, so it does not exist: remains of what was deleted or damaged",
        True,
    ),
    renamed: ("its request has key .*, but the folder is ffff", True),
    of_another_kind: ("it lies under 'others', but is of kind '.*': nobody finds it", True),
    linked: ("file '.*' is a link now", True),
    a_folder: ("file '.*' is a folder now", True),
    swapped: (r"has other bytes than when it was made|has \d+ bytes, but had", False),
}
"""Damage -> what is said of it, and whether it is seen without reading the files."""


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("damage", KINDS, ids=lambda damage: damage.__name__)
def test_every_corruption_of_every_artifact_is_found_and_nothing_else(
    lake_of_module: SmallLake, tmp_path: Path, damage: Callable[[Path], None], every: int
) -> None:
    """Another fourth of the artifacts for each corruption; all of all takes long."""
    told, is_quick = KINDS[damage]
    first = list(KINDS).index(damage) % every
    for number, artifact in enumerate(lake_of_module.lake.artifacts()[first::every]):
        lake = Warehouse(shutil.copytree(lake_of_module.lake.root, tmp_path / str(number)))
        place = artifact.folder.relative_to(lake_of_module.lake.root)
        damage(lake.root / place)
        faults = verify(lake)
        own = [fault for fault in faults if fault.what not in ("input", "name")]
        assert own and all(re.search(told, fault.problem) for fault in own)
        n_victims = 2 if damage is swapped else 1
        assert len({fault.key for fault in own}) <= n_victims
        assert damage is renamed or artifact.key in {fault.key for fault in own}
        missed = [fault for fault in faults if fault not in own]
        is_lost = damage in (manifest_missing, renamed)
        assert is_lost or missed == []
        assert all(artifact.digest[:12] in one.problem or artifact.key in one.key for one in missed)
        quick = verify(lake, deep=False)
        if is_quick:
            assert quick == faults
        assert all(one in faults for one in quick)
        shutil.rmtree(lake.root)


def test_a_stray_file_and_a_damaged_marker_are_named(small: SmallLake) -> None:
    (small.lake.root / "artifacts" / "notes.txt").write_text("x")
    (small.lake.root / "artifacts" / "raw" / "notes.txt").write_text("x")
    (small.lake.root / "lake.json").write_text("{}")
    assert {(fault.key, fault.what) for fault in verify(small.lake, deep=False)} == {
        ("notes.txt", "extra"), ("lake.json", "name")
    }  # fmt: skip


def test_a_manifest_without_bytes_of_its_own_is_an_edited_one(small: SmallLake) -> None:
    """Half a surrogate pair, where nothing is hashed but by the seal."""
    split = small.named["split"]
    edit(lambda value: value["environment"].update(python="\ud800"))(split)
    (fault,) = verify(small.lake)
    assert (fault.key, fault.what) == (split.key, "manifest")


def test_manifests_of_before_there_were_seals_are_sound(small: SmallLake) -> None:
    for artifact in small.lake.artifacts():
        edit(lambda value: value.pop("seal"))(artifact)
        (artifact.folder / MANIFEST).write_bytes(canonical_json(json.loads((artifact.folder / MANIFEST).read_bytes())))
    assert verify(Warehouse(small.lake.root)) == []


def test_what_is_committed_while_it_looks_is_no_fault(small: SmallLake, monkeypatch: pytest.MonkeyPatch) -> None:
    """An artifact that was made after its folder was listed, and is cited by one that was listed later."""
    folders = list(checks._folders(small.lake.root / "artifacts"))
    late = str(small.named["split"].folder)
    answers = iter([[one for one in folders if one != late], folders])
    monkeypatch.setattr(checks, "_folders", lambda root: next(answers))
    assert verify(small.lake) == []


def test_what_is_taken_away_while_it_looks_is_no_fault(small: SmallLake, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = list(checks._folders(small.lake.root / "artifacts"))
    shutil.rmtree(small.named["metrics"].folder)
    monkeypatch.setattr(checks, "_folders", lambda root: folders)
    assert verify(small.lake, deep=False) == []
