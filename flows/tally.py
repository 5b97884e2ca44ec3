"""What the events of a run come to: rows and works per step, how fast, and what is being done now.

`emolake top`, the metrics and tests all count here, from the run's log alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

_OF_STEPS = ("step began", "step ended", "found", "made", "failed", "retried", "worker died")


@dataclass
class StepTally:
    """The sums of one step.

    Args:
        rows, new: rows wanted, and those of them that were to be made.
        works, found: works that were to be made, and works whose artifacts were found.
        made, failed: works of which it is known what became of them.
        rows_made, rows_failed: rows of the works that were made, and failures rows among them.
        retried, died: works begun again, and processes whose death was the reason.
        work_s: seconds of work, of all processes together; `seconds` are those that the step took.
        began_at: seconds since 1970; None once the step is done.
    """

    name: str
    rows: int = 0
    new: int = 0
    works: int = 0
    found: int = 0
    made: int = 0
    failed: int = 0
    rows_made: int = 0
    rows_failed: int = 0
    n_bytes: int = 0
    retried: int = 0
    died: int = 0
    work_s: float = 0.0
    seconds: float = 0.0
    began_at: float | None = None

    @property
    def hit_rate(self) -> float | None:
        """Rows found, of those wanted; None where none was."""
        return (self.rows - self.new) / self.rows if self.rows else None

    def lasted_s(self, now: float) -> float:
        """Seconds that the step has taken up to now."""
        return self.seconds + (max(0.0, now - self.began_at) if self.began_at is not None else 0.0)

    def rows_per_s(self, now: float) -> float | None:
        """Rows made per second of the step; None before the first."""
        lasted_s = self.lasted_s(now)
        return self.rows_made / lasted_s if self.rows_made and lasted_s > 0 else None

    def left_s(self, now: float) -> float | None:
        """Seconds until the rest is made if it goes on as it went; None where that is not known, or nothing is left."""
        pace, left = self.rows_per_s(now), self.new - self.rows_made
        return left / pace if pace and left > 0 and self.began_at is not None else None


@dataclass
class Tally:
    """The sums of one run.

    Args:
        began: what was told when it began: run, recipe, host, pid, verb, …
        outcome: 'done', 'failed' or 'stopped'; '' as long as nobody has said.
        running: key -> the line that says who is at it.
        last_at: when the last line was written, in seconds since 1970.
    """

    began: dict[str, Any] = field(default_factory=dict)
    ended: dict[str, Any] = field(default_factory=dict)
    steps: dict[str, StepTally] = field(default_factory=dict)
    running: dict[str, dict[str, Any]] = field(default_factory=dict)
    progress: dict[str, dict[str, Any]] = field(default_factory=dict)
    last_at: float = 0.0
    _current: str = ""
    _over: set[str] = field(default_factory=set)

    @property
    def outcome(self) -> str:
        return str(self.ended.get("outcome", ""))

    @property
    def began_at(self) -> float:
        """Seconds since 1970."""
        return seconds_of(self.began["time"]) if self.began else self.last_at

    def add(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Counts more events. Those of another process may come late: a work that is over is not begun again."""
        for event in events:
            self.last_at = max(self.last_at, seconds_of(event["time"]))
            self._add(event)

    def _add(self, event: Mapping[str, Any]) -> None:
        name, key = event["event"], str(event.get("key", ""))
        if name == "run began":
            self.began = dict(event)
        elif name == "run ended":
            self.ended = dict(event)
            self.running.clear()
        elif name == "began":
            if key not in self._over:
                self.running[key] = dict(event)
        elif name == "progress":
            self.progress[key] = dict(event)
        elif name in _OF_STEPS:
            self._add_to_step(name, key, event)

    def _add_to_step(self, name: str, key: str, event: Mapping[str, Any]) -> None:
        called = str(event.get("step", self._current))
        step = self.steps.setdefault(called, StepTally(called))
        rows = int(event.get("rows", 0))
        if name == "step began":
            self._current = called
            step.rows += rows
            step.new += int(event.get("new", 0))
            step.works += int(event.get("works", 0))
            step.found += int(event.get("found", 0))
            step.began_at = seconds_of(event["time"])
        elif name == "step ended":
            step.seconds += float(event.get("seconds", 0))
            step.began_at = None
        elif name == "made":
            step.made += 1
            step.rows_made += rows
            step.rows_failed += int(event.get("failures", 0))
            step.n_bytes += int(event.get("bytes", 0))
            step.work_s += float(event.get("seconds") or 0)
        elif name == "failed":
            step.failed += 1
        elif name == "retried":
            step.retried += 1
        elif name == "worker died":
            step.died += 1
        if name in ("made", "failed"):
            self._over.add(key)
            self.running.pop(key, None)

    @property
    def waiting(self) -> int:
        """Works that nobody has begun: the depth of the queue."""
        left = sum(step.works - step.made - step.failed for step in self.steps.values() if step.began_at is not None)
        return max(0, left - len(self.running))


def seconds_of(time: str) -> float:
    """Seconds since 1970 of a time as the log writes it; 0 where that is none.

    Example:
        >>> seconds_of("1970-01-01T00:01:00+00:00")
        60.0
    """
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
