"""An artifact that was found whole is read and listed again as soon as anybody touched it, and not before."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.warehouse.small_lake import small_lake
from warehouse import Artifact, Request, Warehouse, manifest_index
from warehouse.artifact import MANIFEST, SEAL, Work
from warehouse.audit import untouched, verify
from warehouse.audit.sound import sound
from warehouse.audit.untouched import quick_faults
from warehouse.hashing import canonical_json
from warehouse.manifest_index import MANY
from warehouse.manifest_rows import unsealed, write_sealed


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders whose manifests were read; none is listed that was not. What has just come is settled here."""
    folders: list[Path] = []
    listing = verify._listing

    def reading(folder: Path) -> Artifact | None:
        folders.append(folder)
        return sound(folder)

    def listed(artifact: Artifact) -> tuple[dict[str, int], dict[str, str]]:
        assert artifact.folder in folders
        return listing(artifact)

    monkeypatch.setattr(untouched, "sound", reading)
    monkeypatch.setattr(verify, "_listing", listed)
    monkeypatch.setattr(untouched, "SETTLED_NS", -(10**18))
    return folders


def looked(lake: Warehouse) -> list[str]:
    """What is wrong."""
    return [f"{fault.key}: {fault.what}" for fault in quick_faults(lake)]


def test_what_nobody_touched_is_read_once(tmp_path: Path, read: list[Path]) -> None:
    lake = small_lake(tmp_path / "lake").lake
    folders = sorted(artifact.folder for artifact in lake.artifacts())
    assert looked(lake) == [] and sorted(read) == folders
    read.clear()
    assert looked(Warehouse(lake.root)) == [] == read, "nor by another process"


