"""A pronunciation dictionary as MFA reads it: one pronunciation per line, after the word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from warehouse.errors import MalformedSource

Lexicon = Mapping[str, tuple[str, ...]]
"""Word in upper case -> what follows it on its lines: phones, and the probabilities before them where it has any."""


def read_lexicon(path: Path) -> Lexicon:
    """The pronunciations of every word of a dictionary.

    Words that differ in case only are one word, as MFA itself reads them; a word that is upper-cased to another
    spelling ('ß') has that spelling's pronunciations too, because transcripts are upper case when they are compared.

    Raises:
        MalformedSource: it is not UTF-8, a line has a word only, or there is no line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedSource(path, f"is no dictionary of MFA's: it is not UTF-8 ({error.reason})") from error
    found: dict[str, dict[str, None]] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        word, *rest = line.split(maxsplit=1)
        if not rest:
            raise MalformedSource(path, f"line {number} of the dictionary has '{word}' without a pronunciation")
        found.setdefault(_upper(word), {})[rest[0].rstrip()] = None
    if not found:
        raise MalformedSource(path, "is no dictionary of MFA's: it has no line")
    return {word: tuple(rests) for word, rests in found.items()}


def write_lexicon(path: Path, lexicon: Lexicon, words: Iterable[str]) -> None:
    """Writes the dictionary cut to some words of it: with all of CMUdict MFA takes three times the memory.

    Nothing but these words is in it, no clitic ("'s") that a word could be taken apart by: so what becomes of a clip
    does not depend on the words of the others.
    """
    lines = [f"{spoken(word)}\t{rest}\n" for word in sorted(set(words)) for rest in lexicon[word]]
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


def spoken(word: str) -> str:
    """A normalised word as it is written for MFA, which puts every word in lower case.

    Example:
        >>> spoken("CAN'T")
        "can't"
    """
    return word.lower()


def _upper(word: str) -> str:
    return word.replace("’", "'").upper()
