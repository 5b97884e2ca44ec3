"""The section [schedule] of a recipe: when what of it runs without being asked. It is no part of what the recipe is."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from flows.recipe import Recipe

WORKS = ("build", "run", "verify", "canary")
"""What a recipe may have run at times of its own. Training has a condition beside its times."""

_N_FIELDS = 5
_HEADER = re.compile(r"\s*\[\[?([^\[\]]+)\]\]?\s*(?:#.*)?$")


def _cron(text: str) -> str:
    """A cron expression of five fields that comes round at least once."""
    from cronsim import CronSim, CronSimError  # which most recipes have no use for

    problem = "has not five fields (minute, hour, day, month, weekday), as in '0 2 * * *'"
    if len(text.split()) == _N_FIELDS:
        try:
            next(CronSim(text, datetime.now(UTC)))
            return text
        except CronSimError as error:
            problem = str(error).lower()
        except StopIteration:
            problem = "never comes round"
    raise ValueError(f"'{text}' is no cron expression: {problem}")


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"'{name}' is no time zone of the IANA database, such as 'UTC' or 'Europe/Berlin'") from None
    return name


Cron = Annotated[str, AfterValidator(_cron)]


class TrainEntry(BaseModel):
    """Training as soon as it is worth while.

    Args:
        check: when to look whether it is.
        selection: whose utterances count: those that its teacher is sure of.
        new_salient_h: hours of them that the last fit had not seen, from which on the recipe is run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    check: Cron
    selection: str
    new_salient_h: float = Field(gt=0)


class ScheduleEntry(BaseModel):
    """When what of a recipe runs.

    Args:
        build: read what is new, changed and gone in the corpora's folders; align it and extract its features.
        run: the whole recipe, up to its report.
        verify: hash every file of the lake again.
        canary: run the canaries of the recipe's extractors again.
        timezone: that the times are told in.
        retries: how often a build is tried again that failed for a reason which may pass.
        retry_delay_s: before the first of these; each further one waits twice as long.
        timeout_h: hours after which one try is ended; none never.
        train: when enough was chosen that is new, the whole recipe.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    build: Cron | None = None
    run: Cron | None = None
    verify: Cron | None = None
    canary: Cron | None = None
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    retries: int = Field(2, ge=0, le=10)
    retry_delay_s: float = Field(60.0, gt=0)
    timeout_h: float | None = Field(None, gt=0)
    train: TrainEntry | None = None

    @property
    def times(self) -> dict[str, str]:
        """What runs at which times, training among it."""
        own = {name: getattr(self, name) for name in WORKS} | {"train": self.train.check if self.train else None}
        return {name: cron for name, cron in own.items() if cron is not None}


def without_schedule(text: str, tree: Mapping[str, Any]) -> str:
    """A recipe's text without its section [schedule]: what reports show and bundles carry is the experiment, and a
    report must not be made again because the night shift changed. The same text where there is no such section.

    The remark directly above its header goes with it. What stands below its last key, up to the next header, stays: it
    is as a rule the remark of that one.

    Args:
        tree: what the text says.

    Raises:
        ValueError: the section is written in another way than as tables under headers of their own.
    """
    if "schedule" not in tree:
        return text
    told = _cut(text.splitlines(keepends=True))
    rest = {name: value for name, value in tree.items() if name != "schedule"}
    try:
        if tomllib.loads(told) == rest:
            return told
    except tomllib.TOMLDecodeError:
        pass
    raise ValueError("must be written as tables with headers of their own: [schedule] and [schedule.train]")


def _cut(lines: list[str]) -> str:
    """The lines without the sections of a schedule, and without the empty lines that set these off."""
    kept, begun = list[str](), 0
    headers = [(index, _section(line)) for index, line in enumerate(lines) if _HEADER.match(line)]
    headers.append((len(lines), ""))
    for (start, name), (end, following) in pairwise(headers):
        if name != "schedule":
            continue
        while start > begun and lines[start - 1].lstrip().startswith("#"):
            start -= 1
        kept += lines[begun:start]
        if following != "schedule":
            while not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#"):
                end -= 1  # the header itself is neither
            while end < len(lines) and not lines[end].strip():
                end += 1
        begun = end
    if begun == len(lines):
        while kept and not kept[-1].strip():
            kept.pop()
    return "".join(kept + lines[begun:])


def _section(header: str) -> str:
    found = _HEADER.match(header)
    return found[1].split(".")[0].strip(" \t\"'") if found else ""


def unscheduled(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """(field, problem) of a section that cannot do what it says; as `flows.references.complaints`."""
    schedule = recipe.schedule
    if schedule is None:
        return
    if not schedule.times:
        known = ", ".join(f"'{name}'" for name in WORKS)
        yield "schedule", f"says when nothing runs: give at least one of {known}, or [schedule.train]"
    if schedule.train is None:
        return
    name = schedule.train.selection
    if name not in recipe.selections:
        yield "schedule.train.selection", f"names the selection '{name}', which the recipe does not have"
    elif all(model.selection != name for model in recipe.models.values()):
        yield "schedule.train.selection", f"names '{name}', which no model of the recipe learns from"
