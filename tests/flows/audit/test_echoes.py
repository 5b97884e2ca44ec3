"""What is said again: the arrays against the search that goes one reference at a time."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.audit import echoes
from flows.audit.echoes import Echoes
from flows.audit.wordings import wordings, words_in
from flows.similarity import Texts, words_of

LINE = st.lists(st.sampled_from(["A", "b", "C,", "é"]), max_size=10).map(" ".join)
SAID = st.lists(LINE, max_size=10)


@pytest.mark.parametrize(("most_pairs", "most_bits"), [(1, 26), (7, 1), (echoes._MOST_PAIRS, echoes._MOST_BITS)])
@given(
    texts=SAID, references=st.lists(st.tuples(LINE, st.integers(0, 7)), max_size=10),
    least=st.sampled_from([0.01, 0.34, 0.5, 1.0]), least_words=st.integers(0, 8),
    asked=st.lists(st.integers(0, 7), min_size=10, max_size=10),
)  # fmt: skip
def test_what_is_said_again_is_what_the_slow_search_finds_for_each_learner(
    texts: list[str], references: list[tuple[str, int]], least: float, least_words: int, asked: list[int],
    most_pairs: int, most_bits: int,
) -> None:  # fmt: skip
    """Three learn, each from some of the references, and each is asked about some of the texts."""
    batches = [
        (pa.array([text for text, _ in some], pa.string()), np.array([whose for _, whose in some], np.int64))
        for some in (references[:5], references[5:])
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(echoes, "_MOST_PAIRS", most_pairs)
        patch.setattr(echoes, "_MOST_BITS", most_bits)
        bits = np.array(asked[: len(texts)], np.int64)
        found = Echoes(pa.array(texts, pa.string()), least, least_words).among(batches, bits)
    for bit in (1, 2, 4):
        own = [words_of(text) for text, whose in references if whose & bit]
        slow = Texts(map(words_of, texts), least, least_words).among(enumerate(own))
        pairs = [(words_of(text), bool(one & bit)) for text, one in zip(texts, asked, strict=False)]
        assert (found.same & bit > 0).tolist() == [words in slow.same and is_asked for words, is_asked in pairs]
        assert (found.near & bit > 0).tolist() == [words in slow.near and is_asked for words, is_asked in pairs]


def test_many_that_resemble_each_other_are_counted_in_both_ways() -> None:
    texts = [f"this is the same old sentence with number {n} in it" for n in range(300)]
    references = [text.removesuffix(" in it") for text in texts] + ["nothing of the kind was ever said here"] * 2
    asked = np.ones(len(texts), np.int64)
    whose = np.ones(len(references), np.int64)
    found = Echoes(pa.array(texts)).among([(pa.array(references), whose)], asked)
    assert found.near.all() and not found.same.any()
    assert not Echoes(pa.array(texts)).among([(pa.array(references[300:]), whose[300:])], asked).near.any()


def test_a_phrase_that_many_say_is_everybodys() -> None:
    """Of references that hold the same grams one is looked at, whoever learned from which."""
    text = "and that is the end of the story"
    references = pa.array([f"{text} number {n} and so on" for n in range(60)])
    found = Echoes(pa.array([text, text])).among([(references, 1 << np.arange(60))], np.array([-1, 1 << 59]))
    assert found.near.tolist() == [(1 << 60) - 1, 1 << 59] and found.same.tolist() == [0, 0]


@given(st.lists(st.text("ab'é ", max_size=40), max_size=6))
def test_equal_grams_have_equal_hashes_also_of_long_words(texts: list[str]) -> None:
    own = wordings(pa.array([*texts, *texts], pa.string()))
    words, hashes = words_in(own)[0].to_pylist(), echoes._hashes(own)[1].tolist()
    grams = [tuple(words[n : n + 4]) for n in range(len(words) - 3)]
    assert len(hashes) == len(grams)
    hash_of = dict(zip(grams, hashes, strict=True))
    assert [hash_of[gram] for gram in grams] == hashes
