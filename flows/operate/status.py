"""What is scheduled, running, late and failed, as the Prefect server tells it; and what the lake knows without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
from rich.table import Table
from rich.text import Text

from flows.operate.deployments import TAG
from flows.operate.serving import address
from warehouse import Warehouse

WAIT_S = 5.0
COLUMNS = ("deployment", "schedule", "next", "last", "state", "took", "message")

_MOST = 200  # what the server gives at once
_STYLES = {"Completed": "green", "NotYet": "green", "Running": "cyan", "Late": "yellow", "Cancelled": "yellow"}
_BAD = {"FAILED", "CRASHED"}


@dataclass(frozen=True)
class Status:
    """What a server says.

    Args:
        server: its address; '' where none answers.
        deployments: one row each: COLUMNS, and `late`.
        runs: those that run, are late, failed or were cancelled, the newest first.
        reports: what the lake knows where no server answers.
    """

    server: str
    deployments: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "server": self.server or None, "deployments": self.deployments, "runs": self.runs, "reports": self.reports,
        }  # fmt: skip


def status_of(warehouse: Warehouse, now: datetime | None = None) -> Status:
    """The state of a lake's schedules: of the server that serves it, or else of the one that the user has set."""
    for url in filter(None, (address(warehouse.root / ".prefect"), _set_by_user())):
        with httpx.Client(base_url=url, timeout=WAIT_S) as client:
            try:
                return told_by(client, url, now or datetime.now(UTC))
            except httpx.HTTPError:
                continue
    return Status("", reports=_reports(warehouse))


def told_by(client: httpx.Client, url: str, now: datetime) -> Status:
    """What a server says of the deployments that are ours.

    Raises:
        HTTPError: it does not answer, or not so.
    """
    ours = {"tags": {"all_": [TAG]}}
    deployments = _asked(client, "/deployments/filter", {"deployments": ours})
    waiting = {"deployments": ours, "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    planned = _asked(client, "/flow_runs/filter", {**waiting, "sort": "NEXT_SCHEDULED_START_TIME_ASC"})
    begun = {"deployments": ours, "flow_runs": {"state": {"type": {"not_any_": ["SCHEDULED"]}}}}
    runs = _asked(client, "/flow_runs/filter", {**begun, "sort": "EXPECTED_START_TIME_DESC"})
    names = {one["id"]: one["name"] for one in deployments}
    told = [_run(run, names, now) for run in [*planned, *runs]]
    rows = [_row(one, [run for run in told if run["deployment"] == one["name"]]) for one in deployments]
    notable = [run for run in told if run["late"] or run["type"] not in ("SCHEDULED", "PENDING", "COMPLETED")]
    return Status(url, sorted(rows, key=lambda row: str(row["deployment"])), notable)


def _asked(client: httpx.Client, path: str, question: Mapping[str, Any]) -> list[dict[str, Any]]:
    answer = client.post(path.lstrip("/"), json={**question, "limit": _MOST})
    answer.raise_for_status()
    return list(answer.json())


def _run(run: Mapping[str, Any], names: Mapping[str, str], now: datetime) -> dict[str, Any]:
    state, began, ended = run["state"] or {}, _time(run["start_time"]), _time(run["end_time"])
    took = ((ended or now) - began).total_seconds() if began else None
    return {
        "deployment": names.get(run["deployment_id"], ""), "run": run["name"], "id": run["id"],
        "type": state.get("type", ""), "state": state.get("name", ""), "message": state.get("message") or "",
        "late": state.get("name") == "Late", "due": run["expected_start_time"], "began": run["start_time"],
        "took_s": None if took is None else round(took, 1),
    }  # fmt: skip


def _row(deployment: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One deployment with its next run and its last; of runs that overlap, the one that works stands for it."""
    schedules = [one for one in deployment["schedules"] if one["active"] and not deployment["paused"]]
    began = sorted((run for run in runs if run["began"]), key=lambda run: str(run["began"]))
    working = [run for run in began if run["type"] in ("RUNNING", "CANCELLING", "PAUSED")]
    last: Mapping[str, Any] = (working or began or [{}])[-1]
    late = [run for run in runs if run["late"]]
    coming = [str(run["due"]) for run in runs if run["type"] == "SCHEDULED" and not run["late"]]
    return {
        "deployment": deployment["name"],
        "schedule": ", ".join(_times(one["schedule"]) for one in schedules) or "paused",
        "next": min(coming, default=None), "last": last.get("began"), "state": last.get("state", ""),
        "type": last.get("type", ""), "took_s": last.get("took_s"), "message": last.get("message", ""),
        "late": min((str(run["due"]) for run in late), default=None),
    }  # fmt: skip


def _times(schedule: Mapping[str, Any]) -> str:
    times = str(schedule.get("cron") or schedule.get("rrule") or f"every {schedule.get('interval')} s")
    return f"{times} {schedule['timezone']}" if schedule.get("timezone") else times


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


def _set_by_user() -> str:
    from prefect.settings import get_current_settings  # a profile or prefect.toml may name one too

    return str(get_current_settings().api.url or "")


def _reports(warehouse: Warehouse) -> list[dict[str, Any]]:
    refs = warehouse.refs("reports")
    made = {name: warehouse.resolve(ref["artifact"]) for name, ref in refs.items()}
    return [
        {"recipe": name, "made": artifact.created_at, "report": str(artifact.path("report.html"))}
        for name, artifact in sorted(made.items(), key=lambda pair: pair[1].created_at)
    ]


# -- for people --------------------------------------------------------------------------------------------------


def status_table(deployments: Sequence[Mapping[str, Any]]) -> Table:
    """One line per deployment; what is late or failed stands out where there are colours."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="right" if name == "took" else "left", overflow="fold")
    for row in deployments:
        state = "Late" if row["late"] else row["state"]
        message = f"should have begun at {_clock(row['late'])}; {row['message']}" if row["late"] else row["message"]
        table.add_row(
            row["deployment"], row["schedule"], _clock(row["next"]), _clock(row["last"]),
            Text(state, style=style_of(state, row["type"])), _span(row["took_s"]), message.removesuffix("; "),
        )  # fmt: skip
    return table


def runs_table(runs: Sequence[Mapping[str, Any]]) -> Table:
    """One line per run."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("run", "due", "state", "took", "message"):
        table.add_column(name, justify="right" if name == "took" else "left", overflow="fold")
    for run in runs:
        state = Text(run["state"], style=style_of(run["state"], run["type"]))
        table.add_row(run["run"], _clock(run["due"]), state, _span(run["took_s"]), run["message"])
    return table


def style_of(state: str, kind: str) -> str:
    """The colour of a state."""
    return "red" if kind in _BAD and state != "Late" else _STYLES.get(state, "")


def _clock(text: str | None) -> str:
    """A time of this machine's clock, to the minute."""
    time = _time(text)
    return f"{time.astimezone():%Y-%m-%d %H:%M}" if time else ""


def _span(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
