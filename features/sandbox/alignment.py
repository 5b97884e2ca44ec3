"""Forced alignment files in the form of the IEMOCAP release, from the times the synthesiser gives."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence

FRAME_S = 0.01

ARPABET = {
    "0": "AA", "3": "ER", "3:": "ER", "@": "AH", "@2": "AH", "@L": "AH L", "A:": "AA", "A@": "AA R", "D": "DH",
    "E": "EH", "I": "IH", "I#": "IH", "I2": "IH", "N": "NG", "O2": "AO", "O:": "AO", "O@": "AO R", "S": "SH",
    "T": "TH", "U": "UH", "U@": "UH R", "V": "AH", "Z": "ZH", "a": "AE", "a#": "AH", "aI": "AY", "aI@": "AY ER",
    "aI3": "AY ER", "aU": "AW", "aU@": "AW ER", "aa": "AE", "b": "B", "d": "D", "dZ": "JH", "e@": "EH R", "eI": "EY",
    "f": "F", "g": "G", "h": "HH", "i": "IY", "i:": "IY", "i@": "IY AH", "i@3": "IH R", "j": "Y", "k": "K",
    "l": "L", "m": "M", "n": "N", "n-": "AH N", "oU": "OW", "OI": "OY", "o@": "AO R", "p": "P", "r": "R", "r-": "R",
    "s": "S", "t": "T", "t#": "T", "t2": "T", "tS": "CH", "u:": "UW", "v": "V", "w": "W", "z": "Z",
}  # fmt: skip
"""espeak-ng's mnemonics for American English; one may be two phones."""

GLIDE = ";"
"""A transition that espeak-ng counts as a phone: given to the phone after it."""

VOWELS = frozenset({"AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"})

Span = tuple[str, int, int]
"""A symbol with its first frame and the frame after its last."""

Timed = Sequence[tuple[str, float, float]]


def words_in_frames(words: Timed, n_frames: int) -> list[Span]:
    """`<s>`, words and `<sil>`, without holes from frame 0 to the last."""
    plain = [(word.strip(".,!?").upper(), start_s, end_s) for word, start_s, end_s in words]
    return _contiguous(_framed(plain), n_frames, "<sil>", "<s>", "</s>")


def phones_in_frames(phones: Timed, n_frames: int) -> list[Span]:
    """ARPAbet phones and `SIL`, without holes."""
    return _contiguous(_framed(_arpabet(phones)), n_frames, "SIL", "SIL", "SIL")


def wdseg(words: Sequence[Span], choose: random.Random) -> str:
    """Times of words."""
    return _table("\t SFrm  EFrm    SegAScr Word", words, 10, choose)


def phseg(phones: Sequence[Span], choose: random.Random) -> str:
    """Times of phones, each written with its neighbours and its place in the utterance."""
    names = [name for name, _, _ in phones]
    shown = []
    for i, (name, start, end) in enumerate(phones):
        if name != "SIL":
            after = names[i + 1] if i + 1 < len(names) else "SIL"
            before = names[i - 1] if i else "SIL"
            place = "sbei"[2 * (before != "SIL") + (after != "SIL")]  # single, beginning, end, inside
            name = f"{name} {before} {after} {place}"
        shown.append((name, start, end))
    return _table("\t SFrm  EFrm   SegAScr Phone", shown, 9, choose)


def syseg(phones: Sequence[Span]) -> str:
    """Times of syllables: each vowel takes the consonant before it, and the last one what follows."""
    lines = ["\t SFrm  EFrm Syllable"]
    lines += [f"\t{start:5d} {end - 1:5d} {name}" for name, start, end in _syllables(phones)]
    return "\n".join(lines) + "\n"


def _table(header: str, spans: Sequence[Span], width: int, choose: random.Random) -> str:
    scores = [-round((end - start) * choose.uniform(4_000, 9_000)) for _, start, end in spans]
    lines = [header]
    for (name, start, end), score in zip(spans, scores, strict=True):
        lines.append(f"\t{start:5d} {end - 1:5d} {score:{width}d} {name}")
    return "\n".join([*lines, f" Total score: {sum(scores):11d}"]) + "\n"


def _arpabet(phones: Timed) -> Iterator[tuple[str, float, float]]:
    glide_s: float | None = None
    for symbol, start_s, end_s in phones:
        if symbol == GLIDE:
            glide_s = start_s
            continue
        names = ARPABET[symbol].split()
        start_s, glide_s = (start_s if glide_s is None else glide_s), None
        step_s = (end_s - start_s) / len(names)
        for i, name in enumerate(names):
            yield name, start_s + i * step_s, start_s + (i + 1) * step_s


def _framed(timed: Sequence[tuple[str, float, float]] | Iterator[tuple[str, float, float]]) -> list[Span]:
    return [(symbol, round(start_s / FRAME_S), round(end_s / FRAME_S)) for symbol, start_s, end_s in timed]


def _contiguous(spans: Sequence[Span], n_frames: int, silence: str, first: str, last: str) -> list[Span]:
    """Fills holes: three frames or more are silence, fewer belong to what is before; every span gets a frame."""
    done: list[Span] = []
    at = 0
    for symbol, start, end in spans:
        start, end = max(start, at), max(end, start + 1, at + 1)
        if start - at >= 3 or not done:
            done.append((silence if done else first, at, max(start, at + 1)))
            start = max(start, at + 1)
        elif start > at:
            done[-1] = (done[-1][0], done[-1][1], start)
        done.append((symbol, start, max(end, start + 1)))
        at = done[-1][2]
    return [*done, (last, at, max(n_frames, at + 1))]


def _syllables(phones: Sequence[Span]) -> Iterator[Span]:
    run: list[Span] = []
    for phone in [*phones, ("SIL", 0, 0)]:
        if phone[0] != "SIL":
            run.append(phone)
        elif run:
            vowels = [i for i, (name, _, _) in enumerate(run) if name in VOWELS] or [0]
            starts = [0] + [max(i - 1, previous + 1) for previous, i in itertools.pairwise(vowels)]
            for start, end in zip(starts, [*starts[1:], len(run)], strict=True):
                part = run[start:end]
                yield "_".join(name for name, _, _ in part), part[0][1], part[-1][2]
            run = []
