"""What is said again: the arrays against the search that goes one reference at a time."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.audit import echoes
from flows.audit.echoes import Echoes, wordings, words_in
from flows.similarity import Texts, words_of

LETTERS = st.text("AbC1'’- \n\t\x00\x1c\u3000éßŉ…!", max_size=14)
SAID = st.lists(st.lists(st.sampled_from(["A", "b", "C,", "é"]), max_size=10).map(" ".join), max_size=10)


@given(st.lists(LETTERS, max_size=8), st.integers(0, 2))
def test_the_words_are_those_of_one_text_at_a_time(texts: list[str], begin: int) -> None:
    found = wordings(pa.array(texts, pa.string()).slice(begin))
    expected = [list(words_of(text)) for text in texts[begin:]]
    assert found.to_pylist() == ["".join(f"{word} " for word in own) for own in expected]
    words, place = words_in(found.slice(1))
    assert words.to_pylist() == [f"{word} " for own in expected[1:] for word in own]
    assert place.tolist() == [n for n, own in enumerate(expected[1:]) for _ in own]


@pytest.mark.parametrize("most_pairs", [1, 7, echoes._MOST_PAIRS])
@given(
    texts=SAID, references=SAID, least=st.sampled_from([0.01, 0.34, 0.5, 1.0]), least_words=st.integers(0, 8),
    unasked=st.sets(st.integers(0, 9)),
)  # fmt: skip
def test_what_is_said_again_is_what_the_slow_search_finds(
    texts: list[str], references: list[str], least: float, least_words: int, unasked: set[int], most_pairs: int
) -> None:
    slow = Texts(map(words_of, texts), least, least_words).among(enumerate(map(words_of, references)))
    asked = np.array([place not in unasked for place in range(len(texts))], np.bool_)
    batches = [pa.array(some, pa.string()) for some in (references[:5], references[5:])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(echoes, "_MOST_PAIRS", most_pairs)
        found = Echoes(pa.array(texts, pa.string()), least, least_words).among(batches, asked)
    pairs = list(zip(map(words_of, texts), asked.tolist(), strict=True))
    assert found.same.tolist() == [words in slow.same and is_asked for words, is_asked in pairs]
    assert found.near.tolist() == [words in slow.near and is_asked for words, is_asked in pairs]


def test_many_that_resemble_each_other_are_counted_in_both_ways() -> None:
    texts = [f"this is the same old sentence with number {n} in it" for n in range(300)]
    references = [text.removesuffix(" in it") for text in texts] + ["nothing of the kind was ever said here"] * 2
    asked = np.ones(len(texts), np.bool_)
    found = Echoes(pa.array(texts)).among([pa.array(references)], asked)
    assert found.near.all() and not found.same.any()
    assert not Echoes(pa.array(texts)).among([pa.array(references[300:])], asked).near.any()


@pytest.mark.slow
def test_the_words_are_those_with_any_letter_of_unicode() -> None:
    letters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    texts = [f"it{letter}s '{letter} x{letter}" for letter in letters]
    found = wordings(pa.array(texts)).to_pylist()
    assert found == ["".join(f"{word} " for word in words_of(text)) for text in texts]
