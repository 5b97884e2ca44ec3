"""SubStation Alpha (.ssa, .ass) to cues."""

from __future__ import annotations

import re

from features.subtitles.cues import Cue

PACKET = ("readorder", "layer", "style", "name", "marginl", "marginr", "marginv", "effect", "text")
"""The fields of an event inside a container, which keeps its times for itself."""

_DEFAULT = ("layer", "start", "end", "style", "name", "marginl", "marginr", "marginv", "effect", "text")
_CLOCK = re.compile(r"\s*(\d{1,3}):(\d{1,2}):(\d{1,2})[.:,](\d{1,9})\s*")
_BREAK = re.compile(r"\\[Nn]")


def parse_ass(text: str) -> list[Cue]:
    """The cues of a SubStation file: one per `Dialogue:` line, in the order of the file.

    Comments are passed over. A line with too few fields, or with times that are none, is a cue that says so.

    Example:
        >>> parse_ass("[Events]\\nFormat: Start, End, Name, Text\\nDialogue: 0:00:01.00,0:00:02.50,Ann,Well,\\\\Nno.")
        [Cue(number=0, times_s=(1.0, 2.5), text='Well,\\nno.', speaker='Ann', problem='')]
    """
    cues: list[Cue] = []
    fields: tuple[str, ...] = _DEFAULT
    in_events = False
    for line in text.splitlines():
        kind, _, rest = line.strip().partition(":")
        if kind.startswith("["):
            in_events = kind.casefold() == "[events]"
        elif in_events and kind.casefold() == "format":
            fields = tuple(name.strip().casefold() for name in rest.split(","))
        elif in_events and kind.casefold() == "dialogue":
            cues.append(_cue(len(cues), rest, fields))
    return cues


def event_of(line: str, fields: tuple[str, ...]) -> dict[str, str] | None:
    """Field -> what an event has there; None when it has too few. The last field keeps its commas."""
    parts = line.split(",", len(fields) - 1)
    return dict(zip(fields, parts, strict=True)) if len(parts) == len(fields) else None


def shown(text: str) -> str:
    """The text of an event with its line breaks made real and its hard spaces soft; overrides stay."""
    return _BREAK.sub("\n", text).replace("\\h", " ").strip()


def _cue(number: int, line: str, fields: tuple[str, ...]) -> Cue:
    event = event_of(line, fields)
    if event is None:
        return Cue(number, None, line.strip(), problem=f"has fewer than the {len(fields)} fields of its format")
    start_s, end_s = _seconds(event.get("start", "")), _seconds(event.get("end", ""))
    text, name = shown(event.get("text", "")), event.get("name", event.get("actor", "")).strip()
    if start_s is None or end_s is None:
        clocks = f"{event.get('start', '').strip()} --> {event.get('end', '').strip()}"
        return Cue(number, None, text, name, f"has times that cannot be read ('{clocks}')")
    return Cue(number, (start_s, end_s), text, name)


def _seconds(clock: str) -> float | None:
    match = _CLOCK.fullmatch(clock)
    if match is None or int(match[2]) > 59 or int(match[3]) > 59:
        return None
    return (
        int(match[1]) * 3_600_000 + int(match[2]) * 60_000 + int(match[3]) * 1_000 + int(match[4][:3].ljust(3, "0"))
    ) / 1_000
