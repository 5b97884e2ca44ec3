"""What is going on in a lake now, read from the logs of its runs and from this machine's processes."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from flows.run_events import Reader, find_run, is_live, run_folders
from flows.show import rows_table
from flows.tally import StepTally, Tally
from infra.gpus import gpus

_SHOWN = ("step", "rows", "found", "made", "works", "waiting", "failed", "rows/s", "hits", "left", "seconds")


class Top:
    """Looks at a lake's runs again and again: the logs are read from where the last look ended, and what a process used
    of a CPU is counted since then.

    Args:
        lake: its folder.
    """

    def __init__(self, lake: Path) -> None:
        self.lake = lake
        self._known: dict[str, tuple[Reader, Tally]] = {}
        self._processes: dict[int, Any] = {}

    def look(self) -> list[dict[str, Any]]:
        """The runs under way, oldest first, as JSON can hold them."""
        views, now = [], time.time()
        for folder in run_folders(self.lake):
            if not is_live(folder):
                continue
            reader, tally = self._known.setdefault(folder.name, (Reader(folder), Tally()))
            tally.add(reader.more())
            if tally.began and not tally.ended:
                views.append(_view(folder.name, tally, now, self._used(tally)))
        return views

    def _used(self, tally: Tally) -> list[dict[str, Any]]:
        """The processes of a run, if they are of this machine: what each is, and what it uses."""
        import psutil  # here: a fortieth of a second that other commands do not spend

        if tally.began["host"] != socket.gethostname():
            return []
        used = []
        at = {int(event["pid"]): event for event in tally.running.values()}
        try:
            parent = psutil.Process(int(tally.began["pid"]))
            members = [parent, *parent.children(recursive=True)]
        except psutil.Error:
            return []
        for member in members:
            process = self._processes.setdefault(member.pid, member)
            try:
                what = _called(process.cmdline(), member.pid == parent.pid, member.pid in at)
                if what:
                    of_cpu, memory = process.cpu_percent() / 100, process.memory_info().rss
                    used.append({"pid": member.pid, "what": what, "cpu": round(of_cpu, 2), "rss": memory})
            except psutil.Error:
                self._processes.pop(member.pid, None)  # it ended just now
        return used


def _called(command: Sequence[str], is_flow: bool, is_at_work: bool) -> str:
    """What a process of a run is to a person; '' for one that only waits for others' ends."""
    words = " ".join(command)
    if is_flow:
        return "the flow"
    for part, name in (("resource_tracker", ""), ("models.job", "a job"), ("server.py", "Prefect's server")):
        if part in words:
            return name
    return "a worker" if is_at_work else "idle, or a helper of others"


