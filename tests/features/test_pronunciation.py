from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.pronunciation import number_words, pronounce
from warehouse.errors import Untreatable

PHONES = "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"
UNKNOWN = {}.get


@given(st.text(string.ascii_lowercase + string.digits + "'éüñ", min_size=2))
def test_every_word_is_said_in_phones_of_the_model(word: str) -> None:
    try:
        phones = pronounce(word, UNKNOWN).split()
    except Untreatable:
        return
    assert phones
    assert set(phones) <= set(PHONES.split())


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("zbrik", "Z B R IH K"),
        ("knave", "N EY V"),
        ("chipping", "CH IH P IH NG"),
        ("ceiling", "S EY L IH NG"),
        ("naïve", "N EY V"),
        ("o'clack", "AA K L AE K"),
    ],
)
def test_spellings(word: str, phones: str) -> None:
    assert pronounce(word, UNKNOWN) == phones


def test_parts_come_from_the_dictionary_first() -> None:
    assert pronounce("4teen", {"four": "F AO R", "teen": "T IY N"}.get) == "F AO R T IY N"


@given(st.integers(0, 999_999_999_999))
def test_cardinals_read_back(number: int) -> None:
    assert value_of(number_words(str(number))) == number


def value_of(words: list[str]) -> int:
    """What cardinal words say: the inverse, written the other way round."""
    small = {word: n for n in range(20) for word in number_words(str(n))}
    small |= {number_words(str(n))[0]: n for n in range(20, 100, 10)}
    total = group = 0
    for word in words:
        if word == "hundred":
            group *= 100
        elif word in small:
            group += small[word]
        else:
            total += group * {"thousand": 10**3, "million": 10**6, "billion": 10**9}[word]
            group = 0
    return total + group


def test_what_is_no_cardinal_is_read_digit_by_digit() -> None:
    assert number_words("007") == ["zero", "zero", "seven"]
    assert number_words("1" * 13) == ["one"] * 13
    assert number_words("0") == ["zero"]


@pytest.mark.parametrize("word", ["你好", "ß", "e"])
def test_a_word_that_cannot_be_said_is_untreatable(word: str) -> None:
    with pytest.raises(Untreatable, match=f"the word '{word}' is not in the dictionary, and the spelling rule cannot"):
        pronounce(word, UNKNOWN)
