"""The strict check of a corpus: what its publishers counted against what is there, and every anomaly by its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Count:
    """One figure of a corpus: 'utterances, session 1'. `expected` is None where nobody published it; `group` is the
    end of `what` where the same is counted of each of many parts, so that they can stand in one table."""

    what: str
    expected: int | None
    found: int
    group: str = ""

    @property
    def difference(self) -> int:
        return 0 if self.expected is None else self.found - self.expected

    def as_json(self) -> dict[str, Any]:
        """Its fields and the difference; the group only where there is one."""
        own = {"what": self.what, "expected": self.expected, "found": self.found, "difference": self.difference}
        return own | ({"group": self.group} if self.group else {})


@dataclass(frozen=True)
class Anomaly:
    """Something that is not as it should be. `name` is one of the reader's `anomalies`; `known` marks what every
    published copy has, which is told and does not fail the check."""

    name: str
    where: str
    problem: str
    known: bool = False


@dataclass
class Findings:
    """What a check found."""

    counts: list[Count] = field(default_factory=list)
    anomalies: list[Anomaly] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Every count is as published and there is no anomaly but known ones."""
        return not any(c.difference for c in self.counts) and all(a.known for a in self.anomalies)

    def as_json(self) -> dict[str, Any]:
        return {
            "clean": self.is_clean,
            "counts": [count.as_json() for count in self.counts],
            "anomalies": [vars(anomaly) for anomaly in self.anomalies],
        }


class Checked(Protocol):
    """A reader that can check its corpus.

    `published` holds what the publishers (or those who counted public lists) say, by the `what` of a Count;
    `anomalies` every name that an Anomaly may have, with what it means.
    """

    published: Mapping[str, int]
    anomalies: Mapping[str, str]

    def check(self, root: Path, expected: Mapping[str, int] | None = None) -> Findings:
        """Reads the whole tree, media headers too, and never stops at the first fault.

        Args:
            expected: what to count against; None for `published`.
        """


def counted(found: Mapping[str, int], expected: Mapping[str, int]) -> list[Count]:
    """Counts for everything that is expected or found, in the order expected, then found."""
    return [Count(what, expected.get(what), found.get(what, 0)) for what in dict.fromkeys([*expected, *found])]
