"""`emolake top` and `emolake logs` on a lake whose runs were made by hand."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows import cli_watch, run_log
from flows.run_events import FLOW, run_folders
from tests.flows.recorded import Here, record, work
from tests.flows.saying import Say, saying
from tests.flows.unended import unended
from warehouse import Request, Warehouse, Work
from warehouse.errors import Untreatable


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


@pytest.fixture
def say(lake: Warehouse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    monkeypatch.chdir(lake.root.parent)
    monkeypatch.setattr(cli_watch, "MOMENT_S", 0.0)
    monkeypatch.setattr(cli_watch, "EVERY_S", 0.01)
    return saying(monkeypatch, capsys)


def refuse(folder: Path) -> None:
    raise Untreatable("odd")


def test_a_lake_without_runs_says_so(say: Say) -> None:
    assert say("top").out.startswith("no run is under way in ") and say("top", "--json").json == []
    assert say("logs").out == "no run was logged\n" and say("logs", "--json").json == []
    assert say("logs", "--runs").out == "no run was logged\n"
    assert "no run, or more than one, is called 'demo'" in say("logs", "demo").err


def test_a_log_is_a_line_per_event_or_json(say: Say, lake: Warehouse) -> None:
    record(lake, [("extract a", [work("a", 2)]), ("extract b", [work("b")])], "first")
    with pytest.raises(Untreatable, match="odd"):
        record(lake, [("extract c", [work("c"), Work(Request("made", "refuse", 1), refuse)])], "second")
    told = say("logs", "first", "--json").json
    assert [event["event"] for event in told].count("made") == 2
    lines = say("logs", "first").out.splitlines()
    assert len(lines) == len(told)
    made = next(line for line in lines if " made " in line).split()
    assert made[1:6] == ["made", "extract", "a", work("a").request.key[:12], "2"]
    assert {event["step"] for event in say("logs", "first", "--step", "b", "--json").json} == {"extract b"}
    trouble = say("logs", "--failures", "--json").json
    assert [(event["event"], event["error"]) for event in trouble] == [
        ("failed", "Untreatable"), ("run ended", "Untreatable")
    ]  # fmt: skip
    rows = say("logs", "--runs", "--json").json
    assert [(row["recipe"], row["made"], row["failed"]) for row in rows] == [("first", 2, 0), ("second", 1, 1)]
    assert rows[1]["state"].startswith("failed after ") and "first" in say("logs", "--runs").out


def test_cut_lines_are_said_to_be_left_out(say: Say, lake: Warehouse) -> None:
    record(lake, [("one", [work("a")])])
    (folder,) = run_folders(lake.root)
    with open(folder / FLOW, "a") as stream:
        stream.write('{"time": "20')
    said = say("logs")
    assert said.code == 0 and "cut lines that are left out: 1 (whoever wrote them was killed" in said.err


def test_a_log_is_followed_until_its_run_is_over(
    say: Say, lake: Warehouse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter([True, True, False])
    monkeypatch.setattr(cli_watch, "is_live", lambda folder: next(answers))
    record(lake, [("one", [work("a")])])
    told = [json.loads(line) for line in say("logs", "--follow", "--json").out.splitlines()]
    assert [event["event"] for event in told][-1] == "run ended" and next(answers, "asked thrice") == "asked thrice"


def test_top_once_tells_of_the_runs_under_way(say: Say, lake: Warehouse) -> None:
    with run_log.logged(lake.root, "small", verb="run"):
        Here(lake).step("one", [work("a")])
        (view,) = say("top", "--once", "--json").json
        text = say("top").out
    assert view["recipe"] == "small" and view["steps"][0]["made"] == 1
    assert "small" in text and "one" in text and "\x1b" not in text


@pytest.mark.parametrize("end", ["q", pytest.param("\x03", marks=pytest.mark.slow)])
def test_top_on_a_terminal_ends_by_a_key_and_leaves_the_run_and_the_terminal(lake: Warehouse, end: str) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "flows", "top", "--lake", str(lake.root)]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    with unended(lake.root) as run:
        shown = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True,
            cwd=Path(__file__).parents[2], preexec_fn=_take_terminal,
        )  # fmt: skip
        said = _until(ours, b"1 works in flight, 2 waiting")
        os.write(ours, end.encode())
        said += _until(ours, b"is under way" if end == "q" else b"interrupted")
        assert shown.wait(timeout=20) == (0 if end == "q" else 130)
        assert run.poll() is None
    os.close(ours)
    os.close(theirs)
    assert b"\x1b[?1049l" in said, "the screen is given back"


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _until(terminal: int, words: bytes) -> bytes:
    said, deadline = b"", time.monotonic() + 60
    while words not in said and time.monotonic() < deadline:
        if select.select([terminal], [], [], 1)[0]:
            said += os.read(terminal, 65_536)
    assert words in said, said
    return said
