"""The words of many texts at once are those of each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.audit.wordings import numbers_of, wordings, words_in
from flows.similarity import words_of

LETTERS = st.text("AbC1'’- \n\t\x00\x1c\u3000éßŉ…!", max_size=14)


@given(st.lists(LETTERS, max_size=8), st.integers(0, 2))
def test_the_words_are_those_of_one_text_at_a_time(texts: list[str], begin: int) -> None:
    found = wordings(pa.array(texts, pa.string()).slice(begin))
    expected = [list(words_of(text)) for text in texts[begin:]]
    assert found.to_pylist() == ["".join(f"{word} " for word in own) for own in expected]
    words, place = words_in(found.slice(1))
    assert words.to_pylist() == [f"{word} " for own in expected[1:] for word in own]
    assert place.tolist() == [n for n, own in enumerate(expected[1:]) for _ in own]


@pytest.mark.slow
def test_the_words_are_those_with_any_letter_of_unicode() -> None:
    letters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    texts = [f"it{letter}s '{letter} x{letter}" for letter in letters]
    found = wordings(pa.array(texts)).to_pylist()
    assert found == ["".join(f"{word} " for word in words_of(text)) for text in texts]


@given(st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4), max_size=4))
def test_the_numbers_of_pieces_are_those_of_the_whole(pieces: list[list[int]]) -> None:
    whole = pa.chunked_array(pieces, pa.int64())
    assert numbers_of(whole).tolist() == whole.to_pylist()


def test_the_numbers_of_nothing_need_no_pandas() -> None:
    program = """
import sys
import pyarrow as pa
from flows.audit.wordings import numbers_of
nothing = pa.RecordBatchReader.from_batches(pa.schema({"n": pa.int64()}), []).read_all()["n"]
assert nothing.num_chunks == 0 and numbers_of(nothing).tolist() == []
print("pandas" in sys.modules)
"""
    house = Path(__file__).resolve().parents[3]
    ran = subprocess.run([sys.executable, "-c", program], cwd=house, capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("False\n", "")
