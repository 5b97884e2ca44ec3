"""Who does a recipe's works: the line asks, a plan looks up, a run answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from warehouse.artifact import Artifact, Work
from warehouse.audit.why import Difference


@dataclass(frozen=True)
class Unmade:
    """A work whose artifact could not be made, which others need not suffer from: its key, and why."""

    key: str
    why: str


@dataclass
class Step:
    """One step of a plan or a run.

    Args:
        n_rows, n_new: rows wanted, and those of them that are (or were) to be made.
        works: what is missing; empty where the step waits.
        waits_for: the step whose answer decides what this one needs.
        differences: how the first missing request differs from the nearest artifact.
        remark: what a person should know of it.
        unmade: fits that could not be made, while others of the step could.
    """

    name: str
    n_rows: int = 0
    n_new: int = 0
    works: list[Work] = field(default_factory=list)
    waits_for: str = ""
    differences: list[Difference] = field(default_factory=list)
    seconds: float = 0.0
    remark: str = ""
    unmade: list[Unmade] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "step": self.name, "rows": self.n_rows, "new": self.n_new, "artifacts": len(self.works),
            "waits_for": self.waits_for, "why": [str(d) for d in self.differences], "seconds": round(self.seconds, 2),
            "remark": self.remark, "unmade": len(self.unmade),
        }  # fmt: skip


def new_step(name: str, works: Sequence[Work], missing: Sequence[Work], n_rows: int | None) -> Step:
    """A step from all its works and those whose artifacts are missing; `n_rows` as in `flows.line.Doer.step`."""
    wanted = sum(work.n_rows for work in works) if n_rows is None else n_rows
    return Step(name, wanted, sum(work.n_rows for work in missing), list(missing))


def set_remark(steps: Sequence[Step], name: str, sentence: str) -> None:
    """Sets the remark of the step of this name."""
    for step in steps:
        if step.name == name:
            step.remark = sentence


class Waits(Exception):
    """A product cannot be known yet, because a step before it has not been done. Raised in plans only."""

    def __init__(self, step: str) -> None:
        super().__init__(step)
        self.step = step


class Doer(Protocol):
    """What happens with works."""

    def step(self, name: str, works: Sequence[Work], n_rows: int | None = None) -> list[Artifact]:
        """The artifacts of these works, in order; of fits without those that could not be made, if one could. `n_rows`
        counts the rows wanted, those present included.

        Raises:
            Waits: one of them does not exist and will not be made.
        """

    def ahead(self, name: str, works: Callable[[], Sequence[Work]]) -> None:
        """Offered the works of several steps to come, under a name for them all: a run may do them at once, each once.

        Args:
            works: makes what they need, so a plan does not ask for them.
        """

    def waits(self, name: str, step: str) -> None:
        """Told of a product that waits for a step."""

    def remark(self, name: str, sentence: str) -> None:
        """Told what a person should know of a step."""

    def hashing(self, corpus: str) -> Callable[[int], None]:
        """Who is told of the bytes of raw files as they are hashed."""

    def remember(self, ref: str, value: Mapping[str, Any]) -> None:
        """Told where a name points now."""
