"""Subtitle files to cues, and cues to what one speaker says. SubRip only."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from warehouse.errors import Untreatable

_TIMES = re.compile(r"\s*(\d+):(\d{2}):(\d{2})[,.](\d{3})\s*-->\s*(\d+):(\d{2}):(\d{2})[,.](\d{3})(?:\s.*)?")
_NUMBER = re.compile(r"\s*\d+\s*")
_MARKUP = re.compile(r"<[^>]*>|\{[^}]*\}")
_DESCRIPTION = re.compile(r"\[[^\]]*\]|\([^)]*\)")
_NAME = re.compile(r"([^:]{2,30}):(?=\s|$)")
_DASH = re.compile(r"[-‐–—](?![-‐–—])\s*")
_SECOND_DASH = re.compile(r"[.?!…\"”] [-‐–—] ?\w")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_MOST_ACCENTED = 0.3


@dataclass(frozen=True)
class Cue:
    """One subtitle. `number` counts the file's cues from 0; `times_s` is None where it has no line of times."""

    number: int
    times_s: tuple[float, float] | None
    text: str


def parse_srt(raw: bytes) -> list[Cue]:
    """The cues of a SubRip file in its order.

    A cue begins at its line of times, whatever stands before: indices may be missing or wrong, blank lines may
    stand inside the text. Only a lone index after a blank line, without times, is a cue that lost them.

    Raises:
        Untreatable: the bytes are in no encoding that this reads.

    Example:
        >>> parse_srt(b"1\\n00:00:01,000 --> 00:00:02,500\\nWell,\\nno.\\n")
        [Cue(number=0, times_s=(1.0, 2.5), text='Well,\\nno.')]
    """
    starts: list[tuple[tuple[float, float] | None, list[str]]] = []
    lines = decoded(raw).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for position, line in enumerate(lines):
        following = lines[position + 1] if position + 1 < len(lines) else ""
        blank_before = position == 0 or not lines[position - 1].strip()
        if match := _TIMES.fullmatch(line):
            starts.append((_times(match), []))
        elif _NUMBER.fullmatch(line) and _TIMES.fullmatch(following):
            pass  # the index of the next cue
        elif _NUMBER.fullmatch(line) and blank_before and following.strip():
            starts.append((None, []))
        elif starts:
            starts[-1][1].append(line.strip())
    return [Cue(number, times, "\n".join(text).strip("\n")) for number, (times, text) in enumerate(starts)]


def spoken_text(text: str) -> str | None:
    """What is said in a cue, or None when two speakers share it.

    Markup, [sound descriptions], (the same), sung lines, SPEAKER NAMES: and leading dashes go. A second speaker is
    a dash or a name that follows speech.

    Example:
        >>> spoken_text("<i>MAN 2:\\nWait (gasps) for me.</i>")
        'Wait for me.'
        >>> spoken_text("- Is it you?\\n- No.") is None
        True
    """
    said: list[str] = []
    for line in _DESCRIPTION.sub(" ", _MARKUP.sub("", text)).split("\n"):
        line = line.strip()
        if "♪" in line or "♫" in line:
            continue
        without_dash = _DASH.sub("", line, count=1) if _DASH.match(line) else line
        name = _NAME.match(without_dash)
        speech = without_dash[name.end() :] if name and name[1].isupper() else without_dash
        if speech != line and said:
            return None
        if without_dash != line and _SECOND_DASH.search(without_dash):
            return None
        if speech.strip():
            said.append(speech)
    return " ".join(" ".join(said).split())


def decoded(raw: bytes) -> str:
    """UTF-8 or UTF-16 by byte order mark, else UTF-8, else Windows-1252.

    Raises:
        Untreatable: none of them, or so many accented letters that it must be another code page.
    """
    for mark, encoding in _BOMS:
        if raw.startswith(mark):
            return raw.decode(encoding, "replace")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        pass
    try:
        text = raw.decode("cp1252")
    except UnicodeDecodeError as error:
        raise Untreatable("the subtitles are neither UTF-8, UTF-16 nor Windows-1252: save them as UTF-8") from error
    letters = [char for char in text if char.isalpha() or ord(char) > 127]
    if sum(ord(char) > 127 for char in letters) > _MOST_ACCENTED * len(letters):
        raise Untreatable("the subtitles are in a code page that cannot be told from the bytes: save them as UTF-8")
    return text


def _times(match: re.Match[str]) -> tuple[float, float]:
    numbers = [int(group) for group in match.groups()]
    start_ms, end_ms = (
        hours * 3_600_000 + minutes * 60_000 + whole * 1_000 + thousandths
        for hours, minutes, whole, thousandths in (numbers[:4], numbers[4:])
    )
    return start_ms / 1_000, end_ms / 1_000
