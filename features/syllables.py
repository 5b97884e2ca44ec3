"""Syllables from phones: every vowel is one, and consonants between two vowels go to the later one as far as English
can begin a word with them (the maximal onset principle)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from features.plugin import Interval

VOWELS = frozenset(["AA", "AE", "AH", "AO", "AW", "AX", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"])
"""Of ARPAbet, without stress."""

CONSONANTS = frozenset(
    ["B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG", "P", "R", "S", "SH", "T", "TH", "V", "W",
     "Y", "Z", "ZH"]
)  # fmt: skip

ONSETS = frozenset(
    tuple(onset.split())
    for onset in (
        "P L", "P R", "P Y", "B L", "B R", "B Y", "T R", "T W", "D R", "D W", "K L", "K R", "K W", "K Y", "G L", "G R",
        "G W", "F L", "F R", "F Y", "V Y", "TH R", "TH W", "SH R", "HH W", "HH Y", "M Y", "S F", "S K", "S L", "S M",
        "S N", "S P", "S T", "S W", "S K L", "S K R", "S K W", "S K Y", "S P L", "S P R", "S P Y", "S T R",
    )
)  # fmt: skip
"""What an English word can begin with, of two consonants or more; of single ones it is every one but NG."""


def syllables(words: Sequence[Interval], phones: Sequence[Interval]) -> list[Interval]:
    """The syllables of each word, from its first phone to its last; no syllable crosses from one word to the next.

    A word without a vowel ("hmm") is one syllable. The symbol is the phones joined by '_', as they are; the score is
    the mean of theirs, weighed by duration, or None where one has none.

    Args:
        words: in order of time.
        phones: of ARPAbet, in order of time; those of a word lie within it.

    Example:
        >>> phones = "EH K S T R AH".split()
        >>> spoken = [Interval("phone", phone, n / 10, (n + 1) / 10, -1.0) for n, phone in enumerate(phones)]
        >>> [(one.symbol, one.start_s, one.end_s) for one in syllables([Interval("word", "EXTRA", 0.0, 0.6)], spoken)]
        [('EH_K', 0.0, 0.2), ('S_T_R_AH', 0.2, 0.6)]

    Source: Kahn 1976; Zhao et al. 2022 align at this level and do not name their syllabifier.
    """
    found = []
    position = 0
    for word in words:
        own = []
        while position < len(phones) and phones[position].end_s <= word.end_s + 1e-6:
            own.append(phones[position])
            position += 1
        found += [_syllable(part) for part in _parts(own)]
    return found


def is_arpabet(phones: Sequence[Interval]) -> bool:
    """Whether all are phones of ARPAbet, with stress or without: of others it is not known here which are vowels."""
    return all(_bare(phone) in VOWELS | CONSONANTS for phone in phones)


def _bare(phone: Interval) -> str:
    """Without the stress of a vowel: 'AH' for 'AH0'."""
    return phone.symbol.rstrip("012")


def _parts(phones: Sequence[Interval]) -> Iterator[Sequence[Interval]]:
    vowels = [position for position, phone in enumerate(phones) if _bare(phone) in VOWELS]
    begin = 0
    for before, after in pairwise(vowels):
        cut = after
        while cut - 1 > before and _is_onset([_bare(phone) for phone in phones[cut - 1 : after]]):
            cut -= 1
        yield phones[begin:cut]
        begin = cut
    if begin < len(phones):
        yield phones[begin:]


def _is_onset(consonants: Sequence[str]) -> bool:
    return consonants != ["NG"] if len(consonants) == 1 else tuple(consonants) in ONSETS


def _syllable(phones: Sequence[Interval]) -> Interval:
    scores = [(phone.score, phone.end_s - phone.start_s) for phone in phones]
    known = [(score, span_s) for score, span_s in scores if score is not None]
    total_s = sum(span_s for _, span_s in known)
    score = sum(score * span_s for score, span_s in known) / total_s if len(known) == len(scores) and total_s else None
    return Interval("syllable", "_".join(p.symbol for p in phones), phones[0].start_s, phones[-1].end_s, score)
