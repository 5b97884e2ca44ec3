from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.warehouse.small_lake import utterance
from warehouse import Request, Warehouse, schema
from warehouse.disagreement import partners, same_symbol
from warehouse.schema import pair_id
from warehouse.tables import write_rows

SYMBOLS = st.lists(st.sampled_from("ABC"), max_size=7)


def longest(a: Sequence[str], b: Sequence[str]) -> int:
    """The length of their longest common subsequence, from its definition."""

    @cache
    def of(n: int, m: int) -> int:
        if not (n and m):
            return 0
        return of(n - 1, m - 1) + 1 if a[n - 1] == b[m - 1] else max(of(n - 1, m), of(n, m - 1))

    return of(len(a), len(b))


@given(SYMBOLS, SYMBOLS, st.randoms())
def test_as_many_are_matched_as_can_be_in_order_and_none_is_lost(a: list[str], b: list[str], chance: Any) -> None:
    starts, others = sorted(chance.random() for _ in a), sorted(chance.random() for _ in b)
    found = partners(a, starts, b, others)
    matched = [(n, m) for n, m in found if n is not None and m is not None]
    assert all(a[n] == b[m] for n, m in matched) and len(matched) == longest(a, b)
    assert all(n < k and m < j for (n, m), (k, j) in pairwise(matched))
    assert [n for n, _ in found if n is not None] == list(range(len(a)))
    assert [m for _, m in found if m is not None] == list(range(len(b)))


@given(SYMBOLS, SYMBOLS)
def test_who_is_asked_first_is_nothing(a: list[str], b: list[str]) -> None:
    starts, others = [0.1 * n for n in range(len(a))], [0.1 * n + 0.013 for n in range(len(b))]
    count = {(n, m) for n, m in partners(a, starts, b, others) if None not in (n, m)}
    back = {(n, m) for m, n in partners(b, others, a, starts) if None not in (n, m)}
    assert len(count) == len(back)


@pytest.mark.parametrize(("at_s", "own"), [(0.1, 0), (1.1, 1), (1.9, 2)])
def test_a_symbol_that_occurs_again_is_matched_with_the_nearest(at_s: float, own: int) -> None:
    assert (own, 0) in partners(["THE"] * 3, [0.0, 1.0, 2.0], ["THE"], [at_s])


def test_as_many_as_can_be_goes_before_nearness() -> None:
    assert partners(["A", "B"], [0.0, 9.0], ["A", "B"], [9.0, 9.5]) == [(0, 0), (1, 1)]
    assert partners(["A", "B", "A"], [0, 1, 9], ["A", "B"], [8.9, 9.0])[:2] == [(0, 0), (1, 1)]


def test_stress_and_case_are_not_compared_and_digits_of_words_are() -> None:
    assert same_symbol("s_t_r_AH0", "syllable") == "S_T_R_AH"
    assert same_symbol("Room1", "word") == "ROOM1"


# -- in SQL ------------------------------------------------------------------------------------------------------

HERE = utterance("made", "u1", "So it is")
PAIR = pair_id(HERE["audio_id"], HERE["text_id"])
Segments = Iterable[tuple[str, str, float, float]]


def align(lake: Warehouse, step: str, segments: Segments, **fields: float) -> None:
    rows: list[dict[str, Any]] = []
    for tier, symbol, start_s, end_s in segments:
        position = sum(row["tier"] == tier for row in rows)
        rows.append({"input_id": PAIR, "tier": tier, "position": position, "symbol": symbol, "start_s": start_s,
                     "end_s": end_s, "score": None})  # fmt: skip
    request = Request("intervals", step, 1, {"plugin": {"step": step, "version": 1, "fields": fields}})
    lake.materialize(request, lambda folder: write_rows(folder / "intervals.parquet", rows, schema.INTERVALS))


@pytest.fixture
def read(lake: Warehouse) -> Warehouse:
    made = lake.materialize(
        Request("utterances", "made", 1, {}),
        lambda folder: write_rows(folder / "utterances.parquet", [HERE], schema.UTTERANCES),
    )
    lake.set_ref("corpora/made", {"raw": [], "utterances": [made.digest], "labels": []})
    return lake


WORDS = [("word", "SO", 0.0, 0.2), ("word", "IT", 0.2, 0.5), ("word", "IS", 0.5, 0.9)]
PHONES = [("phone", "S", 0.0, 0.1), ("phone", "OW1", 0.1, 0.2), ("phone", "IH0", 0.2, 0.5), ("phone", "Z", 0.7, 0.9)]


def test_a_shift_is_found_as_it_was_made(read: Warehouse) -> None:
    later = [(tier, symbol.lower(), a + 0.03, b + 0.01) for tier, symbol, a, b in [*WORDS, *PHONES]]
    align(read, "aligners.one", [*WORDS, *PHONES])
    align(read, "aligners.other", later)
    rows = read.table("FROM disagreement ORDER BY tier").to_pylist()
    assert [(row["tier"], row["n_a"], row["n_b"], row["n_matched"], row["unmatched"]) for row in rows] == [
        ("phone", 4, 4, 4, 0.0), ("word", 3, 3, 3, 0.0)
    ]  # fmt: skip
    for row in rows:
        assert (row["utterance_id"], row["aligner_a"], row["aligner_b"]) == ("u1", "aligners.one", "aligners.other")
        for name in ("median", "p90", "max"):
            assert row[f"start_{name}_s"] == pytest.approx(0.03) and row[f"end_{name}_s"] == pytest.approx(0.01)


def test_what_one_has_alone_is_there_without_a_partner_and_counted(read: Warehouse) -> None:
    align(read, "aligners.one", PHONES)
    align(read, "aligners.other", [PHONES[0], PHONES[2], ("phone", "S", 0.7, 0.9)])
    query = "SELECT symbol_a, symbol_b, start_a_s, start_b_s FROM side_by_side ORDER BY coalesce(start_a_s, start_b_s)"
    found = read.sql(query).fetchall()
    assert sorted(found, key=str) == sorted(
        [("S", "S", 0.0, 0.0), ("OW1", None, 0.1, None), ("IH0", "IH0", 0.2, 0.2), ("Z", None, 0.7, None),
         (None, "S", None, 0.7)], key=str,
    )  # fmt: skip
    (row,) = read.table("FROM disagreement").to_pylist()
    assert (row["n_matched"], row["start_max_s"]) == (2, 0.0) and row["unmatched"] == pytest.approx(1 - 4 / 7)


def test_nothing_in_common_has_no_distance(read: Warehouse) -> None:
    align(read, "aligners.one", [("word", "YES", 0.0, 1.0)])
    align(read, "aligners.other", [("word", "NO", 0.0, 1.0)])
    (row,) = read.table("FROM disagreement").to_pylist()
    assert (row["unmatched"], row["start_median_s"], row["end_max_s"]) == (1.0, None, None)


def test_one_aligner_with_other_fields_is_another(read: Warehouse) -> None:
    for beam in (1.0, 2.0, 3.0):
        align(read, "aligners.one", WORDS, beam=beam)
    pairs = read.sql("SELECT DISTINCT plugin_key_a, plugin_key_b FROM disagreement").fetchall()
    assert len(pairs) == 3 and all(a < b for a, b in pairs)


def test_names_of_recipes_stand_beside_their_keys(read: Warehouse) -> None:
    read.set_ref("aligners/mine", {"plugin_key": "k"})
    assert read.sql("FROM aligners").fetchall() == [("mine", "k")]
