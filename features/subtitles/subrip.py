"""SubRip (.srt) to cues."""

from __future__ import annotations

import re

from features.subtitles.cues import NO_TIMES, Cue, numbered, span_of

_IN_FULL = re.compile(r"\s*\d{2}:\d{2}:\d{2}[,.]\d{3}\s*-->\s*\d{2}:\d{2}:\d{2}[,.]\d{3}(?!\d)")
_INDEX = re.compile(r"\s*\d+\s*")


def irregular(text: str) -> dict[str, int]:
    """How many lines of times are not written in full ('short_times'), and how many cues have no index, or one
    that is not above that of the cue before ('odd_index').

    Example:
        >>> irregular("1\\n00:00:01,000 --> 00:00:02,000\\nA\\n\\n0\\n0:00:03,5 --> 00:00:04,000\\nB\\n")
        {'short_times': 1, 'odd_index': 1}
    """
    found = {"short_times": 0, "odd_index": 0}
    last = 0
    lines = _lines(text)
    for position, line in enumerate(lines):
        if isinstance(span_of(line), tuple):
            found["short_times"] += not _IN_FULL.match(line)
            before = lines[position - 1].strip() if position else ""
            index = int(before) if _INDEX.fullmatch(before) else 0
            found["odd_index"] += index <= last
            last = max(last, index)
    return found


def parse_srt(text: str) -> list[Cue]:
    """The cues of a SubRip file in its order; none is dropped, a malformed one says what is wrong with it.

    A cue begins at its line of times, whatever stands before: indices may be missing or wrong, blank lines may
    stand inside the text. Only a lone index after a blank line, without times, is a cue that lost them.

    Example:
        >>> parse_srt("1\\n00:00:01,000 --> 00:00:02,500\\nWell,\\nno.\\n")
        [Cue(number=0, times_s=(1.0, 2.5), text='Well,\\nno.', speaker='', problem='')]
    """
    found: list[tuple[tuple[float, float] | str, list[str]]] = []
    lines = _lines(text)
    for position, line in enumerate(lines):
        following = lines[position + 1] if position + 1 < len(lines) else ""
        blank_before = position == 0 or not lines[position - 1].strip()
        if span := span_of(line):
            found.append((span, []))
        elif _INDEX.fullmatch(line) and span_of(following):
            pass  # the index of the next cue
        elif _INDEX.fullmatch(line) and blank_before and following.strip():
            found.append((NO_TIMES, []))
        elif found:
            found[-1][1].append(line.strip())
    return numbered(found)


def _lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
