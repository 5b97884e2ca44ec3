"""What passes between plug-ins and the loops: small, immutable, and counted in seconds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.plugin import RATE_HZ, Clip, FeatureSpec, Interval, RawFile, Rows, heard, normalised_words
from warehouse.errors import Untreatable


@given(st.integers(0, 5 * RATE_HZ))
def test_a_clip_lasts_as_long_as_its_wave(n_samples: int) -> None:
    assert Clip("i", np.zeros(n_samples, np.float32)).duration_s == n_samples / RATE_HZ
    assert Clip("i", text="words only").duration_s == 0.0


def test_what_is_heard_is_the_wave_itself() -> None:
    wave = np.array([0.0, 1.5], np.float32)
    assert heard(Clip("i", wave)) is wave


@pytest.mark.parametrize("clip", [Clip("i"), Clip("i", np.zeros(0, np.float32))])
def test_nothing_is_not_heard(clip: Clip) -> None:
    with pytest.raises(Untreatable, match=r"^the clip is empty: it lasts 0\.000 s$"):
        heard(clip)


def test_what_is_no_number_is_not_heard() -> None:
    wave = np.zeros(RATE_HZ, np.float32)
    wave[[8_000, 9_000]] = np.nan, np.inf
    with pytest.raises(Untreatable, match=r"^2 samples of the clip are not finite \(first: at 0\.500 s\)$"):
        heard(Clip("i", wave))


@pytest.mark.parametrize(
    "passed",
    [Clip("i"), FeatureSpec("frame", ("frame", "dim"), 1), Interval("word", "A", 0.0, 1.0), RawFile("a", 1, "f")],
    ids=lambda passed: type(passed).__name__,
)
def test_nobody_changes_what_was_passed(passed: object) -> None:
    name = dataclasses.fields(passed)[0].name  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError, match=f"cannot assign to field '{name}'"):
        setattr(passed, name, "other")


def test_rows_of_one_reading_are_not_those_of_another() -> None:
    one, two = Rows(), Rows()
    one.utterances.append({})
    assert two == Rows()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Oh, my -- really?!", ["OH", "MY", "REALLY"]),
        ("don’t 'quote' me", ["DON'T", "QUOTE", "ME"]),
        ("twenty-one", ["TWENTY", "ONE"]),
        ("  … ♪ -- ' ", []),
        ("Café n° 3", ["CAFÉ", "N", "3"]),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert normalised_words(text) == words


def test_every_character_is_kept_dropped_or_parts_words_as_the_rule_has_it() -> None:
    def by_rule(text: str) -> list[str]:
        parts = text.replace("’", "'").replace("-", " ").split()
        found = ("".join(c for c in part if c.isalnum() or c == "'").strip("'") for part in parts)
        return [word.upper() for word in found if word]

    for code in range(0x30000):
        text = f"'{chr(code)}' a{chr(code)}b"
        assert normalised_words(text) == by_rule(text), hex(code)


@given(st.text())
def test_words_are_upper_case_and_stay_what_they_are(text: str) -> None:
    words = normalised_words(text)
    assert all(word and not word.startswith("'") and not word.endswith("'") for word in words)
    assert all(c.isalnum() or c == "'" or not c.isascii() for word in words for c in word)
    assert [word.upper() for word in words] == words
