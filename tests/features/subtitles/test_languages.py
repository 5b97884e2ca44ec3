from __future__ import annotations

from pathlib import Path

import pytest

from features.subtitles.languages import (
    SCRIPTS,
    contradiction,
    detect,
    is_foreign,
    language_code,
    n_letters,
    same_language,
    scripts_of,
)
from features.subtitles.webvtt import parse_vtt


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("en", "en"), ("ENG", "en"), ("English", "en"), ("pt-BR", "pt-br"), ("por", "pt"), ("ger", "de"),
        ("deu", "de"), ("zh_Hans", "zh-hans"), ("cht", "zh"), ("und", ""), ("1080p", ""), ("web", ""), ("", ""),
    ],
)  # fmt: skip
def test_codes(written: str, code: str) -> None:
    assert language_code(written) == code


def test_every_code_has_its_script() -> None:
    assert {language_code(code) for code in SCRIPTS} == set(SCRIPTS)
    assert scripts_of("eng") == scripts_of("en-GB") == {"LATIN"} and scripts_of("xx") == frozenset()


def test_regions_are_aside() -> None:
    assert same_language("en-GB", "eng") and same_language("xx", "XX") and not same_language("en", "")


def test_letters_by_script() -> None:
    assert n_letters("Ab1 ёЖ 汉! ｱＡ") == {"LATIN": 3, "CYRILLIC": 2, "CJK": 1, "KATAKANA": 1}


def test_foreign_is_what_is_mostly_in_another_script() -> None:
    assert is_foreign("Осторожно, Emo!", "en") and not is_foreign("Осторожно, Emo!", "ru")
    assert not is_foreign("12:30", "ru") and not is_foreign("何を言えば", "ja") and not is_foreign("Осторожно", "xx")


def words_of(path: Path) -> str:
    return " ".join(cue.text for cue in parse_vtt(path.read_text()))


def test_real_captions(real: Path) -> None:
    english = words_of(real / "subtitles" / "elephantsdream_captions.en.vtt")
    russian = words_of(real / "subtitles" / "elephantsdream_captions.ru.vtt")
    assert (detect(english), detect(russian)) == ("en", "ru")
    assert contradiction(english, "en-GB") == contradiction(russian, "ru") == contradiction(russian, "xx") == ""
    assert contradiction(russian, "en") == "most of its letters are CYRILLIC"
    assert contradiction(english, "ru") == "most of its letters are LATIN"
    assert contradiction(english, "de") == "its words are of 'en'"
    assert contradiction(russian, "bg") == "its words are of 'ru'"


def test_too_little_text_contradicts_nothing() -> None:
    assert contradiction("This is not German at all.", "de") == ""
    assert contradiction("Осторожно!", "en") == "", "a title card is no film"
    assert contradiction("Осторожно! Ты не ранен? Пойдём.", "en") == "most of its letters are CYRILLIC"


def test_neighbours_that_a_model_cannot_tell_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.subtitles.languages.detect", lambda text: "da")
    text = " ".join(f"ord{number}" for number in range(30))
    assert contradiction(text, "no") == ""
    assert contradiction(text, "sv") == "its words are of 'da'"
    assert contradiction("ord " * 100, "sv") == "", "a word said a hundred times is one word"
