"""WebVTT (.vtt) to cues."""

from __future__ import annotations

import re
from dataclasses import replace

from features.subtitles.cues import NO_TIMES, Cue, numbered, span_of

_ASIDE = re.compile(r"(?:NOTE|STYLE|REGION)(?:\s.*)?")
_LANGUAGE = re.compile(r"lang(?:uage)?:\s*([A-Za-z]{2,3}(?:-[A-Za-z0-9]+)*)\s*", re.IGNORECASE)
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]+)>")


def parse_vtt(text: str) -> list[Cue]:
    """The cues of a WebVTT file in its order; none is dropped, a malformed one says what is wrong with it.

    The header, comments, styles and regions are passed over, and so is the line before a line of times: the cue's
    name. A cue begins at its line of times even where the blank line before is missing. A block of anything else is
    a cue that lost its times.

    Example:
        >>> parse_vtt("WEBVTT\\n\\nNOTE a remark\\n\\nfirst\\n00:01.000 --> 00:02.000 line:0\\n<v Ann>No.</v>\\n")
        [Cue(number=0, times_s=(1.0, 2.0), text='<v Ann>No.</v>', speaker='Ann', problem='')]
    """
    found: list[tuple[tuple[float, float] | str, list[str]]] = []
    lines = [*_lines(text), ""]
    is_open, aside = False, True  # the header is one more aside
    for position, line in enumerate(lines[:-1]):
        after_blank = position > 0 and not lines[position - 1]
        if span := span_of(line):
            found.append((span, []))
            is_open, aside = True, False
        elif not line:
            is_open = aside = False
        elif aside or (after_blank and _ASIDE.fullmatch(line)):
            aside = True
        elif not is_open and not span_of(lines[position + 1]):
            found.append((NO_TIMES, [] if line.strip().isdecimal() else [line.strip()]))
            is_open = True
        elif is_open and not (after_blank and span_of(lines[position + 1])):
            found[-1][1].append(line.strip())
    return [replace(cue, speaker=voice_of(cue.text)) for cue in numbered(found)]


def stated_language(text: str) -> str:
    """The language that the header states, as in 'Language: en', else ''."""
    for line in _lines(text):
        if not line:
            break
        if match := _LANGUAGE.fullmatch(line):
            return match[1]
    return ""


def voice_of(text: str) -> str:
    """The name in the voice tags of a cue; '' where there is none, or more than one.

    Example:
        >>> voice_of("<v.loud Mary>Hip</v> <v Mary>hooray"), voice_of("<v Ann>No.</v>\\n<v Bob>Yes.</v>")
        ('Mary', '')
    """
    names = {name.strip() for name in _VOICE.findall(text)}
    return names.pop() if len(names) == 1 else ""


def n_voices(text: str) -> int:
    """How many names the voice tags of a cue have."""
    return len({name.strip() for name in _VOICE.findall(text)})


def _lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
