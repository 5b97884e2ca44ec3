"""What is scheduled, running, late and failed, as the Prefect server tells it; and what the lake knows without one."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import httpx
from rich.table import Table
from rich.text import Text

from flows.operate.deployments import TAG
from flows.operate.serving import address
from warehouse import Warehouse
from warehouse.operating_errors import ServerRefuses

WAIT_S = 5.0
COLUMNS = ("deployment", "schedule", "next", "last", "state", "took", "message")

_MOST = 200  # what the server gives at once
_REFUSALS = (401, 403)
_STYLES = {"Completed": "green", "NotYet": "green", "Running": "cyan", "Late": "yellow", "Cancelled": "yellow"}
_BAD = {"FAILED", "CRASHED"}
_OVER = {*_BAD, "CANCELLED"}
_MOST_LINES = 10
_OURS = {"tags": {"all_": [TAG]}}


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
    """The state of a lake's schedules: of the server that serves it, or else of the one that the user has set.

    Raises:
        ServerRefuses: one answers, but not to whom it does not know; and no other one does.
    """
    refused = None
    for url in filter(None, (address(warehouse.root / ".prefect"), _set_by_user())):
        with _client(url) as client:
            try:
                return told_by(client, url, now or datetime.now(UTC))
            except httpx.HTTPStatusError as error:
                if error.response.status_code in _REFUSALS:
                    refused = ServerRefuses(url, error.response.status_code)
            except httpx.HTTPError:
                continue
    if refused is not None:
        raise refused
    return Status("", reports=_reports(warehouse))


def _client(url: str) -> httpx.Client:
    """Who asks as Prefect's own client does: by name, where the user has one; and this machine without a proxy."""
    return httpx.Client(base_url=url, timeout=WAIT_S, headers=_authorization(), trust_env=not _is_here(url))


def _is_here(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


def _authorization() -> dict[str, str]:
    from prefect.settings import get_current_settings

    api = get_current_settings().api
    if api.auth_string is not None:
        return {"Authorization": f"Basic {b64encode(api.auth_string.get_secret_value().encode()).decode()}"}
    return {} if api.key is None else {"Authorization": f"Bearer {api.key.get_secret_value()}"}


def told_by(client: httpx.Client, url: str, now: datetime) -> Status:
    """What a server says of the deployments that are ours.

    Raises:
        HTTPError: it does not answer, or not so.
    """
    rows, told = [], []
    for one in _asked(client, "/deployments/filter", {"deployments": _OURS}):
        runs = [_run(run, one["name"], now) for run in _runs_of(client, one["id"])]
        rows.append(_row(one, runs))
        told += runs
    notable = [run for run in told if run["late"] or run["type"] not in ("SCHEDULED", "PENDING", "COMPLETED")]
    newest = sorted(notable, key=lambda run: str(run["due"]), reverse=True)
    return Status(url, sorted(rows, key=lambda row: str(row["deployment"])), newest)


def _runs_of(client: httpx.Client, deployment: str) -> list[dict[str, Any]]:
    """The next runs of a deployment and its last ones. Each is asked for by itself, or many would hide another's."""
    asked = {"deployments": {**_OURS, "id": {"any_": [deployment]}}}
    waiting = {**asked, "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    begun = {**asked, "flow_runs": {"state": {"type": {"not_any_": ["SCHEDULED"]}}}}
    return [
        *_asked(client, "/flow_runs/filter", {**waiting, "sort": "NEXT_SCHEDULED_START_TIME_ASC"}),
        *_asked(client, "/flow_runs/filter", {**begun, "sort": "EXPECTED_START_TIME_DESC"}),
    ]


def _asked(client: httpx.Client, path: str, question: Mapping[str, Any]) -> list[dict[str, Any]]:
    answer = client.post(path.lstrip("/"), json={**question, "limit": _MOST})
    answer.raise_for_status()
    return list(answer.json())


def _run(run: Mapping[str, Any], deployment: str, now: datetime) -> dict[str, Any]:
    state, began, ended = run["state"] or {}, _time(run["start_time"]), _time(run["end_time"])
    took = ((ended or now) - began).total_seconds() if began else None
    return {
        "deployment": deployment, "run": run["name"], "id": run["id"],
        "type": state.get("type", ""), "state": state.get("name", ""), "message": state.get("message") or "",
        "late": state.get("name") == "Late", "due": run["expected_start_time"], "began": run["start_time"],
        "took_s": None if took is None else round(took, 1),
    }  # fmt: skip


def _row(deployment: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One deployment with its next run and its last. A run that was cancelled because another one works does not hide
    that one; any other end does, as who still calls itself running then is gone."""
    schedules = [one for one in deployment["schedules"] if one["active"] and not deployment["paused"]]
    began = sorted((run for run in runs if run["began"]), key=lambda run: str(run["began"]))
    working = [run for run in began if run["type"] in ("RUNNING", "CANCELLING", "PAUSED")]
    last: Mapping[str, Any] = (began or [{}])[-1]
    if last.get("type") == "CANCELLED" and working:
        last = working[-1]
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
    """The newest lines: one for each run that is not over, one for those of a deployment that ended alike, for while a
    fit takes hours, whatever comes due is cancelled. By deployment: what never began bears no name of ours.

    Args:
        runs: the newest first.
    """
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("run of", "due", "state", "took", "message", "alike before"):
        table.add_column(name, justify="right" if name in ("took", "alike before") else "left", overflow="fold")
    alike: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for run in runs:
        its_own = () if run["type"] in _OVER else (run["id"],)
        alike.setdefault((run["deployment"], run["state"], run["message"], *its_own), []).append(run)
    for newest, *before in list(alike.values())[:_MOST_LINES]:
        state = Text(newest["state"], style=style_of(newest["state"], newest["type"]))
        n_before = str(len(before)) if before else ""
        took = _span(newest["took_s"])
        table.add_row(newest["deployment"], _clock(newest["due"]), state, took, newest["message"], n_before)
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
