"""Which language: how names of files write it, which script it is written in, and what a text is in."""

from __future__ import annotations

import functools
import unicodedata
from collections import Counter

from features.plugin import normalised_words

MIN_WORDS = 30
"""A text of fewer different words says too little of its language for a judgement (its script may still be judged)."""

MIN_LETTERS = 20
"""A shorter text says too little of its script for a judgement."""

_LATIN = frozenset({"LATIN"})
_CYRILLIC = frozenset({"CYRILLIC"})
_CHINESE = frozenset({"CJK"})
SCRIPTS = {
    "ar": frozenset({"ARABIC"}), "bg": _CYRILLIC, "bn": frozenset({"BENGALI"}), "el": frozenset({"GREEK"}),
    "fa": frozenset({"ARABIC"}), "he": frozenset({"HEBREW"}), "hi": frozenset({"DEVANAGARI"}),
    "ja": frozenset({"CJK", "HIRAGANA", "KATAKANA"}), "ka": frozenset({"GEORGIAN"}), "ko": frozenset({"HANGUL"}),
    "mk": _CYRILLIC, "ru": _CYRILLIC, "sr": _CYRILLIC | _LATIN, "ta": frozenset({"TAMIL"}),
    "te": frozenset({"TELUGU"}), "th": frozenset({"THAI"}), "uk": _CYRILLIC, "ur": frozenset({"ARABIC"}),
    "zh": _CHINESE,
    **dict.fromkeys(
        ("bs", "ca", "cs", "da", "de", "en", "es", "et", "eu", "fi", "fr", "gl", "hr", "hu", "id", "is", "it", "lt",
         "lv", "ms", "nb", "nl", "nn", "no", "pl", "pt", "ro", "sk", "sl", "sq", "sv", "tr", "vi"), _LATIN,
    ),
}  # fmt: skip
"""Language -> the scripts it is written in, by the first word of Unicode's names of letters."""

_NAMES = {
    "ar": "ara arabic", "bg": "bul bulgarian", "bn": "ben bengali", "bs": "bos bosnian", "ca": "cat catalan",
    "cs": "cze ces czech", "da": "dan danish", "de": "ger deu german deutsch", "el": "gre ell greek",
    "en": "eng english", "es": "spa spanish espanol español castellano", "et": "est estonian", "eu": "baq eus basque",
    "fa": "per fas persian farsi", "fi": "fin finnish", "fr": "fre fra french francais français",
    "gl": "glg galician", "he": "heb hebrew", "hi": "hin hindi", "hr": "hrv croatian", "hu": "hun hungarian",
    "id": "ind indonesian", "is": "ice isl icelandic", "it": "ita italian italiano", "ja": "jpn japanese",
    "ka": "geo kat georgian", "ko": "kor korean", "lt": "lit lithuanian", "lv": "lav latvian",
    "mk": "mac mkd macedonian", "ms": "may msa malay", "nb": "nob", "nl": "dut nld dutch nederlands", "nn": "nno",
    "no": "nor norwegian", "pl": "pol polish", "pt": "por pob portuguese portugues português", "ro": "rum ron romanian",
    "ru": "rus russian", "sk": "slo slk slovak", "sl": "slv slovenian slovene", "sq": "alb sqi albanian",
    "sr": "srp scc serbian", "sv": "swe swedish", "ta": "tam tamil", "te": "tel telugu", "th": "tha thai",
    "tr": "tur turkish", "uk": "ukr ukrainian", "ur": "urd urdu", "vi": "vie vietnamese",
    "zh": "chi zho chs cht chinese",
}  # fmt: skip
_CODES = {name: code for code, names in _NAMES.items() for name in (code, *names.split())}

_ALIKE = ({"no", "nb", "nn", "da"}, {"hr", "bs", "sr"}, {"id", "ms"}, {"zh", "yue"})
"""Languages that a detector takes for one another in writing."""


def language_code(written: str) -> str:
    """The code of a language however it is written, '' for what is none; a region stays.

    Example:
        >>> language_code("eng"), language_code("German"), language_code("pt-BR"), language_code("1080p")
        ('en', 'de', 'pt-br', '')
    """
    first, _, rest = written.strip().casefold().replace("_", "-").partition("-")
    code = _CODES.get(first, "")
    return f"{code}-{rest}" if code and rest else code


def same_language(one: str, other: str) -> bool:
    """Whether two codes name one language, regions aside.

    Example:
        >>> same_language("pt-BR", "por"), same_language("en", "de")
        (True, False)
    """
    return _primary(one) == _primary(other)


def scripts_of(language: str) -> frozenset[str]:
    """The scripts that a language is written in; empty when this module does not know."""
    return SCRIPTS.get(_primary(language), frozenset())


def n_letters(text: str) -> Counter[str]:
    """Script -> how many letters of it a text has."""
    found = Counter(text)
    scripts: Counter[str] = Counter()
    for char, n in found.items():
        if char.isalpha():
            scripts[_script(char)] += n
    return scripts


def is_foreign(text: str, language: str) -> bool:
    """Whether most letters of a text are of a script that the language is not written in.

    Example:
        >>> is_foreign("Осторожно!", "en"), is_foreign("Watch out, Емо!", "en"), is_foreign("1962", "en")
        (True, False, False)
    """
    wanted, letters = scripts_of(language), n_letters(text)
    n_wanted = sum(letters[script] for script in wanted)
    return bool(wanted) and 2 * n_wanted < letters.total()


def contradiction(text: str, language: str) -> str:
    """What speaks against a text being in a language, in words; '' for nothing, or too little text.

    The script decides first, then py3langid's model over all different words. Languages that are told apart by it badly
    (Norwegian and Danish; Croatian, Bosnian and Serbian; Indonesian and Malay) count as one.
    """
    if not scripts_of(language):
        return ""
    letters = n_letters(text)
    if letters.total() >= MIN_LETTERS and is_foreign(text, language):
        return f"most of its letters are {letters.most_common(1)[0][0]}"
    different = list(dict.fromkeys(word.casefold() for word in normalised_words(text)))
    if len(different) < MIN_WORDS:
        return ""
    detected, wanted = detect(" ".join(different)), _primary(language)
    alike = any({detected, wanted} <= group for group in _ALIKE)
    return "" if detected == wanted or alike else f"its words are of '{detected}'"


def detect(text: str) -> str:
    """The code of the language that py3langid finds most likely for a text."""
    return str(_identifier().classify(text)[0])


def _primary(language: str) -> str:
    return language_code(language).partition("-")[0] or language.casefold().partition("-")[0]


@functools.cache
def _identifier():  # type: ignore[no-untyped-def]  # py3langid has no types
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE)


@functools.cache
def _script(char: str) -> str:
    name = unicodedata.name(char, "UNNAMED").split()
    return name[1] if name[0] in ("FULLWIDTH", "HALFWIDTH") and len(name) > 1 else name[0]
