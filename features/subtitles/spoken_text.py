"""What is said in a cue: without markup, sound descriptions, names and songs; and what else a cue may be."""

from __future__ import annotations

import html
import re
from functools import cache

from features.subtitles.languages import is_foreign, same_language

_BRACKETS = {"<": r"<[^<>]*>", "{": r"\{[^}]*\}?", "[": r"\[[^\]]*\]?", "(": r"\([^)]*\)?"}
_CLOSING = {"<": ">", "{": "}", "[": "]", "(": ")"}
_MARKUP = "<{"
_DESCRIPTION = "[("
_BREAK = re.compile(r"<br\s*/?>|\\N", re.IGNORECASE)
_NAME = re.compile(r"([^:]{2,30}):(?!\d)")
_DASH = re.compile(r"(?:[-‐–—](?![-‐–—])|>>+)\s*")
_SECOND_DASH = re.compile(r"[.?!…\"”] (?:[-‐–—] ?|>>+ ?)\w")
_NO_CHARACTER = re.compile(r"&#[0-9]{600,};?")  # of none; `html` raises for it
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060\ufeff]")
_NOTES = "♪♫♩♬"
_HASHED = re.compile(r"#\s.*|.*\s#")
_PLACED = re.compile(r"\{[^{}]*\\(?:pos|move|org|p[1-9])[^}]*\}")

ADVERTS = (
    r"https?://|\bwww\.",
    r"\bopensubtitles\b|\baddic7ed\b|\bpodnapisi\b|\bsubscene\b|\bYTS\.|\bsubtitleseeker\b|\btvsubtitles\b",
    r"\b(?:subtitles?|subtitling|subbing|subs|captions?|captioning|transcripts?|(?:re)?sync(?:ed|hed|hronized|hronised)?)"
    r"(?:\s+(?:&|\+|and|made|possible|provided|sponsored|corrected|corrections))*\s+by\b|"
    r"\bsub(?:title)?s?\s+downloaded\s+from\b",
    r"^\W*(?:transcribed|translated|translation|ripped|encoded|timed|edited|corrected|corrections)\s+by\b",
    r"^\W*(?:re)?sync(?:ed|hed|hronized|hronised)?\s*(?:[:&+/]|and\b)",
    r"\badvertise your product\b|\bsupport us and become\b|\bremove all ads\b|\bwatch (?:any|more) .* online\b",
)
"""What a cue says that is no part of the film: addresses, subtitle sites, who made or timed the subtitles."""

_ADVERT = re.compile("|".join(ADVERTS), re.IGNORECASE)

_L_FOR_I = re.compile(r"\bl(?=['’](?:m|ll|ve|d|s)\b)|(?<![\w.'’-])l(?![\w.-]|['’]\w)|(?<![\w.'’-])l(?=[tsnfTSNF]\b)")
_L_IN_CAPITALS = re.compile(r"(?<=[A-Z])l(?=[A-Z])|\bl(?=[A-Z]{2})|(?<=[A-Z]{2})l\b")


def spoken_text(text: str) -> str | None:
    """What is said in a cue, or None when two speakers share it.

    Markup, [sound descriptions], (the same), sung lines, SPEAKER NAMES: and leading dashes go; entities become
    letters. A second speaker is a dash, a chevron (>>) or a name that follows speech.

    Example:
        >>> spoken_text("<i>MAN 2:\\nWait (gasps) for me.</i>")
        'Wait for me.'
        >>> spoken_text("- Is it you?\\n- No.") is None
        True
    """
    said: list[str] = []
    for line in _unsung(_without(_DESCRIPTION, " ", plain(text)).split("\n")):
        line = line.strip()
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


def changes_speaker(text: str) -> bool:
    """Whether a cue begins with a dash, a chevron or a NAME: as one does where another speaker begins.

    Example:
        >>> changes_speaker("- No."), changes_speaker("<i>ANN: No.</i>"), changes_speaker("and so on")
        (True, True, False)
    """
    begun = _without(_DESCRIPTION, " ", plain(text)).strip()
    name = _NAME.match(begun)
    return bool(_DASH.match(begun)) or bool(name and name[1].isupper())


def plain(text: str) -> str:
    """A cue without markup: tags and overrides go, entities become letters, what nobody sees goes.

    Example:
        >>> plain("{\\\\an8}<font color='red'>Rock &amp; roll</font>&lrm;")
        'Rock & roll'
    """
    unmarked = html.unescape(_NO_CHARACTER.sub("\ufffd", _without(_MARKUP, "", _BREAK.sub("\n", text))))
    return _INVISIBLE.sub("", unmarked.replace("\u00a0", " "))


def _without(kinds: str, by: str, text: str) -> str:
    """The text with something else for each bracket of these kinds and what it holds. One that nothing closes stays;
    nothing closes any after it, so its kind is not looked for again: a line of 100,000 of them took seconds."""

    def cut(bracket: re.Match[str]) -> str:
        whole = bracket[0]
        if whole[-1] == _CLOSING[whole[0]]:
            return by
        return whole[0] + _without(kinds.replace(whole[0], ""), by, whole[1:])

    return _brackets(kinds).sub(cut, text) if kinds else text


@cache
def _brackets(kinds: str) -> re.Pattern[str]:
    return re.compile("|".join(_BRACKETS[kind] for kind in kinds))


def is_advert(text: str) -> bool:
    """Whether a cue is no part of the film, by ADVERTS.

    Example:
        >>> is_advert("Sync & corrections by Someone"), is_advert("We are in sync, by the way.")
        (True, False)
    """
    return bool(_ADVERT.search(" ".join(plain(text).split())))


def is_placed(text: str) -> bool:
    """Whether an ASS event is put at a place of its own or drawn: something written in the picture, not said."""
    return bool(_PLACED.search(text[: text.rfind("}") + 1]))  # what nothing closes is not searched for its end


def without_foreign_lines(text: str, language: str) -> str:
    """A bilingual cue without the lines that are in a script the language is not written in.

    Two languages of one script cannot be told apart so, and stay.

    Example:
        >>> without_foreign_lines("跟我来！\\nFollow me!", "en")
        'Follow me!'
    """
    return "\n".join(line for line in text.split("\n") if not is_foreign(plain(line), language))


def repaired(text: str, language: str) -> str:
    """English text with I where a scanner read l: 'l', "l'm", 'lt', 'HlS'. Other languages stay as they are.

    Example:
        >>> repaired("l think lt's HlS. We'll ask Al, if l'm late.", "en")
        "I think It's HIS. We'll ask Al, if I'm late."
    """
    if language and not same_language(language, "en"):
        return text
    return _L_IN_CAPITALS.sub("I", _L_FOR_I.sub("I", text))


def _unsung(lines: list[str]) -> list[str]:
    """The lines that are not sung: no note and no '#' at an end, nor between a first and a last such line."""
    spoken, sung_until = [], -1
    for position, line in enumerate(lines):
        line = line.strip()
        if not (any(note in line for note in _NOTES) or _HASHED.fullmatch(line)):
            if position > sung_until:
                spoken.append(line)
        elif line[0] in _NOTES and not any(note in line[1:] for note in _NOTES):
            ends = [n for n in range(position + 1, len(lines)) if lines[n].strip()[-1:] in tuple(_NOTES)]
            sung_until = max(sung_until, ends[0] if ends else -1)
    return spoken