def test_what_has_just_changed_is_read_again(tmp_path: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """It may change again without another time of change."""
    monkeypatch.setattr(untouched, "SETTLED_NS", 10**18)
    lake = small_lake(tmp_path / "lake").lake
    assert looked(lake) == [] and looked(lake) == []
    assert len(read) == 2 * len(lake.artifacts()) and not (lake.root / ".cache" / "sound").exists()


def test_a_file_that_has_just_changed_is_looked_at_again(
    tmp_path: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though its folder and its manifest have not."""
    lake = small_lake(tmp_path / "lake").lake
    folder = lake.artifacts()[-1].folder
    file = next(path for path in folder.iterdir() if path.name != MANIFEST)
    time.sleep(0.05)
    os.utime(file)
    monkeypatch.setattr(untouched, "SETTLED_NS", 0)
    monkeypatch.setattr(untouched, "disk_ns", lambda place, unknown: file.stat().st_ctime_ns)
    assert looked(lake) == []
    read.clear()
    assert looked(lake) == [] and read == [folder]


def edited(folder: Path) -> None:
    """Of the same size and, by its own word, as old as before."""
    status, value = os.stat(folder / MANIFEST), json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_bytes(canonical_json(value | {SEAL: value[SEAL][::-1]}))
    os.utime(folder / MANIFEST, ns=(status.st_atime_ns, status.st_mtime_ns))


def linked(folder: Path) -> None:
    folder.rename(folder.parents[2] / folder.name)
    folder.symlink_to(folder.parents[2] / folder.name)


def misplaced(folder: Path) -> None:
    (folder.parents[1] / "elsewhere").mkdir()
    folder.rename(folder.parents[1] / "elsewhere" / folder.name)


def cut(path: Path) -> None:
    """By its own word it is as old as before."""
    status = os.stat(path)
    path.write_bytes(path.read_bytes()[:-1])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def led_astray(path: Path) -> None:
    """A link to the same bytes."""
    path.rename(path.parents[4] / path.name)
    path.symlink_to(path.parents[4] / path.name)


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (edited, "manifest"), (linked, "bytes"), (misplaced, "place"), (shutil.rmtree, None),
        (lambda folder: (folder / MANIFEST).unlink(), "remains"),
        (lambda folder: (folder / "text.txt").unlink(), "bytes"),
        (lambda folder: cut(folder / "text.txt"), "bytes"),
        (lambda folder: cut(folder / "in" / "text.txt"), "bytes"),
        (lambda folder: led_astray(folder / "in" / "text.txt"), "bytes"),
        (lambda folder: (folder / "one more").write_text(""), "extra"),
        (lambda folder: (folder / "in" / "one more").write_text(""), "extra"),
        (lambda folder: (folder / "one more").mkdir(), "extra"),
    ],
)  # fmt: skip
def test_what_somebody_touched_is_seen(
    tmp_path: Path, read: list[Path], damage: Callable[[Path], Any], what: str | None
) -> None:
    lake = small_lake(tmp_path / "lake").lake
    folder = lake.perform(Work(Request("features", "made", 1), _write_both, {"text": "a text"})).folder
    assert looked(lake) == []
    read.clear()
    assert looked(lake) == [] == read
    damage(folder)
    assert looked(lake) == looked(lake) == ([f"{folder.name}: {what}"] if what else [])


def test_another_sound_manifest_is_not_taken_for_the_one_that_is_remembered(
    tmp_path: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a kind with many the index does not look again, as long as nothing comes or goes."""
    monkeypatch.setattr(manifest_index, "SETTLED_NS", -(10**18))
    lake, other = (Warehouse(tmp_path / name, create=True) for name in ("lake", "other"))
    for number in range(MANY + 1):
        lake.perform(Work(Request("features", "made", 1, {"number": number}), _write, {"text": f"text {number}"}))
    held = lake.artifacts()[7]
    cites = Request("features", "made", 1, {"number": -1}, {"features": (held.digest,)})
    lake.perform(Work(cites, _write, {"text": "cites it"}))
    changed = other.perform(Work(held.request, _write, {"text": "other bytes"}))
    assert looked(Warehouse(lake.root)) == []
    for path in changed.folder.iterdir():
        shutil.copy(path, held.folder)
    told = [f"{cites.key}: input"]
    assert [looked(Warehouse(lake.root)) for _ in range(3)] == [told] * 3


def _write(folder: Path, text: str) -> None:
    (folder / "text.txt").write_text(text)


def _write_both(folder: Path, text: str) -> None:
    (folder / "in").mkdir()
    for place in (folder, folder / "in"):
        _write(place, text)


@pytest.mark.parametrize("said", [5, None, {}, [1, 2, 3], {MANIFEST: [1, 2, 3]}, {"": 1, MANIFEST: 2, "\0": 3}])
def test_a_memory_of_another_form_remembers_nothing(tmp_path: Path, read: list[Path], said: Any) -> None:
    lake = small_lake(tmp_path / "lake").lake
    assert looked(lake) == []
    path, (one, *_) = lake.root / ".cache" / "sound", lake.artifacts()
    known = json.loads(unsealed(path) or b"")
    assert len(known) == len(lake.artifacts())
    whole = known[f"{one.request.kind}/{one.key}"]
    forms = [said, {MANIFEST: whole[MANIFEST]}]  # the second would hold for now, of too little
    for form in forms:
        write_sealed(path, json.dumps(known | {f"{one.request.kind}/{one.key}": form}).encode(), tmp_path / "x" / "y")
        read.clear()
        assert looked(lake) == [] and read == [one.folder]


@pytest.mark.parametrize("harm", [b"", b"not ours", b"cut"])
def test_damage_remembers_nothing(tmp_path: Path, read: list[Path], harm: bytes) -> None:
    lake = small_lake(tmp_path / "lake").lake
    looked(lake)
    path = lake.root / ".cache" / "sound"
    path.write_bytes(path.read_bytes()[:-1] if harm == b"cut" else harm)
    read.clear()
    assert looked(lake) == [] and len(read) == len(lake.artifacts())


def test_a_lake_that_cannot_be_written_to_can_be_asked(tmp_path: Path, read: list[Path]) -> None:
    lake = small_lake(tmp_path / "lake").lake
    shutil.rmtree(lake.root / ".cache", ignore_errors=True)
    (lake.root / ".cache").write_text("no folder")
    assert looked(lake) == [] == looked(lake) and len(read) == 2 * len(lake.artifacts())
