"""Laws of ids, and of the tables' shape."""

from __future__ import annotations

import re
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse import Warehouse, schema
from warehouse.errors import InvalidId
from warehouse.hashing import ID_LENGTH
from warehouse.schema import audio_id, canonical_text, check_id, make_id, pair_id, text_id

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TABLES = {name: value for name, value in vars(schema).items() if isinstance(value, pa.Schema)}


def test_audio_id_depends_on_each_part() -> None:
    parts = [("r1", 0.5, 2.0, "mix"), ("r2", 0.5, 2.0, "mix"), ("r1", 0.6, 2.0, "mix"), ("r1", 0.5, 2.1, "mix"),
             ("r1", 0.5, 2.0, "0"), ("r1", 2.0, 0.5, "mix")]  # fmt: skip
    assert len({audio_id(*part) for part in parts}) == len(parts)


@given(st.integers(0, 10**10), st.integers(-400, 400))
def test_audio_id_is_blind_below_the_microsecond_and_sees_it(microseconds: int, nanoseconds: int) -> None:
    exact = audio_id("r", microseconds / 1e6, 20_000.0, "mix")
    assert audio_id("r", microseconds / 1e6 + nanoseconds / 1e9, 20_000.0, "mix") == exact
    assert audio_id("r", (microseconds + 1) / 1e6, 20_000.0, "mix") != exact


@given(TEXT)
def test_text_id_is_blind_to_composition_and_white_space(text: str) -> None:
    spread = "  \t" + unicodedata.normalize("NFD", text).replace(" ", " \u00a0\n") + "\u2003"
    assert text_id(spread) == text_id(text)
    assert canonical_text(canonical_text(text)) == canonical_text(text)


def test_text_id_sees_case_and_punctuation() -> None:
    assert len({text_id(text) for text in ("so", "So", "so.", "s o", "")}) == 5


def test_ids_of_different_kinds_never_meet() -> None:
    assert len({text_id("x"), pair_id("x", "x"), audio_id("x", 0, 0, "x")}) == 3
    assert pair_id("a", "b") != pair_id("b", "a")
    assert all(re.fullmatch(rf"[0-9a-f]{{{ID_LENGTH}}}", i) for i in (text_id("x"), pair_id("a", "b")))


def test_sql_pair_id_is_pythons(lake: Warehouse) -> None:
    pairs = [(audio_id(word, 0.0, 1.0, "mix"), text_id(word)) for word in ("", "so", "“é”", "a'b", '"', "\\")]
    query = "SELECT pair_id(p[1], p[2]) FROM (SELECT unnest($pairs) AS p)"
    assert lake.sql(query, {"pairs": pairs}).fetchall() == [(pair_id(*pair),) for pair in pairs]


@given(st.lists(st.text(min_size=1, max_size=10), min_size=1, max_size=4))
def test_make_id_makes_ids(parts: list[str]) -> None:
    made = make_id(*parts)
    assert check_id("made id", made) == made
    assert make_id(made) == made


@given(st.text(max_size=10), st.text(max_size=10))
def test_make_id_keeps_apart_what_differs(one: str, two: str) -> None:
    assert (make_id(one) == make_id(two)) == (one == two)


def test_make_id_keeps_what_may_stay() -> None:
    assert make_id("Ses01F", "impro_01", "F-000") == "Ses01F-impro_01-F-000"


@pytest.mark.parametrize("value", ["", "a.b", "a/b", "../a", "a b", "é", "a\n", "a\0"])
def test_check_id_refuses(value: str) -> None:
    with pytest.raises(InvalidId, match=r"speaker '(.|\n)*' must match \[A-Za-z0-9_-\]\+: it names files"):
        check_id("speaker", value)


def test_seconds_and_counts_are_named_as_such() -> None:
    assert len(TABLES) >= 10
    for columns in TABLES.values():
        assert len(set(columns.names)) == len(columns.names)
        for column in columns:
            assert not column.name.endswith("_s") or column.type == pa.float64()
            assert not column.name.startswith("n_") or column.type == pa.int64()
            assert not re.search(r"sample|item|info|data", column.name)


def test_null_is_allowed_only_where_a_value_may_be_unknown() -> None:
    nullable = {column.name for columns in TABLES.values() for column in columns if column.nullable}
    assert nullable == {"number", "score", "label"}
