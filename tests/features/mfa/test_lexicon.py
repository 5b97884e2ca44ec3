from __future__ import annotations

from pathlib import Path

import pytest

from features.mfa.lexicon import read_lexicon, spoken, write_lexicon
from warehouse.errors import MalformedSource


def lexicon_file(folder: Path, content: bytes) -> Path:
    path = folder / "words.dict"
    path.write_bytes(content)
    return path


def test_a_word_has_all_its_pronunciations_in_order(tmp_path: Path) -> None:
    path = lexicon_file(tmp_path, b"a\tAH0\na\tEY1\n\nthe DH AH0\r\nCan\xe2\x80\x99t 0.9 K AE1 N T\nA\tAH0\n")
    assert read_lexicon(path) == {"A": ("AH0", "EY1"), "THE": ("DH AH0",), "CAN'T": ("0.9 K AE1 N T",)}


def test_the_real_dictionary_is_read(real: Path) -> None:
    found = read_lexicon(real / "mfa" / "cmu_subset.dict")
    assert found["AGAINST"] == ("AH0 G EH1 N S T", "AH0 G EY1 N S T")
    assert "I'M" in found and all(found.values())


def test_it_is_cut_to_the_words_that_are_said(tmp_path: Path) -> None:
    whole = read_lexicon(lexicon_file(tmp_path, "'s\tS\na\tAH0\na\tEY1\nstraße\tʃ t ʁ\nzoo\tz u\n".encode()))
    write_lexicon(tmp_path / "cut", whole, ["STRASSE", "A", "A"])
    assert (tmp_path / "cut").read_text(encoding="utf-8") == "a\tAH0\na\tEY1\nstrasse\tʃ t ʁ\n"
    assert read_lexicon(tmp_path / "cut").keys() == {"A", "STRASSE"}
    assert spoken("STRASSE") == "strasse"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"caf\xe9\tK\n", r"is no dictionary of MFA's: it is not UTF-8 \("),
        (b"a\tAH0\nthe\n", "line 2 of the dictionary has 'the' without a pronunciation"),
        (b"\n \n", "is no dictionary of MFA's: it has no line"),
    ],
)
def test_a_file_that_is_none_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    with pytest.raises(MalformedSource, match=told):
        read_lexicon(lexicon_file(tmp_path, content))
