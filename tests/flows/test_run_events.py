from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flows.run_events import FLOW, Reader, find_run, is_live, recipe_of, run_folders, runs_folder
from warehouse.operating_errors import UnknownRun


def line(second: int, event: str, **fields: Any) -> str:
    return json.dumps({"time": f"2026-11-22T00:00:{second:02}.000+00:00", "event": event} | fields) + "\n"


def folder(lake: Path, name: str) -> Path:
    path = runs_folder(lake) / name
    path.mkdir(parents=True)
    (path / FLOW).write_text(line(1, "run began"))
    return path


def test_a_run_is_found_by_name_by_its_beginning_and_by_its_recipe(tmp_path: Path) -> None:
    assert run_folders(tmp_path) == [] and find_run(tmp_path, None) is None
    first, second, other = (
        folder(tmp_path, name)
        for name in ("20261121T020000-demo-aaaa", "20261122T020000-demo-bbbb", "20261122T030000-other-cccc")
    )
    assert run_folders(tmp_path) == [first, second, other]
    assert find_run(tmp_path, None) == other and find_run(tmp_path, "demo") == second
    assert find_run(tmp_path, first.name) == find_run(tmp_path, "20261121") == first
    for asked in ("20261122", "nobody", ""):
        with pytest.raises(UnknownRun, match=f"no run, or more than one, is called '{asked}': give a recipe or one of"):
            find_run(tmp_path, asked)
    assert recipe_of("20261122T020000-a-b_c-bbbb") == "a-b_c"


def test_a_log_is_read_as_it_grows_and_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.run_events.is_live", lambda folder: True)
    run = folder(tmp_path, "20261121T020000-demo-aaaa")
    reader = Reader(run)
    (run / "host-7.jsonl").write_text(line(0, "began"))
    assert [event["event"] for event in reader.more()] == ["began", "run began"]
    assert reader.more() == []
    whole = line(3, "made", note="so ist’s")
    with open(run / FLOW, "ab") as stream:
        stream.write(line(2, "step began").encode() + whole.encode()[:50])
        stream.flush()
        assert [event["event"] for event in reader.more()] == ["step began"]
        stream.write(whole.encode()[50:])
    assert [event["event"] for event in reader.more()] == ["made"] and reader.n_cut == 0


def test_cut_lines_are_left_out_and_counted(tmp_path: Path) -> None:
    run = folder(tmp_path, "20261121T020000-demo-aaaa")
    with open(run / FLOW, "a") as stream:
        stream.write(line(2, "made")[:20] + "\n" + line(3, "made") + "[1]\n" + line(4, "made")[:30])
    reader = Reader(run)
    assert [event["event"] for event in reader.more()] == ["run began", "made"] and reader.n_cut == 3
    assert not is_live(run) and not is_live(tmp_path / "nowhere")


def test_a_log_that_is_taken_away_has_no_more_events(tmp_path: Path) -> None:
    run = folder(tmp_path, "20261121T020000-demo-aaaa")
    reader = Reader(run)
    assert len(reader.more()) == 1
    (run / FLOW).unlink()
    assert reader.more() == []
