"""What can be wrong with one turn, one sentence wav, one alignment table of IEMOCAP."""

from __future__ import annotations

import wave
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from features.audio import TOLERANCE_S
from features.releases import forced_alignment
from features.releases.iemocap_files import EMOTIONS, Turn
from warehouse.errors import Untreatable

DURATION_TOLERANCE_S = 0.1
CATEGORIES = frozenset(EMOTIONS.values()) - {""}
WAV = (16_000, 1, 2)
"""Frames per second, channels, bytes of each."""

_HEADER_BYTES = 44
"""Of the shortest header there is."""


class Flaw(NamedTuple):
    """One anomaly, by its name; who asks knows where it is."""

    name: str
    problem: str
    known: bool = False


def of_turn(turn: Turn) -> Iterator[Flaw]:
    """Means off the scale, empty dimensions, names of no category, a summary that the external raters contradict.

    A mean off the scale is known where a rater left that dimension empty or went off the scale himself: then every
    copy has it.
    """
    attributes = [rating for rating in turn.ratings if rating.kind == "A"]
    for dimension, mean in turn.means.items():
        if not _on_scale(mean):
            known = not all(_on_scale(rating.numbers.get(dimension, "")) for rating in attributes)
            yield Flaw("dimension_outside", f"{dimension} is {mean}, not in [1, 5]", known)
    for rating in attributes:
        for dimension in sorted(turn.means.keys() - rating.numbers.keys()):
            yield Flaw("missing_dimension", f"rater {rating.rater} gives no {dimension}", known=True)
    for rating in turn.ratings:
        for name in rating.names if rating.kind == "C" else ():
            if name.removesuffix(" state") not in CATEGORIES:
                problem = f"rater {rating.rater} names '{name}', which is none of the ten categories"
                yield Flaw("unknown_category", problem, known=True)
    if problem := contradiction(turn):
        yield Flaw("majority_differs", problem, known=True)


def contradiction(turn: Turn) -> str:
    """How the external raters contradict the summary, or ''.

    An emotion that more of them name than any other, and two at least, must be the summary's; where none is named
    twice, the summary must be xxx; a tie contradicts neither xxx nor an emotion that ties.
    """
    external = [rating for rating in turn.ratings if rating.kind == "C" and rating.is_external]
    votes = Counter(name.removesuffix(" state") for rating in external for name in rating.names)
    if not votes:
        return ""
    most = max(votes.values())
    first = [name for name, n in votes.items() if n == most]
    allowed = set(first) if most > 1 else set()
    if len(allowed) != 1:
        allowed.add(EMOTIONS["xxx"])
    cast = ", ".join(f"{name} {n}" for name, n in sorted(votes.items()))
    agrees = EMOTIONS[turn.emotion] in allowed
    return "" if agrees else f"the summary says {turn.emotion}, the external raters {cast}"


def of_wav(path: Path, turn: Turn | None) -> tuple[float | None, list[Flaw]]:
    """Seconds by the header, None where it cannot be read, and the flaws of header and size.

    Args:
        turn: whose sound it should be; None where nobody judged it.
    """
    header = _header(path)
    if isinstance(header, str):
        return None, [Flaw("unreadable_wav", header)]
    flaws = []
    n_short = header.nframes * header.nchannels * header.sampwidth - path.stat().st_size
    if n_short > 0:
        flaws.append(Flaw("truncated_wav", f"it lacks {n_short} bytes or more of what its header says"))
    if (header.framerate, header.nchannels, header.sampwidth) != WAV:
        form = f"{header.framerate} Hz, {header.nchannels} channels and {8 * header.sampwidth} bits"
        flaws.append(Flaw("wav_format", f"it has {form}, not 16000 Hz, 1 and 16"))
    duration_s, span_s = header.nframes / header.framerate, turn.end_s - turn.start_s if turn else None
    if span_s is not None and abs(duration_s - span_s) > DURATION_TOLERANCE_S + 1e-9:
        problem = f"it lasts {duration_s:.3f} s, but {span_s:.3f} s by the summary"
        flaws.append(Flaw("duration_mismatch", problem, known=True))
    return duration_s, flaws


def of_recording(path: Path, end_s: float) -> Iterator[Flaw]:
    """The flaw of a dialogue's recording, if it has one. Its length is that of its bytes, whatever its header says.

    Args:
        end_s: where the last turn of the dialogue ends.
    """
    header = _header(path)
    if isinstance(header, str):
        yield Flaw("unreadable_recording", header)
        return
    n_there = (path.stat().st_size - _HEADER_BYTES) // (header.nchannels * header.sampwidth)
    duration_s = min(header.nframes, n_there) / header.framerate
    if end_s > duration_s + TOLERANCE_S:
        yield Flaw("short_recording", f"it lasts {duration_s:.3f} s, but a turn ends at {end_s:.3f} s")


def of_table(kind: forced_alignment.Kind, raw: bytes, duration_s: float | None) -> Iterator[Flaw]:
    """The first flaw of one alignment table, if it has any.

    Args:
        duration_s: of the sentence wav; None where it is unknown, and nothing is said of how the table fits it.
    """
    try:
        rows = forced_alignment.segments(kind, raw)
    except Untreatable as error:
        yield Flaw("unparsable_alignment", str(error))
        return
    if problem := forced_alignment.disorder(kind, rows):
        yield Flaw("alignment_disorder", problem)
    elif duration_s is not None and (problem := forced_alignment.misfit(kind, rows, duration_s)):
        yield Flaw("alignment_misfit", problem)


def _header(path: Path) -> Any:
    """What a wav says of its sound (as `wave` names it), or why it is none."""
    try:
        with wave.open(str(path)) as stream:
            header = stream.getparams()
    except (wave.Error, EOFError) as error:
        return f"it is no PCM wav file ({str(error) or 'it ends within its header'})"
    return header if header.framerate else "it is no PCM wav file (its rate is 0 Hz)"


def _on_scale(value: str) -> bool:
    return bool(value) and 1 <= float(value) <= 5
