"""Near-duplicates: the fast search against the definition, written out."""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flows import similarity
from flows.similarity import Nearest, Repeats, Texts, Words, grams, words_of

WORDS = st.lists(st.sampled_from("ABC"), max_size=9).map(tuple)


def near(texts: Iterable[Words], references: Iterable[Words]) -> dict[Words, Nearest[int]]:
    """What the search finds, references named by their position."""
    return dict(Texts(texts).among(enumerate(references)).near)


def by_definition(
    texts: Iterable[Words], references: list[Words], least: float = 0.5, least_words: int = 6
) -> Repeats[int]:
    def grams_of(words: Words) -> set[Words]:
        return {words[i : i + 4] for i in range(len(words) - 3)}

    same, nearest = {}, {}
    for words in texts:
        if words and words in references:
            same[words] = references.index(words)
        if len(words) < max(least_words, 4):
            continue
        own = grams_of(words)
        shares = [len(own & grams_of(reference)) / len(own) for reference in references]
        if shares and max(shares) >= least and max(shares) > 0:
            nearest[words] = Nearest(shares.index(max(shares)), max(shares))
    return Repeats(same, nearest)


@pytest.mark.parametrize("most_pairs", [1, 5, similarity._MOST_PAIRS])
@given(
    texts=st.lists(WORDS, max_size=8), references=st.lists(WORDS, max_size=12), order=st.randoms(),
    least=st.sampled_from([0.01, 0.34, 0.5, 1.0]), least_words=st.integers(0, 8),
)  # fmt: skip
@example(
    texts=[tuple("ABCABC")], references=[tuple("BBBB")] * 99 + [tuple("CABC")] * 2, order=random.Random(0), least=0.1,
    least_words=4,
)  # fmt: skip
def test_the_search_is_the_definition_whatever_the_order_and_however_few_are_counted_together(
    texts: list[Words], references: list[Words], order: random.Random, least: float, least_words: int, most_pairs: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similarity, "_MOST_PAIRS", most_pairs)
        named = list(enumerate(references))
        order.shuffle(named)
        found = Texts(texts, least, least_words).among(iter(named))
    assert found == by_definition(texts, references, least, least_words)


def test_few_holders_among_many_references_are_counted_apart_and_alike() -> None:
    """The search counts in two ways, by how many references hold a gram; the same text is found in both."""
    shared = words_of("one two three four five six")
    others = [words_of(f"{n} is what they said {n} times at {n} o'clock") for n in range(300)]
    found = near([shared, *others], [*others, shared])
    assert found == {shared: Nearest(300, 1.0)} | {words: Nearest(n, 1.0) for n, words in enumerate(others)}


def test_short_texts_have_none_and_short_references_count() -> None:
    said = words_of("I am so glad you came")
    assert near([said[:5]], [said]) == {}
    assert near([said], [said[:5]]) == {said: Nearest(0, 2 / 3)}
    assert near([said], [said[:4]]) == {}
    assert near([], [said]) == near([said], []) == {}


def test_half_of_the_grams_is_enough_and_less_is_not() -> None:
    """A text of seven words has four grams: two are half."""
    said = tuple("ABCDEFG")
    assert near([said], [tuple("ABCDE")]) == {said: Nearest(0, 0.5)}
    assert near([said], [tuple("ABCD")]) == {}


def test_a_long_reference_that_holds_a_text_repeats_it_and_not_the_other_way_round() -> None:
    """What is judged is the share of the text's own grams."""
    short, long = tuple("ABCDEF"), tuple("ABCDEFGHIJKLMNOP")
    assert near([short], [long]) == {short: Nearest(0, 1.0)}
    assert near([long], [short]) == {}


def test_case_and_punctuation_are_nothing() -> None:
    assert words_of("Well -- I'm NOT sure…") == words_of("well I’m not sure")
    assert words_of("…") == ()


def test_grams_are_distinct() -> None:
    assert grams(tuple("AAAAAB")) == [tuple("AAAA"), tuple("AAAB")]
    assert grams(tuple("ABC")) == []


def test_the_same_words_are_those_of_the_first() -> None:
    oh, no_way = words_of("Oh!"), words_of("No way.")
    references = [words_of(text) for text in ("...", "no way", "oh", "OH", "No way?")]
    found = Texts([oh, no_way, words_of("…"), words_of("Yes")]).among(enumerate(references))
    assert found.same == {oh: 2, no_way: 1}


def test_thousands_that_all_resemble_each_other_take_seconds() -> None:
    """The worst case: every pair shares most of its grams, and no two references the same ones."""
    texts = [words_of(f"this is the same old sentence with number {n} in it") for n in range(3000)]
    began = time.perf_counter()
    found = near(texts, [words_of(f"this is the same old sentence with number {n}") for n in range(5000)])
    assert len(found) == 3000 and found[texts[17]].reference == 17
    assert time.perf_counter() - began < 5


def test_memory_does_not_grow_with_the_references(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "_MOST_PAIRS", 1000)
    texts = Texts(words_of(f"this is the same old sentence with number {n}") for n in range(100))

    def stream(n_references: int) -> Iterator[tuple[int, Words]]:
        for n in range(n_references):
            yield n, words_of(f"{n} is the same old sentence with number {n % 100} said {n} times")

    def peak(n_references: int) -> int:
        tracemalloc.start()
        found = texts.among(stream(n_references))
        assert len(found.near) == 100
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(20_000) < 2 * peak(2_000)


def test_real_subtitle_lines(real: Path) -> None:
    """Thousands of lines against thousands in seconds, and the first hundreds as the definition has them."""
    lines = (real / "xed" / "en-annotated.tsv").read_text(encoding="utf-8").splitlines()
    texts = [words_of(line.partition("\t")[0]) for line in lines]
    others = [words_of(line) for line in (real / "xed" / "neu_en.txt").read_text(encoding="utf-8").splitlines()]
    began = time.perf_counter()
    found = near(texts, others)
    assert time.perf_counter() - began < 5 and found
    some = list(found)[:20] + texts[:200]
    few = [others[position] for position in sorted(one.reference for one in found.values())[:100]] + others[:300]
    assert near(some, few) == by_definition(some, few).near
