"""The text files of IEMOCAP, line by line: summaries with their raters, and transcriptions.

What does not parse is told as a Fault, never skipped: the reader stops at the first, the strict check lists them all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

EMOTIONS = {
    "ang": "Anger", "hap": "Happiness", "exc": "Excited", "sad": "Sadness", "neu": "Neutral", "fru": "Frustration",
    "sur": "Surprise", "fea": "Fear", "dis": "Disgust", "oth": "Other", "xxx": "",
}  # fmt: skip
"""Code of the summary -> how a rater's line names it (it may say 'Neutral state'); xxx is that no majority exists."""

DIMENSIONS = {"val": "valence", "act": "activation", "dom": "dominance"}

_DIALOGUE = r"Ses0(?P<session>[1-5])(?P<wearer>[FM])_(?P<scenario>impro\d{2}|script0[1-3]_[1-3])[ab]?"
DIALOGUE = re.compile(_DIALOGUE)
UTTERANCE = re.compile(_DIALOGUE + r"_(?P<letter>[FM])\d{3}")

_HEADER = "its first line is not the '% [START_TIME - END_TIME] …' header it must have"
_SUMMARY = re.compile(
    r"\[(?P<start>\d+\.\d+) - (?P<end>\d+\.\d+)\]\t(?P<id>\S+)\t(?P<emotion>\w+)\t"
    r"\[(?P<val>\d+\.\d+), (?P<act>\d+\.\d+), (?P<dom>\d+\.\d+)\]\s*"
)
_RATING = re.compile(r"(?P<kind>[CA])-(?P<rater>[A-Z]\d+):\t(?P<judgement>[^\t]*)")
_NUMBER = re.compile(r"(val|act|dom)\s+(\d+(?:\.\d+)?)")
_SAID = re.compile(r"\s*(?P<id>Ses\S+)\s+\[\d+\.\d+\s*-\s*\d+\.\d+\]\s*:\s?(?P<text>.*)")
_TAG = re.compile(r"\[[^\]]*\]")


@dataclass(frozen=True)
class Rating:
    """One rater's line. `kind` is C (categories) or A (attributes); E raters are external, F and M the actors."""

    line: int
    kind: str
    rater: str
    judgement: str

    @property
    def is_external(self) -> bool:
        return self.rater.startswith("E")

    @property
    def names(self) -> list[str]:
        """The categories, each once, in the rater's order; stray semicolons name nothing.

        Example:
            >>> Rating(2, "C", "E3", "Frustration; ; Anger;").names
            ['Frustration', 'Anger']
        """
        return list(dict.fromkeys(name.strip() for name in self.judgement.split(";") if name.strip()))

    @property
    def numbers(self) -> dict[str, str]:
        """The dimensions that have a value; some lines lack one.

        Example:
            >>> Rating(2, "A", "E4", "val 3; act 3; dom  ;").numbers
            {'val': '3', 'act': '3'}
        """
        return dict(_NUMBER.findall(self.judgement))


@dataclass(frozen=True)
class Turn:
    """One summary line with the raters' lines below it. Times are seconds in the recording of the dialogue."""

    line: int
    id: str
    start_s: float
    end_s: float
    emotion: str
    means: Mapping[str, str]
    ratings: list[Rating] = field(default_factory=list)

    @property
    def dialogue(self) -> str:
        return dialogue_of(self.id)

    @property
    def speaker(self) -> str:
        return speaker_of(self.id)


@dataclass(frozen=True)
class Fault:
    """A line that cannot be what it should be. `name` is the anomaly's; `id` the utterance's where it can be told."""

    name: str
    line: int
    problem: str
    id: str = ""


def dialogue_of(utterance: str) -> str:
    """The recording an utterance belongs to: 'Ses03M_impro05a' of 'Ses03M_impro05a_F012'."""
    return utterance.rpartition("_")[0]


def speaker_of(utterance: str) -> str:
    """The session with the letter of the *turn*; the letter before it only says who wore the markers.

    Example:
        >>> speaker_of("Ses05M_script01_1b_F003")
        'Ses05F'
    """
    return utterance[:5] + utterance[-4]


def wearer_of(utterance: str) -> str:
    """Who wore the markers, as a speaker: 'Ses05M' of 'Ses05M_script01_1b_F003'."""
    return utterance[:6]


def scenario_of(utterance: str) -> str:
    """'improvised' or 'scripted'."""
    return "improvised" if "_impro" in utterance else "scripted"


def spoken(verbatim: str) -> str:
    """A transcript without its [TAGS]; may be empty.

    Example:
        >>> spoken("Well [LAUGHTER] -- two things: no, and no.")
        'Well   -- two things: no, and no.'
    """
    return _TAG.sub(" ", verbatim)


def turns(raw: bytes) -> Iterator[Turn | Fault]:
    """What one file of EmoEvaluation says, in its order."""
    lines = _lines(raw)
    if not lines[0].startswith("%"):
        yield Fault("unparsable_summary", 1, _HEADER)
    turn: Turn | None = None
    for number, line in enumerate(lines, start=1):
        if line.startswith("["):
            if turn is not None:
                yield turn
            found = _summary(number, line)
            turn = found if isinstance(found, Turn) else None
            if isinstance(found, Fault):
                yield found
        elif turn is not None and (match := _RATING.match(line)):
            turn.ratings.append(Rating(number, *match.groups()))
        elif turn is not None and line.startswith(("C-", "A-")):
            problem = f"line {number} is no 'C-E1:' or 'A-E1:' line with tabs around the judgement: {line!r}"
            yield Fault("unparsable_rating", number, problem, turn.id)
    if turn is not None:
        yield turn


def transcripts(raw: bytes) -> Iterator[tuple[str, str]]:
    """(utterance, verbatim) of one transcription, cut at the first ']:'. Lines without an id and turns that were never
    cut out (ids such as …_FXX0) are in every release and are none of ours."""
    for line in _lines(raw):
        if (match := _SAID.fullmatch(line)) and UTTERANCE.fullmatch(match["id"]):
            yield match["id"], match["text"].strip()


def _summary(number: int, line: str) -> Turn | Fault:
    match = _SUMMARY.fullmatch(line)
    if match is None:
        known = UTTERANCE.search(line)
        problem = f"line {number} is no '[start - end] TURN EMOTION [V, A, D]' line: {line!r}"
        return Fault("unparsable_summary", number, problem, known[0] if known else "")
    name, emotion = match["id"], match["emotion"]
    if UTTERANCE.fullmatch(name) is None:
        return Fault("unknown_id", number, f"line {number} has '{name}', which is no utterance id of IEMOCAP")
    if emotion not in EMOTIONS:
        known_emotions = ", ".join(sorted(EMOTIONS))
        problem = f"line {number} has the unknown emotion '{emotion}' (known: {known_emotions})"
        return Fault("unknown_emotion", number, problem, name)
    start_s, end_s = float(match["start"]), float(match["end"])
    if end_s <= start_s:
        problem = f"line {number} ends at {end_s} s, not after its start at {start_s} s"
        return Fault("empty_span", number, problem, name)
    means: dict[str, Any] = {dimension: match[dimension] for dimension in DIMENSIONS}
    return Turn(number, name, start_s, end_s, emotion, means)


def _lines(raw: bytes) -> list[str]:
    """LF or CRLF; ASCII but for a few bytes of a one-byte code page in comments, and a mark that editors leave."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return text.replace("\r\n", "\n").split("\n")
