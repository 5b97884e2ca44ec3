"""Names of what is unfinished say whose it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from warehouse import in_progress
from warehouse.in_progress import disk_ns, is_left, unfinished, write_atomically


def test_is_running() -> None:
    assert in_progress._is_running(os.getpid()) and in_progress._is_running(1)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert not in_progress._is_running(gone.pid)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="has no /proc")
def test_a_process_that_ended_and_was_not_asked_for_its_end_runs_no_more() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie
        assert not in_progress._is_running(ended.pid)


def test_what_a_process_left_is_known_by_its_name_when_it_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    name = unfinished()
    assert not is_left(Path(name)) and not is_left(Path("notes")) and not is_left(Path(f".lake.json.{name}"))
    monkeypatch.setattr(in_progress, "_is_running", lambda pid: False)
    assert is_left(Path(name)) and is_left(Path(f".lake.json.{name}")) and not is_left(Path("gpu-77-0123"))


def test_a_value_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomically(tmp_path / "refs" / "one.json", {"root": "/a"})

    def refuse(old: str, new: str) -> None:
        raise OSError("no")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="no"):
        write_atomically(tmp_path / "refs" / "one.json", {"root": "/b"})
    assert [json.loads(path.read_bytes()) for path in (tmp_path / "refs").iterdir()] == [{"root": "/a"}]


def test_the_clock_of_a_disk_is_asked_with_a_file_that_does_not_stay(tmp_path: Path) -> None:
    (tmp_path / "before").touch()
    now_ns = disk_ns(tmp_path / "scratch" / "one")
    (tmp_path / "after").touch()
    assert (tmp_path / "before").stat().st_mtime_ns <= now_ns <= (tmp_path / "after").stat().st_mtime_ns
    assert list((tmp_path / "scratch").iterdir()) == [] and disk_ns(tmp_path / "after" / "one") == 0
