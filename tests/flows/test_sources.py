from __future__ import annotations

import pytest

from flows.recipe import AlignEntry
from flows.sources import Source, aligner_of, read_source, told_source

ALIGNERS = {
    "provided": AlignEntry(aligner="provided", corpora=["iemocap"]),
    "sphinx": AlignEntry(aligner="pocketsphinx", corpora=["iemocap", "films"]),
}


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("lld", Source("lld")),
        ("teacher.hidden", Source("teacher", "hidden")),
        ("lld@word", Source("lld", tier="word")),
        ("teacher.hidden@provided.syllable", Source("teacher", "hidden", "provided", "syllable")),
        ("@phone", Source(tier="phone")),
        ("@provided.phone", Source(aligner="provided", tier="phone")),
        ("lld@", Source("lld", tier="@")),
        ("", Source()),
    ],
)
def test_a_source_has_its_parts(text: str, source: Source) -> None:
    assert read_source(text) == source


@pytest.mark.parametrize(
    ("text", "corpus", "aligner"),
    [
        ("@word", "films", "sphinx"),
        ("@word", "iemocap", ""),
        ("@provided.word", "iemocap", "provided"),
        ("@sphinx.word", "iemocap", "sphinx"),
        ("@provided.word", "films", ""),
        ("@word", "meld", ""),
    ],
)
def test_the_aligner_is_the_one_that_is_named_or_the_only_one(text: str, corpus: str, aligner: str) -> None:
    assert aligner_of(read_source(text), corpus, ALIGNERS) == aligner


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("text", ("", "text")),
        ("heard:text", ("heard", "text")),
        ("heard:bert.hidden@provided.word", ("heard", "bert.hidden@provided.word")),
        ("heard:@word", ("heard", "@word")),
        ("a:b:lld", ("a:b", "lld")),
    ],
)
def test_a_source_may_be_read_of_a_corpus_that_is_told_again(text: str, parts: tuple[str, str]) -> None:
    assert told_source(text) == parts
