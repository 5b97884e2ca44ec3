"""Near-duplicates: the fast search against the definition, written out."""

from __future__ import annotations

import time
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from flows.similarity import Nearest, grams, near_duplicates, same_words, words_of

WORDS = st.lists(st.sampled_from("ABC"), max_size=9).map(tuple)


def by_definition(
    texts: list[tuple[str, ...]], references: list[tuple[str, ...]], least: float, least_words: int
) -> dict[int, Nearest]:
    def grams_of(words: tuple[str, ...]) -> set[tuple[str, ...]]:
        return {words[i : i + 4] for i in range(len(words) - 3)}

    nearest = {}
    for position, words in enumerate(texts):
        if len(words) < max(least_words, 4):
            continue
        own = grams_of(words)
        shares = [len(own & grams_of(reference)) / len(own) for reference in references]
        if shares and max(shares) >= least and max(shares) > 0:
            nearest[position] = Nearest(shares.index(max(shares)), max(shares))
    return nearest


@given(
    texts=st.lists(WORDS, max_size=8), references=st.lists(WORDS, max_size=12),
    least=st.sampled_from([0.01, 0.34, 0.5, 1.0]), least_words=st.integers(0, 8),
)  # fmt: skip
@example(texts=[tuple("ABCABC")], references=[tuple("BBBB")] * 99 + [tuple("CABC")] * 2, least=0.1, least_words=4)
def test_the_search_is_the_definition(
    texts: list[tuple[str, ...]], references: list[tuple[str, ...]], least: float, least_words: int
) -> None:
    assert near_duplicates(texts, iter(references), least, least_words) == by_definition(
        texts, references, least, least_words
    )


def test_few_holders_among_many_references_are_counted_apart_and_alike() -> None:
    """The search counts in two ways, by how many references hold a gram; the same text is found in both."""
    shared = words_of("one two three four five six")
    others = [words_of(f"{n} is what they said {n} times at {n} o'clock") for n in range(300)]
    asked = [shared, *others]
    found = near_duplicates(asked, [*others, shared])
    assert found == {0: Nearest(300, 1.0)} | {n + 1: Nearest(n, 1.0) for n in range(300)}


def test_short_texts_have_none_and_short_references_count() -> None:
    said = words_of("I am so glad you came")
    assert near_duplicates([said[:5]], [said]) == {}
    assert near_duplicates([said], [said[:5]]) == {0: Nearest(0, 2 / 3)}
    assert near_duplicates([said], [said[:4]]) == {}
    assert near_duplicates([], [said]) == near_duplicates([said], []) == {}


def test_case_and_punctuation_are_nothing() -> None:
    assert words_of("Well -- I'm NOT sure…") == words_of("well I’m not sure")
    assert words_of("…") == ()


def test_grams_are_distinct() -> None:
    assert grams(tuple("AAAAAB")) == [tuple("AAAA"), tuple("AAAB")]
    assert grams(tuple("ABC")) == []


def test_the_same_words_are_those_of_the_first() -> None:
    texts = [words_of(text) for text in ("Oh!", "…", "No way.", "Yes")]
    references = [words_of(text) for text in ("...", "no way", "oh", "OH", "No way?")]
    assert same_words(texts, iter(references)) == {0: 2, 2: 1}


def test_thousands_that_all_resemble_each_other_take_seconds() -> None:
    """The worst case: every pair shares most of its grams."""
    texts = [words_of(f"this is the same old sentence with number {n} in it") for n in range(3000)]
    began = time.perf_counter()
    found = near_duplicates(texts, [words_of(f"this is the same old sentence with number {n}") for n in range(5000)])
    assert len(found) == 3000 and found[17].reference == 17
    assert time.perf_counter() - began < 5


def test_real_subtitle_lines(real: Path) -> None:
    """Thousands of lines against thousands in seconds, and the first hundreds as the definition has them."""
    lines = (real / "xed" / "en-annotated.tsv").read_text(encoding="utf-8").splitlines()
    texts = [words_of(line.partition("\t")[0]) for line in lines]
    others = [words_of(line) for line in (real / "xed" / "neu_en.txt").read_text(encoding="utf-8").splitlines()]
    began = time.perf_counter()
    found = near_duplicates(texts, others)
    assert time.perf_counter() - began < 5 and found
    some = [texts[position] for position in sorted(found)[:20]] + texts[:200]
    wanted = sorted({one.reference for one in found.values()})[:100]
    few = [others[position] for position in wanted] + others[:300]
    assert near_duplicates(some, few) == by_definition(some, few, 0.5, 6)
