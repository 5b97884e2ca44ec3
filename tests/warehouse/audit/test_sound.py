"""What is told at a glance is what a close look says, too."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.warehouse.small_lake import small_lake
from warehouse import Request
from warehouse.artifact import MANIFEST, SEAL, read_artifact, seal_of
from warehouse.audit.sound import sound
from warehouse.hashing import canonical_json


@pytest.mark.parametrize("block", [1, 7, 1 << 16])
def test_every_artifact_is_known_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr("warehouse.audit.sound._BLOCK", block)
    for artifact in small_lake(tmp_path / "lake").lake.artifacts():
        found, close = sound(artifact.folder), read_artifact(artifact.folder)
        assert found == close and found is not None and found.request.as_json() == close.request.as_json()
        assert found.key == close.key == found.request.key


def resealed(**changed: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        value = json.loads((folder / MANIFEST).read_bytes()) | changed
        (folder / MANIFEST).write_bytes(canonical_json(value | {SEAL: seal_of(value)}))

    return apply


def written_otherwise(folder: Path) -> None:
    (folder / MANIFEST).write_text(json.dumps(json.loads((folder / MANIFEST).read_bytes())))


def linked(folder: Path) -> None:
    (folder / MANIFEST).rename(folder.with_name("elsewhere.json"))
    (folder / MANIFEST).symlink_to(folder.with_name("elsewhere.json"))


def unsealed(folder: Path) -> None:
    value = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_bytes(canonical_json({name: one for name, one in value.items() if name != SEAL}))


@pytest.mark.parametrize(
    "damage",
    [
        written_otherwise, linked, unsealed, resealed(digest="0" * 64), resealed(files=[]), resealed(more=1),
        resealed(created_at="never"), resealed(environment=None), lambda folder: (folder / MANIFEST).unlink(),
        lambda folder: (folder / MANIFEST).write_text("[]"), lambda folder: (folder / MANIFEST).write_text("[" * 9999),
    ],
)  # fmt: skip
def test_what_is_not_as_it_was_written_is_left_to_a_closer_look(tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    small = small_lake(tmp_path / "lake")
    folder = small.named["split"].folder
    damage(folder)
    assert sound(folder) is None


def test_what_lies_elsewhere_is_left_to_a_closer_look(tmp_path: Path) -> None:
    folder = small_lake(tmp_path / "lake").named["split"].folder
    for place in (folder.with_name("f" * 32), folder.parent.parent / "others" / folder.name):
        shutil.copytree(folder, place)
        assert sound(place) is None
    (folder.parent.parent / "linked").mkdir()
    (folder.parent.parent / "linked" / folder.name).symlink_to(folder)
    assert sound(folder.parent.parent / "linked" / folder.name) is None


def test_a_kind_is_one_folder(tmp_path: Path) -> None:
    folder = small_lake(tmp_path / "lake").named["split"].folder
    value = json.loads((folder / MANIFEST).read_bytes())
    value["request"]["kind"] = f"artifacts/{folder.parent.name}"
    key = Request.from_json(value["request"]).key
    resealed(request=value["request"])(folder)
    assert sound(folder.rename(folder.with_name(key))) is None
