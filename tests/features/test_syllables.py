"""The maximal onset principle, by its definition and on words everybody cuts alike."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.plugin import Interval
from features.syllables import CONSONANTS, ONSETS, VOWELS, is_arpabet, syllables

PHONES = st.lists(st.sampled_from([*sorted(CONSONANTS), *sorted(VOWELS)]), min_size=1, max_size=12)


def said(phones: list[str], start_s: float = 0.0) -> tuple[Interval, list[Interval]]:
    """A word of phones of 0.1 s each."""
    spans = [(start_s + n / 10, start_s + (n + 1) / 10) for n in range(len(phones))]
    intervals = [Interval("phone", name, *span, -1.0) for name, span in zip(phones, spans, strict=True)]
    return Interval("word", "W", spans[0][0], spans[-1][1]), intervals


@pytest.mark.parametrize(
    ("phones", "expected"),
    [
        ("HH AE P IY", "HH_AE P_IY"), ("EH K S T R AH", "EH_K S_T_R_AH"), ("AE NG K SH AH S", "AE_NG_K SH_AH_S"),
        ("S IH NG IH NG", "S_IH_NG IH_NG"), ("T AH M AO R OW", "T_AH M_AO R_OW"),
        ("S T R EH NG K TH", "S_T_R_EH_NG_K_TH"), ("HH M", "HH_M"), ("K R IY EY T", "K_R_IY EY_T"),
        ("W IH N D OW", "W_IH_N D_OW"),
        ("AA B Z ER V", "AA_B Z_ER_V"),
    ],
)  # fmt: skip
def test_words_that_everybody_cuts_alike(phones: str, expected: str) -> None:
    word, spoken = said(phones.split())
    assert " ".join(one.symbol for one in syllables([word], spoken)) == expected


@given(PHONES)
def test_each_has_one_vowel_and_as_many_consonants_before_it_as_english_allows(phones: list[str]) -> None:
    word, spoken = said(phones)
    found = [one.symbol.split("_") for one in syllables([word], spoken)]
    assert [phone for one in found for phone in one] == phones
    n_vowels = sum(phone in VOWELS for phone in phones)
    assert len(found) == max(1, n_vowels)
    for before, after in pairwise(found):
        onset = next(n for n, phone in enumerate(after) if phone in VOWELS)
        own = tuple(after[:onset])
        assert len(own) < 2 or own in ONSETS
        assert own != ("NG",)
        last = before[-1]
        longer = (last, *own)
        assert last in VOWELS or (longer not in ONSETS if len(longer) > 1 else last == "NG"), "the onset is maximal"


@given(st.lists(PHONES, min_size=1, max_size=4))
def test_none_crosses_from_one_word_to_the_next(phones: list[list[str]]) -> None:
    words, spoken, at_s = [], [], 0.0
    for own in phones:
        word, intervals = said(own, at_s)
        words.append(word)
        spoken += intervals
        at_s = word.end_s + 0.05
    found = syllables(words, spoken)
    edges = {(round(word.start_s, 6), round(word.end_s, 6)) for word in words}
    starts, ends = {round(one.start_s, 6) for one in found}, {round(one.end_s, 6) for one in found}
    assert {start for start, _ in edges} <= starts and {end for _, end in edges} <= ends
    assert all(one.end_s <= other.start_s + 1e-9 for one, other in pairwise(found))


def test_a_score_is_the_mean_by_duration_or_none() -> None:
    phones = [Interval("phone", "AA", 0.0, 0.3, -1.0), Interval("phone", "T", 0.3, 0.4, -5.0)]
    word = Interval("word", "W", 0.0, 0.4)
    assert syllables([word], phones)[0].score == pytest.approx(-2.0)
    assert syllables([word], [phones[0], Interval("phone", "T", 0.3, 0.4)])[0].score is None


def test_what_can_begin_a_syllable_is_a_consonant() -> None:
    assert {phone for onset in ONSETS for phone in onset} <= CONSONANTS and not CONSONANTS & VOWELS


def test_stress_is_nothing_to_the_cut_and_stays_in_the_symbol() -> None:
    cuts = []
    for phones in ("EH K S T R AH", "EH1 K S T R AH0"):
        word, spoken = said(phones.split())
        found = syllables([word], spoken)
        cuts.append([(one.start_s, one.end_s) for one in found])
    assert cuts[0] == cuts[1]
    assert [one.symbol for one in found] == ["EH1_K", "S_T_R_AH0"]


@pytest.mark.parametrize(("phones", "known"), [("AH0 B ZH", True), ("", True), ("ə b", False), ("AH3", False)])
def test_only_of_arpabet_the_vowels_are_known(phones: str, known: bool) -> None:
    assert is_arpabet([Interval("phone", phone, 0.0, 0.1) for phone in phones.split()]) is known
