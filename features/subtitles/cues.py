"""One subtitle as a file has it, and the clock that every text format of subtitles writes."""

from __future__ import annotations

import re
from dataclasses import dataclass

NO_TIMES = "has no line of times"
NO_END = "has no end"
BROKEN = "has letters that cannot be decoded"

_CLOCK = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})(?:[,.:](\d{1,9}))?"
_SPAN = re.compile(rf"\s*{_CLOCK}\s*-->\s*{_CLOCK}(?:\s.*)?")
_NO_END = re.compile(rf"\s*{_CLOCK}\s*-->\s*")
_MOST_SHOWN = 60


@dataclass(frozen=True)
class Cue:
    """One subtitle.

    Args:
        number: of the cue in its file, from 0, malformed ones counted.
        times_s: where it begins and ends; None where the file does not say.
        text: as the file has it, tags and all, lines apart.
        speaker: the name that the format itself gives (a voice tag, the Name of an ASS line), else ''.
        problem: what is wrong with the cue where `times_s` is None, as in 'has no line of times'.
    """

    number: int
    times_s: tuple[float, float] | None
    text: str
    speaker: str = ""
    problem: str = ""


def span_of(line: str) -> tuple[float, float] | str | None:
    """Begin and end of a line of times in seconds; what is wrong with it, in words; None for any other line.

    Hours may be missing, and so may the fraction, which is a decimal one however short: ',1' is a tenth of a second.
    What follows the times (positions, settings) says nothing of time.

    Example:
        >>> span_of("00:00:00,1 --> 00:00:04"), span_of("01:02.500 --> 01:04.000 align:start")
        ((0.1, 4.0), (62.5, 64.0))
        >>> span_of("00:00:01,000 --> "), span_of("00:61:00,000 --> 00:62:00,000"), span_of("It is 12:30.")
        ('has no end', "has times that cannot be read ('00:61:00,000 --> 00:62:00,000')", None)
    """
    if "-->" not in line:
        return None
    if _NO_END.fullmatch(line):
        return NO_END
    if match := _SPAN.fullmatch(line):
        start_ms, end_ms = _milliseconds(match.groups()[:4]), _milliseconds(match.groups()[4:])
        if start_ms is not None and end_ms is not None:
            return start_ms / 1_000, end_ms / 1_000
    shown = line.strip()
    return f"has times that cannot be read ('{shown[:_MOST_SHOWN]}{'…' if len(shown) > _MOST_SHOWN else ''}')"


def numbered(found: list[tuple[tuple[float, float] | str, list[str]]]) -> list[Cue]:
    """Cues from what `span_of` said of each and its lines of text, blank ones at the ends removed."""
    cues = []
    for number, (span, lines) in enumerate(found):
        text = "\n".join(lines).strip("\n")
        cues.append(Cue(number, None, text, problem=span) if isinstance(span, str) else Cue(number, span, text))
    return cues


def _milliseconds(clock: tuple[str | None, ...]) -> int | None:
    hours, minutes, seconds, fraction = clock
    if int(minutes or 0) > 59 or int(seconds or 0) > 59:
        return None
    whole_s = int(hours or 0) * 3_600 + int(minutes or 0) * 60 + int(seconds or 0)
    return whole_s * 1_000 + int((fraction or "")[:3].ljust(3, "0"))
