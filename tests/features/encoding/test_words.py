from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.encoding.words import NO_WORD, word_of_characters, word_of_tokens
from features.extractors.encoder import Encoder
from features.plugin import Clip, normalised_words
from tests.features.tiny_bert import write_bert
from tests.features.tiny_text import write_text_encoder

SPEECH = st.text(alphabet="aZé'’- ,.!?—\t我今ن߈ßİ½²😀０", max_size=40)
ANYTHING = st.text(max_size=30)


@given(SPEECH | ANYTHING)
def test_the_characters_of_each_word_spell_it(text: str) -> None:
    words = word_of_characters(text)
    assert len(words) == len(text)
    spelled = [
        "".join(letter for letter, own in zip(text, words, strict=True) if own == word).replace("’", "'").upper()
        for word in sorted(set(words) - {NO_WORD})
    ]
    assert spelled == normalised_words(text)
    kept = [word for word, _ in groupby(word for word in words if word != NO_WORD)]
    assert kept == list(range(len(spelled)))


def test_a_token_is_of_the_word_of_its_first_letter() -> None:
    spans = [(0, 0), (0, 2), (2, 4), (4, 5), (5, 8), (7, 8), (8, 13)]
    found = word_of_tokens("I can't! so-so", spans)
    assert (found.dtype, found.shape) == (np.int32, (7, 1))
    assert found[:, 0].tolist() == [NO_WORD, 0, 1, 1, 1, NO_WORD, 2]


def test_a_text_without_words_has_tokens_without_words() -> None:
    assert word_of_tokens("... -", [(0, 0), (0, 3), (4, 5)])[:, 0].tolist() == [NO_WORD] * 3
    assert word_of_tokens("", []).shape == (0, 1)


@pytest.fixture(scope="module", params=["bert", "roberta", "deberta"])
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """The tokenizer of a checkpoint, and what extracts with it."""
    from transformers import AutoTokenizer

    folder: Path = tmp_path_factory.mktemp("checkpoint")
    write_bert(folder) if request.param == "bert" else write_text_encoder(folder, request.param)
    return AutoTokenizer.from_pretrained(folder), Encoder("w", words=True, max_tokens=512).load("cpu", folder)


@settings(max_examples=settings.default.max_examples // 2)
@given(text=SPEECH.filter(str.strip))
def test_tokens_meet_the_words_they_are_pieces_of(encoder: tuple[Any, Any], text: str) -> None:
    """Of each word's tokens the letters are its own, in order; only a token over a hyphen may reach into the next."""
    tokenizer, extract = encoder
    [row] = extract([Clip("t", text=text)])
    found, words = row["word"][:, 0], normalised_words(text)
    assert row["hidden"].shape[1] == len(found)
    spans = tokenizer(text, return_offsets_mapping=True, truncation=True, max_length=len(found))["offset_mapping"]
    assert (found[0], found[-1]) == (NO_WORD, NO_WORD)
    own = found[found != NO_WORD]
    assert (np.diff(own) >= 0).all() and (not len(own) or own.max() < len(words))
    of_characters = word_of_characters(text)
    for (begin, end), word in zip(spans, found.tolist(), strict=True):
        letters = [w for w in of_characters[begin:end] if w != NO_WORD]
        assert word == (letters[0] if letters else NO_WORD)
        assert len(set(letters)) < 2 or "-" in text[begin:end]
