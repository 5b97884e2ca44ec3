"""What becomes of each cue: an utterance, nothing (and why), or a failure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from features.audio import TOLERANCE_S
from features.plugin import normalised_words
from features.subtitles.cues import BROKEN, NO_END, NO_TIMES, Cue
from features.subtitles.spoken_text import (
    changes_speaker,
    is_advert,
    is_placed,
    plain,
    repaired,
    spoken_text,
    without_foreign_lines,
)
from features.subtitles.webvtt import n_voices

LEFT_OUT: Mapping[str, str] = {
    "empty": "it has no text",
    "hidden": "it ends when it begins, so that nobody sees it",
    "advert": "it is no part of the film",
    "placed": "it is something written in the picture",
    "foreign": "it is in a script that the language is not written in",
    "repeat": "it only repeats what the cue before it shows",
    "no speech": "it describes sound or is sung",
    "two speakers": "two speakers share it",
    "overlap": "another cue of speech is on at the same time",
    "merged": "the cue before it, which ends in mid-sentence, took it in",
    "short": "it is shorter than the reader wants",
    "few words": "it has fewer words than the reader wants",
}
"""Why a cue that is no failure is no utterance."""

FLAWS: Mapping[str, str] = {
    "missing_times": "a cue has no line of times",
    "missing_end": "a cue has no end",
    "malformed_times": "the times of a cue cannot be read",
    "broken_text": "letters of a cue cannot be decoded",
    "reversed_times": "a cue ends before it starts",
    "outside": "a cue lies outside the soundtrack",
}
"""Why a cue is a failure."""

ROLLING = 0.2
"""The part of cues that must repeat a line of the cue before for a file to be rolling captions."""

_FLAWS = {NO_TIMES: "missing_times", NO_END: "missing_end", BROKEN: "broken_text"}
_SENTENCE_END = re.compile(r"[.?!…。？！][\"'”’»)\]]*$")


@dataclass(frozen=True)
class Rules:
    """What a reader asks of a cue; the fields are those of `features.corpora.films`."""

    min_duration_s: float
    min_words: int
    merge_gap_s: float
    merge_max_s: float


@dataclass(frozen=True)
class Fate:
    """One cue and what became of it.

    Args:
        text: what is said; of a cue that took others in, all of it.
        left_out: a name of LEFT_OUT, '' for an utterance.
        problem: why it is a failure, in a sentence.
        flaw: the same as a name, one of FLAWS.
        members: numbers of the cues it consists of, its own first.
    """

    cue: Cue
    text: str = ""
    left_out: str = ""
    problem: str = ""
    flaw: str = ""
    members: tuple[int, ...] = ()

    @property
    def is_utterance(self) -> bool:
        """Whether it becomes a row."""
        return not self.left_out and not self.problem

    @property
    def is_speech(self) -> bool:
        """Whether somebody speaks while it is shown."""
        return bool(self.cue.times_s) and not self.problem and self.left_out in ("", "two speakers")


def by_text(cues: Sequence[Cue], language: str) -> list[Fate]:
    """The fates of cues as far as their text decides them; times are looked at only to tell repeats and hidden cues.

    Args:
        language: what the subtitles are in; '' where nothing says so.
    """
    rolls = is_rolling(cues)
    shown = _new_lines(cues, rolls)
    return [_fate(cue, shown.get(cue.number), language) for cue in (_unrolled(cues) if rolls else cues)]


def by_time(fates: Sequence[Fate], duration_s: float, rules: Rules) -> list[Fate]:
    """The fates when times and rules are looked at too. Two cues of speech that overlap are both left out: the sound
    under each holds the other's words.

    Args:
        fates: from `by_text`, with the times at which the cues are heard.
    """
    fates = _without_overlaps([_placed_in(fate, duration_s) for fate in fates])
    if rules.merge_gap_s > 0:
        fates = _merged(fates, rules)
    return [_filtered(fate, rules) for fate in fates]


def ends_sentence(text: str) -> bool:
    """Whether a text ends where a sentence may.

    Example:
        >>> ends_sentence('He said "no."'), ends_sentence("and so we,")
        (True, False)
    """
    return bool(_SENTENCE_END.search(text))


def n_rolling(cues: Sequence[Cue]) -> int:
    """How many cues begin with the last line of the cue before, which has just gone."""
    return sum(bool(_repeated(one, two)) for one, two in pairwise(cues))


def is_rolling(cues: Sequence[Cue]) -> bool:
    """Whether cues are rolling captions, in which each line is shown twice."""
    return n_rolling(cues) >= max(2, ROLLING * len(cues))


def _fate(cue: Cue, shown: str | None, language: str) -> Fate:
    if cue.times_s is None:
        flaw = _FLAWS.get(cue.problem, "malformed_times")
        return Fate(cue, problem=f"cue {cue.number} {cue.problem}", flaw=flaw)
    if not plain(cue.text).strip():
        return Fate(cue, left_out="empty")
    if is_advert(cue.text):
        return Fate(cue, left_out="advert")
    if cue.times_s[0] == cue.times_s[1]:
        return Fate(cue, left_out="hidden")
    if is_placed(cue.text):
        return Fate(cue, left_out="placed")
    if shown is None:
        return Fate(cue, left_out="repeat")
    own = without_foreign_lines(shown, language)
    if not own.strip():
        return Fate(cue, left_out="foreign")
    said = spoken_text(own)
    if said is None or n_voices(own) > 1:
        return Fate(cue, left_out="two speakers")
    return Fate(cue, repaired(said, language), "" if said else "no speech", members=(cue.number,))


def _unrolled(cues: Sequence[Cue]) -> Iterator[Cue]:
    """Rolling captions until the next one comes: the line that stays on was said before."""
    for cue, following in zip(cues, [*cues[1:], None], strict=True):
        if cue.times_s and following and following.times_s and cue.times_s[0] < following.times_s[0] < cue.times_s[1]:
            yield replace(cue, times_s=(cue.times_s[0], following.times_s[0]))
        else:
            yield cue


def _new_lines(cues: Sequence[Cue], rolls: bool) -> dict[int, str]:
    """Cue number -> the lines that the cue before did not show; a cue without any, or shown twice, is not in it."""
    new: dict[int, str] = {}
    before: Cue | None = None
    for cue in cues:
        lines = cue.text.split("\n")
        if before is not None and (before.times_s, before.text) == (cue.times_s, cue.text):
            continue
        if before is not None and rolls:
            lines = lines[_repeated(before, cue) :]
        if any(plain(line).strip() for line in lines):
            new[cue.number] = "\n".join(lines)
        before = cue
    return new


def _repeated(one: Cue, two: Cue) -> int:
    """How many lines at the beginning of a cue stood at the end of the one before, if it comes right after it."""
    if one.times_s is None or two.times_s is None or two.times_s[0] > one.times_s[1] + TOLERANCE_S:
        return 0
    old = [" ".join(plain(line).split()) for line in one.text.split("\n")]
    new = [" ".join(plain(line).split()) for line in two.text.split("\n")]
    for n_lines in range(min(len(old), len(new)), 0, -1):
        if old[-n_lines:] == new[:n_lines] and any(new[:n_lines]):
            return n_lines
    return 0


def _placed_in(fate: Fate, duration_s: float) -> Fate:
    """A failure where the times are no span of the soundtrack; cues that nobody wants are let be."""
    if fate.problem or fate.left_out in ("advert", "hidden") or fate.cue.times_s is None:
        return fate
    (start_s, end_s), number = fate.cue.times_s, fate.cue.number
    if end_s <= start_s:
        problem = f"cue {number} ends at {end_s} s, not after its start at {start_s} s"
        return replace(fate, problem=problem, flaw="reversed_times")
    if start_s < 0:
        problem = f"cue {number} [{start_s}, {end_s}] s starts before the soundtrack"
        return replace(fate, problem=problem, flaw="outside")
    if end_s > duration_s + TOLERANCE_S:
        problem = f"cue {number} [{start_s}, {end_s}] s passes the end of the soundtrack at {duration_s:.3f} s"
        return replace(fate, problem=problem, flaw="outside")
    return fate


def _without_overlaps(fates: Sequence[Fate]) -> list[Fate]:
    overlapping = set()
    speech = sorted((fate.cue.times_s, fate.cue.number) for fate in fates if fate.is_speech and fate.cue.times_s)
    latest: tuple[float, int] | None = None
    for (start_s, end_s), number in speech:
        if latest is not None and start_s < latest[0] - TOLERANCE_S:
            overlapping |= {latest[1], number}
        if latest is None or end_s > latest[0]:
            latest = end_s, number
    return [
        replace(fate, left_out="overlap") if fate.is_utterance and fate.cue.number in overlapping else fate
        for fate in fates
    ]


def _merged(fates: Sequence[Fate], rules: Rules) -> list[Fate]:
    """Utterances that end in mid-sentence take in the next one if the same speaker may go on, the gap is smaller, and
    both together are not too long; else the next one begins anew."""
    merged: list[Fate] = []
    last: int | None = None
    for fate in fates:
        if last is not None and fate.is_utterance and _goes_on(merged[last], fate, rules):
            first = merged[last]
            start_s, end_s = (first.cue.times_s or (0.0, 0.0))[0], (fate.cue.times_s or (0.0, 0.0))[1]
            cue = replace(first.cue, times_s=(start_s, end_s), text=f"{first.cue.text}\n{fate.cue.text}")
            text = f"{first.text} {fate.text}"
            merged[last] = replace(first, cue=cue, text=text, members=(*first.members, fate.cue.number))
            fate = replace(fate, left_out="merged")
        elif not fate.left_out or fate.left_out == "two speakers":
            last = len(merged) if fate.is_utterance else None
        merged.append(fate)
    return merged


def _goes_on(first: Fate, second: Fate, rules: Rules) -> bool:
    if first.cue.times_s is None or second.cue.times_s is None or ends_sentence(first.text):
        return False
    if round(second.cue.times_s[1] - first.cue.times_s[0], 3) > rules.merge_max_s:
        return False
    same = second.cue.speaker in ("", first.cue.speaker) and not changes_speaker(second.cue.text)
    return same and -TOLERANCE_S <= round(second.cue.times_s[0] - first.cue.times_s[1], 3) < rules.merge_gap_s


def _filtered(fate: Fate, rules: Rules) -> Fate:
    if not fate.is_utterance or fate.cue.times_s is None:
        return fate
    if len(normalised_words(fate.text)) < rules.min_words:
        return replace(fate, left_out="few words")
    start_s, end_s = fate.cue.times_s
    return fate if round(end_s - start_s, 3) >= rules.min_duration_s else replace(fate, left_out="short")
