"""The table of schedules, from made-up answers of a server and without one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from flows.operate import status
from flows.operate.serving import SERVING
from warehouse import Warehouse
from warehouse.operating_errors import ServerRefuses

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def deployment(name: str, cron: str, **more: Any) -> dict[str, Any]:
    schedule = {"active": True, "schedule": {"cron": cron, "timezone": "UTC"}}
    return {"id": f"id-{name}", "name": name, "paused": False, "schedules": [schedule], **more}


def run(name: str, kind: str, state: str, due: str, began: str | None = None, ended: str | None = None,
        message: str = "") -> dict[str, Any]:  # fmt: skip
    return {
        "id": f"{name}{due}", "name": f"a run of {name}", "deployment_id": f"id-{name}",
        "state": {"type": kind, "name": state, "message": message}, "expected_start_time": due, "start_time": began,
        "end_time": ended,
    }  # fmt: skip


def at(clock: str) -> str:
    return f"2026-11-22T{clock}Z"


DEPLOYMENTS = [
    deployment("demo-build", "0 2 * * *"), deployment("demo-verify", "0 5 * * sun"),
    deployment("demo-run", "0 3 1 * *"), deployment("demo-canary", "0 4 * * sun", paused=True),
]  # fmt: skip
RUNS = [
    run("demo-build", "SCHEDULED", "Scheduled", "2026-11-23T02:00:00Z"),
    run("demo-build", "SCHEDULED", "Scheduled", "2026-11-24T02:00:00Z"),
    run("demo-build", "COMPLETED", "Completed", at("02:00:00"), at("02:00:05"), at("04:01:06"), "12 of 90 rows new"),
    run("demo-build", "CRASHED", "Crashed", "2026-11-21T02:00:00Z", "2026-11-21T02:00:05Z", "2026-11-21T02:00:06Z"),
    run("demo-run", "RUNNING", "Running", at("11:00:00"), at("11:00:00.5")),
    run("demo-verify", "SCHEDULED", "Late", at("05:00:00")),
    run("demo-verify", "FAILED", "Failed", "2026-11-15T05:00:00Z", "2026-11-15T05:00:00Z", "2026-11-15T05:00:09Z",
        "not sound: 1 faults"),
]  # fmt: skip


def server(request: httpx.Request) -> httpx.Response:
    asked = json.loads(request.content)
    assert "emolake" in asked["deployments"]["tags"]["all_"], "others may use the server too"
    if request.url.path == "/api/deployments/filter":
        return httpx.Response(200, json=DEPLOYMENTS)
    assert request.url.path == "/api/flow_runs/filter"
    waiting, (own,) = "any_" in asked["flow_runs"]["state"]["type"], asked["deployments"]["id"]["any_"]
    runs = [one for one in RUNS if (one["state"]["type"] == "SCHEDULED") == waiting and one["deployment_id"] == own]
    return httpx.Response(200, json=runs)


@pytest.fixture
def told() -> status.Status:
    with httpx.Client(transport=httpx.MockTransport(server), base_url="http://x/api") as client:
        return status.told_by(client, "http://x/api", NOW)


def test_each_deployment_has_its_next_run_and_its_last(told: status.Status) -> None:
    rows = {row["deployment"]: row for row in told.deployments}
    assert list(rows) == ["demo-build", "demo-canary", "demo-run", "demo-verify"]
    build = rows["demo-build"]
    assert (build["schedule"], build["next"]) == ("0 2 * * * UTC", "2026-11-23T02:00:00Z")
    assert build["last"] == at("02:00:05")
    assert (build["state"], build["took_s"], build["message"]) == ("Completed", 7261.0, "12 of 90 rows new")
    assert (rows["demo-run"]["state"], rows["demo-run"]["took_s"]) == ("Running", 3599.5), "so far"
    assert rows["demo-verify"]["late"] == at("05:00:00") and rows["demo-verify"]["state"] == "Failed"
    assert (rows["demo-canary"]["schedule"], rows["demo-canary"]["state"]) == ("paused", "")
    assert {(one["state"], one["deployment"]) for one in told.runs} == {
        ("Late", "demo-verify"), ("Crashed", "demo-build"), ("Running", "demo-run"), ("Failed", "demo-verify"),
    }  # fmt: skip
    assert json.loads(json.dumps(told.as_json()))["server"] == "http://x/api"


def test_the_last_run_stands_for_its_deployment() -> None:
    def last(*runs: tuple[str, str]) -> str:
        told = [
            run("demo-build", kind, kind.title(), at(clock), at(clock), message=f"{kind} {clock}")
            for clock, kind in runs
        ]  # fmt: skip
        row = status._row(DEPLOYMENTS[0], [status._run(one, "demo-build", NOW) for one in told])
        return str(row["message"])

    left = ("02:00:00", "RUNNING")  # of a process that was killed
    assert last(left, ("03:00:00", "FAILED"), ("04:00:00", "FAILED")) == "FAILED 04:00:00"
    assert last(left, ("03:00:00", "COMPLETED")) == "COMPLETED 03:00:00"
    assert last(left, ("03:00:00", "RUNNING")) == "RUNNING 03:00:00"
    assert last(left, ("03:00:00", "CANCELLED")) == "RUNNING 02:00:00", "that one came while this one worked"
    assert last(("02:00:00", "FAILED"), ("03:00:00", "CANCELLED")) == "CANCELLED 03:00:00"


@contextmanager
def listening(code: int, seen: list[str | None]) -> Iterator[str]:
    """The address of a server that knows no deployments, and answers so."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(self.headers.get("Authorization"))
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(code)
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as own:
        thread = threading.Thread(target=own.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{own.server_port}/api"
        own.shutdown()
        thread.join()


def test_a_server_is_asked_as_prefect_asks_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_KEY, temporary_settings

    warehouse, seen = Warehouse(tmp_path / "lake", create=True), []
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nobody is
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with listening(200, seen) as url:
        monkeypatch.setattr(status, "_set_by_user", lambda: url)
        assert status.status_of(warehouse).server == url, "no proxy is asked for this machine"
        with temporary_settings({PREFECT_API_KEY: "secret"}):
            status.status_of(warehouse)
        with temporary_settings({PREFECT_API_KEY: "secret", PREFECT_API_AUTH_STRING: "me:word"}):
            status.status_of(warehouse)
    assert seen == [None, "Bearer secret", "Basic bWU6d29yZA=="]
    assert not status._is_here("https://api.prefect.cloud/api") and status._is_here("http://localhost:4200/api")


@pytest.mark.parametrize("code", [401, 403])
def test_a_server_that_refuses_says_so(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(code, []) as url:
        monkeypatch.setattr(status, "_set_by_user", lambda: url)
        with pytest.raises(ServerRefuses, match=rf"{url} answers, but not to you \({code}\): set PREFECT_API_KEY"):
            status.status_of(Warehouse(tmp_path / "lake", create=True))


def test_the_table_is_aligned_and_coloured_on_a_terminal_only(told: status.Status) -> None:
    plain = Console(width=200, force_terminal=False)
    with plain.capture() as captured:
        plain.print(status.status_table(told.deployments))
        plain.print(status.runs_table(told.runs))
    lines = captured.get().splitlines()
    assert lines[0].split() == [*status.COLUMNS]
    place = lines[0].index("state")
    states = [(line[place:].split() or [""])[0] for line in lines[1:5]]
    assert states == ["Completed", "", "Running", "Late"]
    assert "2:01:01" in lines[1] and "should have begun at" in lines[4] and "not sound" in lines[4]
    assert "\x1b" not in captured.get()
    coloured = Console(width=200, force_terminal=True, color_system="standard")
    with coloured.capture() as captured:
        coloured.print(status.status_table(told.deployments))
    assert "\x1b[32mCompleted" in captured.get() and "\x1b[33mLate" in captured.get()
    assert status.style_of("TimedOut", "FAILED") == "red" and status.style_of("Pending", "PENDING") == ""


def lines_of(runs: list[dict[str, Any]]) -> list[str]:
    """The table of runs, with its header."""
    console = Console(width=200, force_terminal=False)
    with console.capture() as captured:
        console.print(status.runs_table([status._run(one, one["name"].rpartition(" ")[2], NOW) for one in runs]))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_runs_that_ended_alike_are_one_line_by_their_deployment() -> None:
    """A run that never began bears a name that the server made up; and a long fit has many of them cancelled."""
    full = "Deployment concurrency limit reached."
    cancelled = [
        run("demo-train", "CANCELLED", "Cancelled", at(f"10:{minute:02}:00"), message=full)
        for minute in range(59, 19, -1)
    ]  # fmt: skip
    rest = [
        run("demo-train", "CANCELLED", "Cancelled", at("10:01:00"), message="by hand"),
        run("demo-run", "RUNNING", "Running", at("10:00:30"), at("10:00:30")),
        run("demo-run", "RUNNING", "Running", "2026-11-21T11:00:00Z", "2026-11-21T11:00:00Z"),
    ]  # fmt: skip
    header, *lines = lines_of(cancelled + rest)
    assert header.split()[:3] == ["run", "of", "due"] and header.endswith("alike before")
    assert [line.split()[0] for line in lines] == ["demo-train", "demo-train", "demo-run", "demo-run"]
    assert full in lines[0] and lines[0].split()[-1] == "39" and ":59  Cancelled" in lines[0], "the newest"
    assert lines[1].endswith("by hand") and lines[2].endswith("1:59:30"), "what works is no less of it"
    assert lines[3].endswith("25:00:00") and "a run of" not in "".join(lines)


def test_only_the_newest_lines_of_runs_are_shown() -> None:
    failed = [run("demo-run", "FAILED", "Failed", at(f"10:{n:02}:00"), message=f"no {n}") for n in range(20, 0, -1)]
    assert [line.split()[-1] for line in lines_of(failed)[1:]] == [str(n) for n in range(20, 10, -1)]


def test_where_no_server_answers_the_lake_says_what_it_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = Warehouse(tmp_path / "lake", create=True)
    monkeypatch.setattr(status, "_set_by_user", lambda: "")
    assert status.status_of(warehouse) == status.Status("")
    home = warehouse.root / ".prefect"
    home.mkdir()
    (home / SERVING).write_text('{"url": "http://127.0.0.1:1/api", "pid": 1}')  # one that was killed
    assert status.status_of(warehouse).server == ""
