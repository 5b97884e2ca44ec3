"""Damage to a lake, and its repair, as the command line tells it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.flows.audit.little import Little, flip
from tests.flows.partly import lake_copy
from tests.flows.saying import Say, saying
from tests.flows.small import Small


@pytest.fixture
def tell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    return saying(monkeypatch, capsys)


def test_verify_finds_one_flipped_bit_and_what_it_taints(say: Say, small: Small, tmp_path: Path) -> None:
    assert say("verify", "--json").json == [] and say("verify", "--deep", "--json").json == []
    n_artifacts = len(small.warehouse.artifacts())
    assert say("verify", "--deep").out == f"sound: {n_artifacts} artifacts, every file has the bytes it was made with\n"
    warehouse = lake_copy(small, tmp_path)
    raw = warehouse.artifacts("raw")[0]
    flip(raw.path("files.parquet"))
    faults = say("verify", "--deep", "--lake", str(warehouse.root))
    assert faults.code == 1 and faults.err == ""
    assert faults.out.startswith(f"{raw.key[:12]}  file 'files.parquet' has other bytes than when it was made; taints ")
    assert faults.out.endswith("\nnot sound: 1 faults of 1 artifacts or names\n")
    (fault,) = json.loads(say("verify", "--deep", "--lake", str(warehouse.root), "--json").out)
    assert fault["key"] == raw.key and warehouse.resolve("reports/small").key in fault["taints"]
    assert (fault["what"], fault["folder"]) == ("bytes", f"artifacts/raw/{raw.key}")


def test_a_quick_look_says_what_it_did_not_do(tell: Say, little: Little) -> None:
    lake, n = str(little.warehouse.root), len(little.warehouse.artifacts())
    said = (
        f"sound: {n} artifacts, with their manifests, inputs and names, and every file's size; --deep reads the bytes"
    )
    assert tell("verify", "--lake", lake).out == f"{said}\n"
    split = little.warehouse.artifacts("split")[0]
    flip(split.path("split.parquet"))
    assert tell("verify", "--lake", lake).out == f"{said}\n"
    split.path("split.parquet").write_bytes(b"")
    found = tell("verify", "--lake", lake)
    assert found.code == 1 and "file 'split.parquet' has 0 bytes, but had" in found.out


def test_verify_names_a_damaged_name_and_what_to_do(tell: Say, little: Little) -> None:
    path = little.warehouse.root / "refs" / "reports" / "little.json"
    path.unlink()
    path.mkdir()
    faults = tell("verify", "--lake", str(little.warehouse.root))
    assert faults.code == 1 and faults.err == ""
    assert faults.out == (
        f"refs/reports/little  {path} cannot be read (IsADirectoryError: [Errno 21] Is a directory: '{path}'): "
        "delete it, and the next run writes it again\nnot sound: 1 faults of 1 artifacts or names\n"
    )


def test_repair_makes_again_what_is_damaged_and_says_what_it_did(tell: Say, little: Little, tmp_path: Path) -> None:
    lake = str(little.warehouse.root)
    metrics, extra = little.warehouse.artifacts("metrics")[0], little.warehouse.artifacts("split")[0]
    flip(metrics.path("metrics.parquet"))
    (extra.folder / "notes.txt").write_text("mine")
    told = tell("verify", "--repair", "--lake", lake, "--workers", "1")
    lines = told.out.splitlines()
    assert told.code == 0 and lines[0].split()[:3] == ["score", "1", "new"]
    n = len(little.warehouse.artifacts())
    assert lines[1:] == [
        f"{extra.key[:12]}  moved aside: 'split/{extra.key}/notes.txt' is now below .damaged/extra",
        f"{metrics.key[:12]}  repaired: made again, with the bytes it had",
        f"sound: {n} artifacts, every file has the bytes it was made with; {lake}/.damaged holds what could not be "
        "repaired, or belonged nowhere",
    ]
    assert tell("verify", "--repair", "--lake", lake, "--json").json == {"repair": [], "faults": []}


def test_what_cannot_be_repaired_is_told_with_its_taints_and_fails(
    tell: Say, little: Little, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = little.warehouse.artifacts("utterances")[0]
    flip(reading.path("utterances.parquet"))
    monkeypatch.setenv("EMOLAKE_ROOT_TONES", str(tmp_path / "away"))
    told = tell("verify", "--repair", "--lake", str(little.warehouse.root), "--workers", "1")
    n = len(little.warehouse.artifacts())
    first, *faults, last = told.out.splitlines()
    assert told.code == 1 and last.startswith("not sound: ")
    assert first.startswith(
        f"{reading.key[:12]}  not repaired: corpus 'tones' is not at {tmp_path}/away: say where it is with "
        "--root tones=FOLDER; it lies in .damaged; taints "
    )
    assert 0 < int(first.split()[-2]) < n and any("is not in the lake" in line for line in faults)


def test_recipes_are_named_for_a_repair_only(tell: Say, little: Little) -> None:
    refused = tell("verify", "--recipe", "demo", "--lake", str(little.warehouse.root))
    assert refused.code == 2 and "is for --repair" in refused.err
