"""Bytes of a text file to text, where the file does not say how it is encoded."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass

from charset_normalizer import CharsetMatches, from_bytes

from features.subtitles.languages import n_letters, scripts_of
from warehouse.errors import Untreatable

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip

_WESTERN, _CENTRAL, _CYRILLIC = ("cp1252",), ("cp1250", "iso8859_2"), ("cp1251", "koi8_r")
PAGES = {
    **dict.fromkeys(("ca", "da", "de", "en", "es", "eu", "fi", "fr", "gl", "id", "is", "it", "ms", "nb", "nl", "nn",
                     "no", "pt", "sv"), _WESTERN),
    **dict.fromkeys(("bs", "cs", "hr", "hu", "pl", "ro", "sk", "sl", "sq"), _CENTRAL),
    **dict.fromkeys(("bg", "mk", "ru", "uk"), _CYRILLIC), "sr": ("cp1251", "cp1250"),
    "ar": ("cp1256",), "fa": ("cp1256",), "ur": ("cp1256",), "el": ("cp1253",), "he": ("cp1255",), "th": ("cp874",),
    "tr": ("cp1254",), "vi": ("cp1258",), **dict.fromkeys(("et", "lt", "lv"), ("cp1257",)),
    "ja": ("cp932", "euc_jp"), "ko": ("cp949",), "zh": ("gb18030", "big5"),
}  # fmt: skip
"""Language -> the code pages that its subtitles came in before UTF-8, the likelier first."""

_GUESSED = sorted({page for pages in PAGES.values() for page in pages} - {"iso8859_2"})
_MOST_ACCENTED = 0.3
_REFUSED = "the subtitles are neither UTF-8, UTF-16 nor in a code page that can be told: save them as UTF-8"


@dataclass(frozen=True)
class Decoded:
    """A text, the encoding by Python's name, and whether that was found by the look of the text alone."""

    text: str
    encoding: str
    is_guess: bool = False


def decoded(raw: bytes, language: str = "") -> Decoded:
    """By byte order mark; else UTF-8; else UTF-16 where every other byte is 0; else a code page.

    A code page of the language is taken when what it gives can be that language: letters of its script, and in Latin
    script few accented ones; of two such, the one that looks better to charset-normalizer. Without such a page it
    judges the look of the text under each page of PAGES; Windows-1252 stands where it fits as well as the best. Two
    pages that fit equally well and give different text are a refusal, not a choice; and so is UTF-8 with a few broken
    letters, which a code page would turn into text that looks like none, and UTF-16 with any (half a pair of codes, or
    half a code at the end of a file that was cut off).

    Args:
        language: what the text should be in, if anything says so.

    Raises:
        Untreatable: no encoding, or no one encoding.

    Example:
        >>> decoded("Où est le café ?".encode("cp1252"))
        Decoded(text='Où est le café ?', encoding='cp1252', is_guess=False)
    """
    for mark, encoding in _BOMS:
        if raw.startswith(mark):
            if mark == codecs.BOM_UTF8:
                _refuse_broken_utf8(raw)
            else:
                _refuse_broken_utf16(raw, encoding)
            return Decoded(raw.decode(encoding), encoding)
    if encoding := _wide(raw):
        _refuse_broken_utf16(raw, encoding)
        return Decoded(raw.decode(encoding), encoding, is_guess=True)
    if (text := _strictly(raw, "utf-8")) is not None:
        return Decoded(text, "utf-8")
    _refuse_broken_utf8(raw)
    own = PAGES.get(language.partition("-")[0].casefold(), ())
    fitting = [page for page in own if (text := _strictly(raw, page)) is not None and _can_be(text, language)]
    if len(fitting) > 1:
        fitting = [match.encoding for match in _by_look(raw, fitting)] or fitting
    if fitting:
        return Decoded(raw.decode(fitting[0]), fitting[0])
    return _guessed(raw)


def _strictly(raw: bytes, encoding: str) -> str | None:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return None


def _refuse_broken_utf8(raw: bytes) -> None:
    """Bytes of most of whose letters beyond ASCII are UTF-8: in code pages few pairs of letters look like that."""
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        text = raw.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")
        n_broken = text.count("\ufffd")
        n_whole = sum(ord(char) > 127 for char in text) - n_broken
        if n_whole > 2 * n_broken or raw.startswith(codecs.BOM_UTF8):
            letters = "1 broken letter" if n_broken == 1 else f"{n_broken} broken letters"
            raise Untreatable(
                f"the subtitles are UTF-8 with {letters}, the first at byte {error.start}: save them as UTF-8 again"
            ) from error


def _refuse_broken_utf16(raw: bytes, encoding: str) -> None:
    try:
        raw.decode(encoding)
    except UnicodeDecodeError as error:
        n_broken = raw.decode(encoding, "replace").count("\ufffd")
        letters = "1 broken letter" if n_broken == 1 else f"{n_broken} broken letters"
        raise Untreatable(
            f"the subtitles are UTF-16 with {letters}, the first at byte {error.start}: save them as UTF-8"
        ) from error


def _wide(raw: bytes) -> str:
    """UTF-16 without a mark: times and spaces make every other byte 0, at odd places when little-endian."""
    even, odd = raw[0::2], raw[1::2]
    n_even, n_odd = even.count(0), odd.count(0)
    if n_even + n_odd <= len(raw) // 10:
        return ""
    if n_odd > 4 * n_even:
        return "utf-16-le"
    return "utf-16-be" if n_even > 4 * n_odd else ""


def _can_be(text: str, language: str) -> bool:
    """Whether what is not ASCII looks like the language: most of it in its script, or few accents in a Latin one."""
    foreign = "".join(char for char in text if ord(char) > 127)
    if "LATIN" in scripts_of(language):
        letters = sum(char.isalpha() or ord(char) > 127 for char in text)
        return len(foreign) <= _MOST_ACCENTED * letters
    letters_by_script = n_letters(foreign)
    return 2 * sum(letters_by_script[script] for script in scripts_of(language)) > letters_by_script.total()


def _guessed(raw: bytes) -> Decoded:
    matches = _by_look(raw, _GUESSED)
    if not matches:
        raise Untreatable(_REFUSED)
    best = [m for m in matches if (m.chaos, m.coherence) == (matches[0].chaos, matches[0].coherence)]
    if any("cp1252" in match.could_be_from_charset for match in best) and _can_be(raw.decode("cp1252"), "en"):
        return Decoded(raw.decode("cp1252"), "cp1252")
    if len({str(match) for match in best}) > 1:
        pages = " or ".join(sorted(match.encoding for match in best))
        raise Untreatable(
            f"the subtitles may be in {pages}: save them as UTF-8, or put the language into the file's name"
        )
    return Decoded(raw.decode(best[0].encoding), best[0].encoding, is_guess=True)


def _by_look(raw: bytes, pages: Sequence[str]) -> CharsetMatches:
    """What charset-normalizer finds plausible among these pages, the best first."""
    return from_bytes(raw, cp_isolation=list(pages), enable_fallback=False)
