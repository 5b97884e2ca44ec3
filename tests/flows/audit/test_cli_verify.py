"""Damage to a copy of the small lake, as the command line tells it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.flows.partly import lake_copy
from tests.flows.saying import Say
from tests.flows.small import Small


def test_verify_finds_one_flipped_bit_and_what_it_taints(say: Say, small: Small, tmp_path: Path) -> None:
    assert say("verify", "--json").json == []
    n_artifacts = len(small.warehouse.artifacts())
    assert say("verify").out == f"sound: {n_artifacts} artifacts, every file has the bytes it was made with\n"
    warehouse = lake_copy(small, tmp_path)
    raw = warehouse.artifacts("raw")[0]
    path = raw.path("files.parquet")
    flipped = bytearray(path.read_bytes())
    flipped[100] ^= 1
    path.unlink()  # a link to the small lake's own file
    path.write_bytes(flipped)
    faults = say("verify", "--lake", str(warehouse.root))
    assert faults.code == 1 and faults.err == ""
    assert faults.out.startswith(f"{raw.key[:12]}  file 'files.parquet' has other bytes than when it was made; taints ")
    (fault,) = json.loads(say("verify", "--lake", str(warehouse.root), "--json").out)
    assert fault["key"] == raw.key and warehouse.resolve("reports/small").key in fault["taints"]


def test_verify_names_a_damaged_name_and_what_to_do(say: Say, small: Small, tmp_path: Path) -> None:
    warehouse = lake_copy(small, tmp_path)
    path = warehouse.root / "refs" / "reports" / "small.json"
    path.unlink()
    path.mkdir()
    faults = say("verify", "--lake", str(warehouse.root))
    assert faults.code == 1 and faults.err == ""
    assert faults.out == (
        f"refs/reports/small  {path} cannot be read (IsADirectoryError: [Errno 21] Is a directory: '{path}'): "
        "delete it, and the next run writes it again\n"
    )
