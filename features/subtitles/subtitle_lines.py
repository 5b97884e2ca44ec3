"""What becomes of a line of a subtitle corpus: kept with its words, or left out for one reason."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator
from enum import IntEnum
from hashlib import blake2b
from pathlib import Path

import numpy as np

from features.plugin import normalised_words
from features.releases.opus_xml import Sentence
from features.releases.untokenised import untokenised
from features.subtitles import spoken_text
from warehouse.errors import MalformedSource, MissingFolder
from warehouse.schema import canonical_text


class Fate(IntEnum):
    """Why a line is left out, or that it is kept."""

    KEPT = 0
    NOT_UTF8 = 1
    ADVERT = 2
    TWO_SPEAKERS = 3
    NOTHING_SAID = 4
    EVALUATION = 5
    DUPLICATE = 6
    NOT_ALIGNED = 7


COUNTED = {
    Fate.KEPT: "kept",
    Fate.NOT_UTF8: "not UTF-8",
    Fate.ADVERT: "adverts",
    Fate.TWO_SPEAKERS: "of two speakers",
    Fate.NOTHING_SAID: "nothing said",
    Fate.EVALUATION: "evaluation lines",
    Fate.DUPLICATE: "duplicates",
    Fate.NOT_ALIGNED: "not aligned",
}
"""Fate -> how counts call it."""

ADVERT_WORDS = (
    "http", "www.", "opensubtitles", "addic7ed", "podnapisi", "subscene", "yts.", "subtitleseeker", "tvsubtitles",
    "by", "downloaded", "sync", "advertise", "support us", "remove all", "watch",
)  # fmt: skip
"""No advert of `features.subtitles.spoken_text` is without one of these; looking for them is several times as fast."""


def judged(line: str, evaluation: frozenset[str] = frozenset()) -> tuple[Fate, str]:
    """The fate of a line, and its words where it is kept: without leading dash, markup, sound descriptions, songs and
    speaker names. Whether it is a duplicate, one line alone cannot tell.

    Args:
        evaluation: what `evaluation_lines` gives; lines of the same words are left out.

    Example:
        >>> judged("- Well, (sighs) no."), judged("♪ La la la ♪")
        ((<Fate.KEPT: 0>, 'Well, no.'), (<Fate.NOTHING_SAID: 4>, ''))
    """
    folded = line.casefold()
    if any(word in folded for word in ADVERT_WORDS) and spoken_text.is_advert(line):
        return Fate.ADVERT, ""
    said = spoken_text.spoken_text(line)
    if said is None:
        return Fate.TWO_SPEAKERS, ""
    text = canonical_text(said)
    if not text:
        return Fate.NOTHING_SAID, ""
    if evaluation and _words(text) in evaluation:
        return Fate.EVALUATION, ""
    return Fate.KEPT, text


def judged_bytes(line: bytes, evaluation: frozenset[str] = frozenset()) -> tuple[Fate, str, str]:
    """The fate of a line as a file has it, the line as text, and its words."""
    try:
        verbatim = line.decode("utf-8")
    except UnicodeDecodeError:
        return Fate.NOT_UTF8, "", ""
    fate, said = judged(verbatim, evaluation)
    return fate, verbatim, said


def judged_sentences(
    sentences: Iterable[Sentence], aligned: Collection[str] | None, evaluation: frozenset[str] = frozenset()
) -> Iterator[tuple[Sentence, Fate, str]]:
    """The sentences of a document, each with its fate and words.

    Args:
        aligned: ids of those that count; None for all.
    """
    for sentence in sentences:
        if aligned is not None and sentence.id not in aligned:
            yield sentence, Fate.NOT_ALIGNED, ""
        else:
            text = untokenised(sentence.text) if sentence.is_tokenised else sentence.text
            yield sentence, *judged(text, evaluation)


def fates_of(judgements: Iterable[tuple[Fate, str]]) -> np.ndarray:
    """The fates of lines that are read as one, duplicates told; uint8 [n_lines].

    A line that is left out for another reason is the first of nothing. Memory is a byte per line and, while duplicates
    are counted, some twenty more per line that is kept: words are told apart by 64 bits of a hash.

    Args:
        judgements: fate and words of each.

    Example:
        >>> fates_of([(Fate.KEPT, "Yes."), (Fate.KEPT, "No."), (Fate.KEPT, "Yes.")]).tolist()
        [0, 0, 6]
    """
    fates, hashes = bytearray(), array("Q")
    for fate, text in judgements:
        fates.append(fate)
        if fate == Fate.KEPT:
            hashes.append(_hash(text))
    found = np.frombuffer(fates, np.uint8)
    repeated = _repeats(np.frombuffer(hashes, np.uint64))
    found[found == Fate.KEPT] = np.where(repeated, np.uint8(Fate.DUPLICATE), np.uint8(Fate.KEPT))
    return found


def evaluation_lines(root: Path, paths: Iterable[str]) -> frozenset[str]:
    """The words of each line of some text files, without case and punctuation; lines without words count for nothing.

    Raises:
        MissingFolder: a file is not there.
        MalformedSource: a file is not UTF-8.
    """
    found: set[str] = set()
    for path in paths:
        if not (root / path).is_file():
            raise MissingFolder(f"the list of evaluation lines '{path}'", root / path, "name it relative to the corpus")
        try:
            lines = (root / path).read_bytes().decode("utf-8-sig").replace("\r", "\n").split("\n")
        except UnicodeDecodeError as error:
            raise MalformedSource(path, f"it is not UTF-8 ({error.reason} at byte {error.start})") from error
        found.update(_words(line) for line in lines)
    return frozenset(found - {""})


def _words(text: str) -> str:
    return " ".join(normalised_words(text))


def _hash(text: str) -> int:
    """64 bits that stand for a text: two of ten million differing texts share them with a chance of 3 in a million."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _repeats(hashes: np.ndarray) -> np.ndarray:
    """True where a value stood before; bool [n]. Sorts sixteen parts of the values one after the other, so that it
    needs little more memory than they do.

    Args:
        hashes: uint64 [n].

    Example:
        >>> _repeats(np.array([5, 3, 5, 5], np.uint64)).tolist()
        [False, False, True, True]
    """
    again = np.zeros(len(hashes), bool)
    for part in range(16):
        places = np.flatnonzero(hashes & np.uint64(15) == part)
        places = places[np.argsort(hashes[places], kind="stable")]
        again[places[1:]] = hashes[places[1:]] == hashes[places[:-1]]
    return again
