"""`emolake serve` and `emolake status` as far as they go without a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows import cli_operate
from flows.operate import status
from tests.flows.operate.nightly import SCHEDULE, read
from tests.flows.saying import saying


def test_what_would_run_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    say = saying(monkeypatch, capsys)
    monkeypatch.chdir(tmp_path)
    read(tmp_path, SCHEDULE)
    roots = [part for name in ("iemocap", "meld", "films") for part in ("--root", f"{name}={tmp_path}")]
    told = say("serve", "small.toml", *roots, "--dry-run")
    assert told.code == 0 and [line.split()[0] for line in told.out.splitlines()[1:]] == [
        "small-build", "small-run", "small-verify", "small-canary", "small-train",
    ]  # fmt: skip
    rows = say("serve", "small.toml", *roots, "--dry-run", "--json").json
    assert rows[0]["parameters"]["roots"].keys() == {"iemocap", "meld", "films"}

    unknown = say("serve", "small.toml", "--dry-run")
    assert unknown.code == 1 and "say where it is with --root iemocap=FOLDER" in unknown.err
    assert say("serve", "small.toml", *roots, "--port", "65536").code == 2
    unscheduled = say("serve", "demo", *roots, "--dry-run")
    assert unscheduled.code == 1 and "the recipe 'demo' does not say when it runs" in unscheduled.err

    served: list[str] = []

    def serve(deployed: object, home: Path, port: int, told: object, ended: object) -> None:
        told("http://127.0.0.1:4200/api")  # type: ignore[operator]
        served.append(f"{home.relative_to(tmp_path)} {port}")

    monkeypatch.setattr(cli_operate, "serve_deployments", serve)
    told = say("serve", "small.toml", *roots, "--port", "0")
    assert told.code == 0 and told.out.endswith(f"serving {tmp_path / 'lake'}\nPrefect: http://127.0.0.1:4200\n")
    assert served == ["lake/.prefect 0"]


def test_without_a_server_status_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    say = saying(monkeypatch, capsys)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(status, "_set_by_user", lambda: "")
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "lake.json").write_text('{"format": 1}', encoding="utf-8")
    told = say("status")
    assert (told.code, told.err) == (0, "") and told.out.startswith("no server answers for the lake")
    assert say("status", "--json").json == {"server": None, "deployments": [], "runs": [], "reports": []}
    row = dict.fromkeys(("deployment", "schedule", "next", "last", "state", "type", "message"), "")
    found = status.Status("http://x/api", [row | {"deployment": "demo-build", "late": None, "took_s": 3.0}])
    monkeypatch.setattr(status, "status_of", lambda warehouse: found)
    lines = say("status").out.splitlines()
    assert lines[0].split() == [*status.COLUMNS] and lines[1].split() == ["demo-build", "0:00:03"]
    assert lines[-1] == "Prefect: http://x"
    monkeypatch.setattr(status, "status_of", lambda warehouse: status.Status("http://x/api"))
    assert say("status").out.startswith("nothing of ours is scheduled at http://x/api")
