"""The forced alignment that a corpus ships: Sphinx-3's tables of words, phones and syllables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from features.plugin import Interval
from warehouse.errors import Untreatable

FRAMES_PER_S = 100
TOLERANCE_S = 0.05
"""How far the last frame may be from the end of the sound. The aligner's windows end a little before it; a table that
is further off was made for another cut of the recording, or counts its frames from elsewhere."""

Kind = Literal["wdseg", "phseg", "syseg"]
TIERS: dict[Kind, Literal["word", "phone", "syllable"]] = {"wdseg": "word", "phseg": "phone", "syseg": "syllable"}

_SCORED = re.compile(r"\s*(?P<first>\d{1,18})\s+(?P<last>\d{1,18})\s+(?P<score>-?\d{1,18})\s+(?P<name>\S.*)")
_PLAIN = re.compile(r"\s*(?P<first>\d{1,18})\s+(?P<last>\d{1,18})\s+(?P<name>\S.*)")
_NO_ROW = re.compile(r"\s*(SFrm\s|Total score:|$)")
_VARIANT = re.compile(r"\(\d+\)$")
_SILENT = re.compile(r"<s>|</s>|<sil>|SIL|\++[A-Z_]+\++")


@dataclass(frozen=True)
class Segment:
    """One row of a table. Frames are 10 ms, counted from the start of the sentence wav, `last` included."""

    symbol: str
    first: int
    last: int
    score: int | None = None

    @property
    def start_s(self) -> float:
        return self.first / FRAMES_PER_S

    @property
    def end_s(self) -> float:
        return (self.last + 1) / FRAMES_PER_S

    @property
    def is_spoken(self) -> bool:
        """No silence (`<s>`, `</s>`, `<sil>`, `SIL`) and no noise (`++LAUGHTER++`, `+BREATHING+`)."""
        return _SILENT.fullmatch(self.symbol) is None


def segments(kind: Kind, raw: bytes) -> list[Segment]:
    """The rows of one table.

    Numbers of pronunciations are taken off words ('WELL(2)' is 'WELL'), the context off phones ('AO TH T i' is 'AO').

    Raises:
        Untreatable: a line of another form, or no row at all; syllables may have none below their header, where
            nothing is spoken.

    Example:
        >>> segments("wdseg", b" SFrm  EFrm    SegAScr Word\\n    0    34    -223344 WELL(2)\\n")
        [Segment(symbol='WELL', first=0, last=34, score=-223344)]

    Source: the columns are those of Sphinx-3's aligner. Some readers move phones by two frames for the width of its
        window; nothing says they should, so we do not.
    """
    form = _PLAIN if kind == "syseg" else _SCORED
    found = []
    for number, line in enumerate(raw.decode("ascii", "replace").splitlines(), start=1):
        match = form.fullmatch(line.rstrip())
        if match is None:
            if _NO_ROW.match(line):
                continue
            raise Untreatable(f"line {number} of its {kind} is no row of such a table: {line!r}")
        score = None if kind == "syseg" else int(match["score"])
        found.append(Segment(_symbol(kind, match["name"]), int(match["first"]), int(match["last"]), score))
    if not found and not (kind == "syseg" and b"SFrm" in raw):
        raise Untreatable(f"its {kind} has no row")
    return found


def disorder(kind: Kind, found: Sequence[Segment]) -> str:
    """What is wrong with the order of the rows, or ''. Words and phones follow without holes, syllables may have some.

    Example:
        >>> disorder("wdseg", [Segment("SO", 0, 9), Segment("IT", 12, 20)])
        "its wdseg goes from frame 9 ('SO') to frame 12 ('IT')"
    """
    for segment in found:
        if segment.last < segment.first:
            return f"its {kind} has '{segment.symbol}' from frame {segment.first} back to {segment.last}"
    for before, after in pairwise(found):
        if after.first <= before.last or (kind != "syseg" and after.first != before.last + 1):
            here, there = f"frame {before.last} ('{before.symbol}')", f"frame {after.first} ('{after.symbol}')"
            return f"its {kind} goes from {here} to {there}"
    return ""


def misfit(kind: Kind, found: Sequence[Segment], duration_s: float) -> str:
    """How the first row misses the start of the sound, or the last its end, by more than TOLERANCE_S, or ''.
    Syllables may start and end anywhere in it.

    Example:
        >>> misfit("phseg", [Segment("SIL", 0, 99)], 1.2)
        'its phseg ends at 1.00 s, but the sound at 1.200 s'
    """
    if not found:
        return ""
    if kind != "syseg" and found[0].start_s > TOLERANCE_S + 1e-9:
        return f"its {kind} starts at {found[0].start_s:.2f} s, not with the sound"
    over_s = found[-1].end_s - duration_s
    if over_s > TOLERANCE_S + 1e-9 or (kind != "syseg" and -over_s > TOLERANCE_S + 1e-9):
        return f"its {kind} ends at {found[-1].end_s:.2f} s, but the sound at {duration_s:.3f} s"
    return ""


def intervals(tables: Mapping[Kind, bytes], duration_s: float) -> list[Interval]:
    """The words, phones and syllables of one utterance, tiers in this order.

    Silences and noises are gaps, as with every aligner: so words are the spoken words, and a mean over them hears
    no laughter. Scores are per frame, in steps of the aligner's own logarithm, whose base the tables do not say.

    Args:
        tables: the content of its three files.
        duration_s: of the sentence wav.

    Raises:
        Untreatable: a table is missing, malformed, out of order or does not fit the sound; nothing is spoken in it.
    """
    missing = [kind for kind in TIERS if kind not in tables]
    if missing:
        raise Untreatable(f"there is no {', '.join(missing)} of this name")
    found = []
    for kind, tier in TIERS.items():
        rows = segments(kind, tables[kind])
        if problem := disorder(kind, rows) or misfit(kind, rows, duration_s):
            raise Untreatable(problem)
        found += [_interval(tier, row) for row in rows if row.is_spoken]
    if not any(interval.tier == "word" for interval in found):
        raise Untreatable("its alignment holds silence and noise only")
    return found


def _symbol(kind: Kind, name: str) -> str:
    if kind == "wdseg":
        return _VARIANT.sub("", name)
    return name.split()[0] if kind == "phseg" else name


def _interval(tier: Literal["word", "phone", "syllable"], row: Segment) -> Interval:
    score = None if row.score is None else row.score / (row.last + 1 - row.first)
    return Interval(tier, row.symbol, row.start_s, row.end_s, score)
