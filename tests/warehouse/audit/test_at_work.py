"""A lake in which something is made or served is left as it is."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from warehouse.audit.at_work import refuse_work, unserved
from warehouse.audit.errors import LakeAtWork, LakeServed
from warehouse.in_progress import owner


def test_scratch_of_another_process_is_work_and_ones_own_is_not(tmp_path: Path) -> None:
    refuse_work(tmp_path)
    (tmp_path / ".scratch" / f"{owner()}abc").mkdir(parents=True)
    refuse_work(tmp_path)
    for other in (f"elsewhere-{os.getpid() + 1}-abc", f"elsewhere-{os.getpid()}-abc"):
        (tmp_path / ".scratch" / other).mkdir()
        with pytest.raises(LakeAtWork, match=r"^something is being made in this lake \(elsewhere-"):
            refuse_work(tmp_path)
        (tmp_path / ".scratch" / other).rmdir()


def test_a_lake_is_served_for_as_long_as_the_lock_is_held(tmp_path: Path) -> None:
    home = tmp_path / ".prefect"
    with unserved(tmp_path):
        assert not home.exists(), "a lake that nobody ever served is not given a lock"
    home.mkdir()
    with open(home / "serving.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refuse_work(tmp_path)  # which an idle `serve` is not
        with pytest.raises(LakeServed, match=r"^`emolake serve` runs for the lake .*: end it, "), unserved(tmp_path):
            pass
    with unserved(tmp_path), open(home / "serving.lock", "wb") as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with unserved(tmp_path):
        pass
