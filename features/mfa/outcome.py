"""What MFA wrote of each clip: intervals that hold together, or the reason why there are none."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from features.mfa.lexicon import spoken
from features.plugin import Clip, Interval, normalised_words
from features.syllables import is_arpabet, syllables
from warehouse.errors import Untreatable

ANALYSIS = "alignment_analysis.csv"

FRAME_S = 0.01
"""MFA's last frame may be half outside the clip; an alignment that ends later is of another sound."""

MOVED_S = 2 * FRAME_S + 0.002
"""How near to the end of the file MFA moves an end to it."""

JOIN_S = 0.002
"""How far two times may be apart that are one: they are written as float32."""

NOTHING_SAID = "MFA says nothing of it"

_DECIMALS = 3
_SILENT = {"word": {"", "<eps>"}, "phone": {"", "<eps>", "sil"}}
_UNKNOWN = "spn"

Analysis = Mapping[str, Sequence[Mapping[str, str]]]
"""Name of a clip -> its rows."""


@dataclass(frozen=True)
class Labelled:
    """One entry of a tier as it is written."""

    symbol: str
    start_s: float
    end_s: float


def read_analysis(output: Path) -> Analysis:
    """The rows that MFA wrote of its alignments, by the name of their file; none where it wrote no such file.

    Raises:
        Untreatable: it is no table that names files and likelihoods.
    """
    path = output / ANALYSIS
    if not path.is_file():
        return {}
    found: dict[str, list[Mapping[str, str]]] = {}
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream, strict=True):
                found.setdefault(row["file"], []).append(row)
    except (csv.Error, UnicodeDecodeError, KeyError) as error:
        raise Untreatable(f"MFA's table of alignments cannot be read ({type(error).__name__})") from error
    return found


def intervals(clip: Clip, name: str, output: Path, analysis: Analysis) -> list[Interval]:
    """The words, then the phones, then the syllables of one clip; syllables where the phones are ARPAbet's.

    MFA ends well and leaves out what it could not align, or writes what does not belong there. So an alignment counts
    only if it exists, its likelihoods are filled, its words are those of the transcript in their order, its times lie
    within the clip one after the other, and its phones fill its words. What then can still be wrong is the times:
    a transcript that nobody says is aligned all the same.

    Args:
        name: of the clip in the corpus and of its speaker.

    Raises:
        Untreatable: with the reason.
    """
    path = output / name / f"{name}.json"
    _check_likelihood(clip, name, analysis, path.is_file())
    tiers = read_tiers(path.read_bytes())
    words = _spoken(tiers["words"], "word", clip.duration_s)
    phones = _spoken(tiers["phones"], "phone", clip.duration_s)
    expected = normalised_words(clip.text)
    _check_words([word.symbol for word in words], [spoken(word) for word in expected])
    _check_filled(words, phones)
    found = [Interval("word", said, word.start_s, word.end_s) for said, word in zip(expected, words, strict=True)]
    parts = [Interval("phone", phone.symbol, phone.start_s, phone.end_s) for phone in phones]
    return [*found, *parts, *(syllables(found, parts) if is_arpabet(parts) else ())]


def read_tiers(raw: bytes) -> dict[Literal["words", "phones"], list[Labelled]]:
    """The two tiers of an alignment in MFA's JSON.

    Raises:
        Untreatable: it is not such a file, or has tiers of several speakers.
    """
    try:
        tiers = json.loads(raw, parse_constant=_refuse)["tiers"]
        if set(tiers) != {"words", "phones"}:
            raise ValueError(f"tiers {sorted(tiers)}")
        return {"words": _entries(tiers["words"]), "phones": _entries(tiers["phones"])}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Untreatable(f"MFA's alignment cannot be read ({type(error).__name__})") from error


def _refuse(constant: str) -> float:
    raise ValueError(constant)


def _entries(tier: Mapping[str, Any]) -> list[Labelled]:
    found = []
    for begin, end, label in tier["entries"]:
        if not (_is_time(begin) and _is_time(end) and isinstance(label, str)):
            raise ValueError("entry")
        found.append(Labelled(label, float(begin), float(end)))
    return found


