"""Names of what is unfinished say whose it is."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from warehouse import in_progress
from warehouse.in_progress import (
    disk_ns,
    here,
    is_here,
    is_left,
    is_running,
    is_surely_left,
    owner,
    unfinished,
    write_atomically,
)


def test_is_running() -> None:
    assert is_running(os.getpid()) and is_running(1)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert not is_running(gone.pid)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="has no /proc")
def test_a_process_that_ended_and_was_not_asked_for_its_end_runs_no_more() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie
        assert not is_running(ended.pid)


def test_what_a_process_left_is_known_by_its_name_when_it_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    name = unfinished()
    assert not is_left(Path(name)) and not is_left(Path("notes")) and not is_left(Path(f".lake.json.{name}"))
    monkeypatch.setattr(in_progress, "is_running", lambda pid: False)
    assert is_left(Path(name)) and is_left(Path(f".lake.json.{name}")) and not is_left(Path("gpu-77-0123"))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with the id of this machine."""
    path = tmp_path / "machine-id"
    path.write_text("0123456789abcdef0123456789abcdef\n")
    monkeypatch.setattr(in_progress, "_MACHINE", path)
    return path


def _proc(folder: Path, boot: str, namespace: int) -> Path:
    """What /proc says of a place, where this process is."""
    (folder / "sys/kernel/random").mkdir(parents=True)
    (folder / "sys/kernel/random/boot_id").write_text(f"{boot}-4711-4711-4711-471147114711\n")
    (folder / "self/ns").mkdir(parents=True)
    (folder / "self/ns/pid").touch()
    status = os.stat

    class Numbered(type(folder)):  # type: ignore[misc]
        """A path whose namespace has the number that is wanted."""

        def stat(self, **how: bool) -> os.stat_result:
            found = status(self, **how)
            is_space = self.name == "pid" and self.parent.name == "ns"
            return os.stat_result((found[0], namespace, *found[2:])) if is_space else found

    return Numbered(folder)


@pytest.mark.parametrize(("boot", "namespace", "is_swept"), [
    ("aaaaaaaa", 0xEFFFFFFC, True),  # the host itself, as it is now: its process is gone
    ("bbbbbbbb", 0xEFFFFFFC, True),  # the host itself, before it was started anew: whoever has the number now
    ("aaaaaaaa", 0xF0001234, False),  # a container of the same name on the same host
    ("bbbbbbbb", 0xF0001234, False),  # one that may be on another host
])  # fmt: skip
@pytest.mark.usefixtures("machine")
def test_what_a_container_of_the_same_name_makes_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boot: str, namespace: int, is_swept: bool
) -> None:
    """Its processes have the numbers of ours, or numbers that here nobody has."""
    monkeypatch.setattr(in_progress, "_PROC", _proc(tmp_path / "theirs", boot, namespace))
    theirs, is_restarted = Path(unfinished()), boot == "bbbbbbbb"
    monkeypatch.setattr(in_progress, "_PROC", _proc(tmp_path / "ours", "aaaaaaaa", 0xEFFFFFFC))
    assert is_here(theirs) == (is_swept and not is_restarted)
    assert is_left(theirs) == is_restarted * is_swept, "a process with its number runs here"
    monkeypatch.setattr(in_progress, "is_running", lambda pid: False)
    assert is_left(theirs) == is_swept


@pytest.mark.parametrize(("theirs", "ours", "is_restarted"), [
    ("aaaa", "aaaa", True), ("aaaa", "bbbb", False), ("aaaa", "", False), ("", "aaaa", False), ("", "", False),
])  # fmt: skip
def test_of_two_machines_of_one_name_neither_was_the_other_before(
    tmp_path: Path, machine: Path, monkeypatch: pytest.MonkeyPatch, theirs: str, ours: str, is_restarted: bool
) -> None:
    monkeypatch.setattr(in_progress, "_PROC", _proc(tmp_path / "theirs", "bbbbbbbb", 0xEFFFFFFC))
    machine.write_text(theirs)
    name = Path(unfinished())
    monkeypatch.setattr(in_progress, "_PROC", _proc(tmp_path / "ours", "aaaaaaaa", 0xEFFFFFFC))
    machine.write_text(ours)
    assert is_left(name) == is_surely_left(name) == is_restarted
    machine.unlink()
    older = Path(unfinished())
    assert not is_left(name) and here().endswith(".effffffc") and is_here(older)
    machine.write_text("aaaa")
    assert is_here(older) and not here().endswith("aaaa"), "as the version before named it"


def test_in_a_container_nothing_of_another_start_is_taken_for_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_progress, "is_running", lambda pid: False)
    for boot in ("aaaaaaaa", "bbbbbbbb"):
        monkeypatch.setattr(in_progress, "_PROC", _proc(tmp_path / boot, boot, 0xF0001234))
        named = Path(unfinished())
        monkeypatch.setattr(in_progress, "_PROC", _proc(tmp_path / f"{boot}-now", "aaaaaaaa", 0xF0001234))
        assert is_left(named) == (boot == "aaaaaaaa")


def test_names_of_older_versions_and_of_hosts_without_proc_say_the_host_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = Path(f"{socket.gethostname()}-{os.getpid()}-0a")
    assert is_here(older) and not is_left(older)
    monkeypatch.setattr(in_progress, "_PROC", tmp_path)
    assert here() == socket.gethostname() and owner() == f"{here()}-{os.getpid()}-"
    assert is_here(older) and not is_left(older)
    monkeypatch.setattr(in_progress, "is_running", lambda pid: False)
    assert is_left(older) and not is_left(Path("gpu-77-0a")) and not is_here(Path("notes"))
    assert not is_surely_left(older), "many hosts have one name"


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
    now_ns = disk_ns(tmp_path / "scratch", 0)
    (tmp_path / "after").touch()
    assert (tmp_path / "before").stat().st_mtime_ns <= now_ns <= (tmp_path / "after").stat().st_mtime_ns
    assert list((tmp_path / "scratch").iterdir()) == [] and disk_ns(tmp_path / "after", 7) == 7
