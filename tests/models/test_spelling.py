from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.spelling import alphabet_of, ctc_targets, spelled


@pytest.mark.parametrize(("text", "expected"), [
    ("I can't—won't!", "I CANTWONT"),
    ("  two\t words\n", "TWO WORDS"),
    ("Straße, 7 o’clock", "STRASSE 7 OCLOCK"),
    ("cafe\N{COMBINING ACUTE ACCENT}", "CAF\N{LATIN CAPITAL LETTER E WITH ACUTE}"),
    ("...?!", ""),
    ("", ""),
])  # fmt: skip
def test_upper_case_without_punctuation(text: str, expected: str) -> None:
    assert spelled(text) == expected


@given(st.lists(st.text(), max_size=4))
def test_what_the_alphabet_was_made_of_comes_back(texts: list[str]) -> None:
    alphabet = alphabet_of(texts)
    targets, lengths = ctc_targets(texts, alphabet)
    assert targets.shape == (len(texts), max(map(len, map(spelled, texts)), default=0))
    for text, row, length in zip(texts, targets.tolist(), lengths.tolist(), strict=True):
        assert "".join(alphabet[i - 1] for i in row[:length]) == spelled(text)
        assert set(row[length:]) <= {0}


def test_a_character_that_the_alphabet_lacks_is_left_out() -> None:
    targets, lengths = ctc_targets(["abx", "x"], "AB")
    assert targets.tolist() == [[1, 2], [0, 0]] and lengths.tolist() == [2, 0]
