from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.extractors.glove import Glove
from features.plugin import Clip, words
from warehouse.errors import MalformedSource, Untreatable

VECTORS = {"the": [1.0, 2.0, 3.0], "The": [9.0, 9.0, 9.0], "dog": [0.5, -0.25, 1e-3], "naïve": [4.0, 4.0, 4.0]}


def written(folder: Path, lines: list[str], name: str = "vectors.txt") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


def line(word: str, vector: list[float]) -> str:
    return " ".join([word, *map(str, vector)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return written(tmp_path / "glove", [line(word, vector) for word, vector in VECTORS.items()])


def vectors(folder: Path, text: str, **fields: str) -> list[list[float]]:
    plugin = Glove(weights="w", **fields)  # type: ignore[arg-type]
    return plugin.load("cpu", folder)([Clip("a", text=text)])[0]["vectors"].astype(np.float64).round(6).tolist()


def test_a_word_is_looked_up_as_written_then_in_lower_case_then_without_its_ending(folder: Path) -> None:
    assert vectors(folder, "The THE, dog's naïve!") == [
        VECTORS["The"], VECTORS["the"], VECTORS["dog"], VECTORS["naïve"]
    ]  # fmt: skip


def test_a_file_of_lower_case_words_is_asked_in_lower_case_only(folder: Path) -> None:
    assert vectors(folder, "The dog", case="lower") == [VECTORS["the"], VECTORS["dog"]]


def test_what_the_file_has_not_is_zeros(folder: Path) -> None:
    assert vectors(folder, "cat dog") == [[0.0] * 3, VECTORS["dog"]]


def test_a_text_without_words_has_one_vector_of_zeros(folder: Path) -> None:
    assert vectors(folder, "...!") == [[0.0] * 3]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text().filter(str.strip))
def test_there_is_a_vector_for_every_word(folder: Path, text: str) -> None:
    assert len(vectors(folder, text)) == max(1, len(words(text)))


def test_words_with_spaces_hide_no_other_word(tmp_path: Path) -> None:
    lines = ["at name@somewhere.org 1 1 1", ". . . 7 7 7", line("at", [2.0, 3.0, 4.0]), line("at", [5.0, 5.0, 5.0])]
    folder = written(tmp_path / "glove", ["x 1 2 3", *lines])
    assert vectors(folder, "at") == [[2.0, 3.0, 4.0]]


def test_word2vec_begins_with_two_counts(tmp_path: Path) -> None:
    folder = written(tmp_path / "glove", ["2 3", line("the", VECTORS["the"]), line("dog", VECTORS["dog"])])
    assert Glove("w").outputs(folder)["vectors"].dim == 3
    assert vectors(folder, "dog the") == [VECTORS["dog"], VECTORS["the"]]


def test_a_large_file_agrees_with_its_text(tmp_path: Path) -> None:
    table = np.random.default_rng(0).normal(size=(5_000, 20)).round(5)
    names = [f"w{number}" for number in range(len(table))]
    folder = written(tmp_path / "glove", [line(n, row.tolist()) for n, row in zip(names, table, strict=True)])
    found = Glove("w").load("cpu", folder)([Clip("a", text=" ".join(reversed(names)))])[0]["vectors"]
    np.testing.assert_array_equal(found, table[::-1].astype(np.float32))


def test_a_folder_has_one_file_of_vectors(tmp_path: Path) -> None:
    with pytest.raises(MalformedSource, match="it holds 0 text files of vectors: give each file a folder of its own"):
        Glove("w").outputs(tmp_path)
    written(tmp_path, ["a 1 2"], "one.txt")
    written(tmp_path, ["a 1 2"], "two.txt")
    with pytest.raises(MalformedSource, match="it holds 2 text files of vectors"):
        Glove("w").load("cpu", tmp_path)


@pytest.mark.parametrize("first", ["", "just a text", "a\t1\t2"])
def test_what_is_no_file_of_vectors_is_said(tmp_path: Path, first: str) -> None:
    with pytest.raises(MalformedSource, match="does not begin with lines of a word and numbers, single spaces"):
        Glove("w").outputs(written(tmp_path, [first]))


def test_a_line_that_is_not_numbers_is_said(tmp_path: Path) -> None:
    folder = written(tmp_path, ["the 1 2 3", "dog 1 x 3"])
    with pytest.raises(MalformedSource, match="the line of 'dog' is not numbers"):
        vectors(folder, "dog")


def test_an_empty_transcript_is_untreatable(folder: Path) -> None:
    with pytest.raises(Untreatable, match="the transcript is empty"):
        vectors(folder, " ")