def _view(run: str, tally: Tally, now: float, used: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    began = tally.began
    own = {name: began.get(name) for name in ("recipe", "verb", "host", "pid", "device", "workers", "runner")}
    return {
        "run": run, **own, "began": began["time"], "seconds": round(now - tally.began_at, 1),
        "waiting": tally.waiting, "in_flight": len(tally.running),
        "steps": [_step(step, now) for step in tally.steps.values()],
        "at": [_at(key, event, tally, now) for key, event in tally.running.items()],
        "processes": list(used), "gpus": [asdict(gpu) for gpu in gpus()],
    }  # fmt: skip


def _step(step: StepTally, now: float) -> dict[str, Any]:
    return {
        "step": step.name, "rows": step.rows, "found": step.rows - step.new, "made": step.rows_made,
        "works": step.works, "works_made": step.made, "works_failed": step.failed, "failures": step.rows_failed,
        "retried": step.retried, "died": step.died, "bytes": step.n_bytes, "hit_rate": step.hit_rate,
        "rows_per_s": step.rows_per_s(now), "left_s": step.left_s(now), "seconds": round(step.lasted_s(now), 1),
        "done": step.began_at is None,
    }  # fmt: skip


def _at(key: str, event: Mapping[str, Any], tally: Tally, now: float) -> dict[str, Any]:
    """What somebody is at."""
    told = tally.progress.get(key, {})
    how_far = f"{told['done']} of {told['total']}: {told['note']}" if told else ""
    seconds = round(max(0.0, now - Tally(began=dict(event)).began_at), 1)
    own = {name: event.get(name) for name in ("host", "pid", "maker", "rows")}
    return {**own, "key": key, "seconds": seconds, "note": how_far}


def nothing_under_way(lake: Path) -> str:
    """The sentence for a lake where nothing is being made."""
    last = find_run(lake, None)
    if last is None:
        return f"no run is under way in {lake}, and none was logged there"
    return f"no run is under way in {lake}; the last, {last.name}, {state_of(last)}: `emolake logs` tells of it"


def state_of(folder: Path) -> str:
    """How a run stands, in words."""
    tally = Tally()
    tally.add(Reader(folder).more())
    if tally.ended:
        words = {"done": "was done", "failed": "failed", "stopped": "was stopped"}
        return f"{words.get(tally.outcome, tally.outcome)} after {_duration(tally.ended.get('seconds'))}"
    return "is under way" if is_live(folder) else "was killed"


def shown(views: Sequence[Mapping[str, Any]], most: int | None = None) -> Group:
    """The runs under way for a terminal.

    Args:
        most: so many steps of each at most, the last ones.
    """
    return Group(*(part for view in views for part in _parts(view, most)))


def _parts(view: Mapping[str, Any], most: int | None) -> Iterator[Text | Table]:
    where = f"{view['verb']} since {_duration(view['seconds'])}, pid {view['pid']} on {view['host']}"
    hands = f"{view['in_flight']} works in flight, {view['waiting']} waiting"
    yield Text.assemble((str(view["run"]), "bold"), f"  {where}; {hands}")
    steps = view["steps"][-most:] if most else view["steps"]
    if len(steps) < len(view["steps"]):
        yield Text(f"(and {len(view['steps']) - len(steps)} steps before these)", style="dim")
    yield rows_table([_row(step) for step in steps], _SHOWN)
    processes = {one["pid"]: one for one in view["processes"]}
    if view["at"]:
        at = [
            {
                "pid": one["pid"], "at": one["maker"], "key": str(one["key"])[:12], "rows": one["rows"],
                "for": _duration(one["seconds"]), "how far": one["note"],
            } | _use(processes.get(one["pid"]) if processes.get(one["pid"], {}).get("what") == "a worker" else None)
            for one in view["at"]
        ]  # fmt: skip
        yield Text()
        yield rows_table(at, ["pid", "at", "key", "rows", "for", "CPU", "memory", "how far"])
    others = [one for one in view["processes"] if one["what"] != "a worker"]
    if others:
        yield Text()
        yield rows_table([{"pid": one["pid"], "what": one["what"]} | _use(one) for one in others],
                         ["pid", "what", "CPU", "memory"])  # fmt: skip
    for gpu in view["gpus"]:
        busy = "?" if gpu["busy"] is None else f"{gpu['busy']:.0%}"
        memory = "" if gpu["used"] is None else f", {gpu['used'] / 2**30:.1f} GiB"
        yield Text(f"GPU {gpu['number']}: {busy}{memory}")
    yield Text()


def _row(step: Mapping[str, Any]) -> dict[str, Any]:
    n_failed = step["works_failed"] + step["failures"]
    hits = step["hit_rate"]
    return {
        "step": step["step"], "rows": step["rows"], "found": step["found"], "made": step["made"],
        "works": f"{step['works_made']}/{step['works']}", "failed": n_failed or None,
        "waiting": step["works"] - step["works_made"] - step["works_failed"] or None,
        "rows/s": None if step["rows_per_s"] is None else round(step["rows_per_s"], 1),
        "hits": None if hits is None else f"{hits:.0%}",
        "left": _duration(step["left_s"]), "seconds": step["seconds"],
    }  # fmt: skip


def _use(process: Mapping[str, Any] | None) -> dict[str, Any]:
    if process is None:
        return {"CPU": None, "memory": None}
    return {"CPU": f"{process['cpu']:.0%}", "memory": f"{process['rss'] / 2**20:.0f} MiB"}


def _duration(seconds: float | None) -> str | None:
    return None if seconds is None else str(timedelta(seconds=round(seconds)))