def _is_time(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _check_likelihood(clip: Clip, name: str, analysis: Analysis, is_there: bool) -> None:
    rows = analysis.get(name, [])
    if not rows:
        raise Untreatable(NOTHING_SAID + (", but wrote an alignment" if is_there else ""))
    if len(rows) > 1:
        raise Untreatable(f"MFA says {len(rows)} things of it")
    row = rows[0]
    if row.get("speaker") != name or abs(_number(row.get("end")) - clip.duration_s) > FRAME_S:
        raise Untreatable("what MFA says of it is of another clip")
    if math.isnan(_number(row.get("overall_log_likelihood"))):
        raise Untreatable(f"no path through {clip.duration_s:.3f} s of sound says its words")
    if math.isnan(_number(row.get("speech_log_likelihood"))):
        raise Untreatable("MFA found no word in it")
    if not is_there:
        raise Untreatable("MFA wrote no alignment of it")


def _number(text: str | None) -> float:
    """Not a number where it is blank, absent or anything else."""
    try:
        number = float(text or "nan")
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def _spoken(entries: Sequence[Labelled], tier: Literal["word", "phone"], duration_s: float) -> list[Labelled]:
    """Entries without silence, times to the millisecond, which takes off the noise of float32.

    In its JSON, MFA moves every end within two frames of the end of the file to that end, so that the last phones
    overlap: there an entry ends where the next begins, as in MFA's TextGrids, which move the last end only.
    """
    found: list[Labelled] = []
    later_s = [*(entry.start_s for entry in entries[1:]), math.inf]
    for entry, next_s in zip(entries, later_s, strict=False):
        if entry.symbol in _SILENT[tier]:
            continue
        place = f"{tier} {len(found) + 1} ('{entry.symbol}') of MFA's alignment"
        if entry.end_s > duration_s + FRAME_S:
            raise Untreatable(f"{place} ends at {entry.end_s:.3f} s, but the clip at {duration_s:.3f} s")
        start_s = round(entry.start_s, _DECIMALS)
        end_s = min(round(entry.end_s, _DECIMALS), duration_s)
        if abs(entry.end_s - duration_s) <= JOIN_S and duration_s - next_s <= MOVED_S:
            end_s = min(end_s, round(next_s, _DECIMALS))
        if not 0 <= start_s < end_s:
            raise Untreatable(f"{place} goes from {entry.start_s:.3f} s to {entry.end_s:.3f} s")
        if found and start_s < found[-1].end_s:
            raise Untreatable(f"{place} begins at {start_s:.3f} s, before the last one ends")
        found.append(Labelled(entry.symbol, start_s, end_s))
    return found


def _check_words(found: Sequence[str], expected: Sequence[str]) -> None:
    for number, (own, wanted) in enumerate(zip(found, expected, strict=False), start=1):
        if own != wanted:
            raise Untreatable(f"word {number} of MFA's alignment is '{own}', of the transcript '{wanted}'")
    if len(found) != len(expected):
        raise Untreatable(f"MFA's alignment has {len(found)} words, the transcript {len(expected)}")


def _check_filled(words: Sequence[Labelled], phones: Sequence[Labelled]) -> None:
    """Each word is phones from its begin to its end without a hole, and there is no phone outside the words."""
    left = list(phones)
    for word in words:
        end_s = word.start_s
        while left and left[0].start_s < word.end_s - JOIN_S and abs(left[0].start_s - end_s) <= JOIN_S:
            if left[0].symbol == _UNKNOWN:
                raise Untreatable(f"MFA does not know the word '{word.symbol}'")
            end_s = left.pop(0).end_s
        if abs(end_s - word.end_s) > JOIN_S:
            raise Untreatable(f"the phones of MFA's alignment do not fill the word '{word.symbol}'")
    if left:
        raise Untreatable(f"phone '{left[0].symbol}' of MFA's alignment is in no word")
