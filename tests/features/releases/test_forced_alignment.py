from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.plugin import Interval
from features.releases.forced_alignment import Kind, Segment, disorder, intervals, misfit, segments
from warehouse.errors import Untreatable

WORDS = b"""\t SFrm  EFrm    SegAScr Word
\t    0    11     -81234 <s>
\t   12    34    -230000 WELL(2)
\t   35    58    -198765 <sil>
\t   59   101    -334455 DON'T
\t  102   110     -65432 ++LAUGHTER++
\t  111   120     -71111 </s>
 Total score:    -974341
"""
PHONES = b"""\t SFrm  EFrm   SegAScr Phone
\t    0    11    -81234 SIL
\t   12    20   -100000 W SIL EH b
\t   21    34   -130000 EH W L e
\t   35    58   -198765 SIL
\t   59   101   -334455 D SIL OW b
\t  102   110    -65432 +LAUGHTER+
\t  111   120    -71111 SIL
 Total score:   -974341
"""
SYLLABLES = b"""\t SFrm  EFrm Syllable
\t   12    34 W_EH_L
\t   59   101 D_OW_N_T
"""
TABLES: dict[Kind, bytes] = {"wdseg": WORDS, "phseg": PHONES, "syseg": SYLLABLES}
DURATION_S = 1.23


def test_one_utterance_in_full() -> None:
    assert intervals(TABLES, DURATION_S) == [
        Interval("word", "WELL", 0.12, 0.35, -10_000.0),
        Interval("word", "DON'T", 0.59, 1.02, -334455 / 43),
        Interval("phone", "W", 0.12, 0.21, -100_000 / 9),
        Interval("phone", "EH", 0.21, 0.35, -130_000 / 14),
        Interval("phone", "D", 0.59, 1.02, -334455 / 43),
        Interval("syllable", "W_EH_L", 0.12, 0.35, None),
        Interval("syllable", "D_OW_N_T", 0.59, 1.02, None),
    ]


def test_the_rows_keep_silence_and_noise() -> None:
    found = segments("wdseg", WORDS)
    assert [row.symbol for row in found] == ["<s>", "WELL", "<sil>", "DON'T", "++LAUGHTER++", "</s>"]
    assert [row.is_spoken for row in found] == [False, True, False, True, False, False]
    assert (found[0].start_s, found[0].end_s) == (0.0, 0.12)  # the last frame is included
    assert all(before.end_s == after.start_s for before, after in pairwise(found))


@pytest.mark.parametrize(
    ("kind", "name", "symbol"),
    [
        ("wdseg", "READ(12)", "READ"),
        ("wdseg", "(SIC)", "(SIC)"),
        ("wdseg", "++GARBAGE++", "++GARBAGE++"),
        ("phseg", "AO TH T i", "AO"),
        ("phseg", "+LIPSMACK+", "+LIPSMACK+"),
        ("syseg", "TH_AO_T", "TH_AO_T"),
    ],
)
def test_symbols(kind: Kind, name: str, symbol: str) -> None:
    score = "" if kind == "syseg" else "-12 "
    assert segments(kind, f"    3     7 {score}{name}  \r\n".encode())[0].symbol == symbol


@pytest.mark.parametrize("noise", ["<s>", "</s>", "<sil>", "SIL", "++BREATHING++", "+GARBAGE+", "+LIPSMACK+"])
def test_what_is_not_spoken(noise: str) -> None:
    assert not Segment(noise, 0, 1).is_spoken


REFUSED = [
    ("wdseg", b"", "its wdseg has no row"),
    ("phseg", b"\t SFrm  EFrm   SegAScr Phone\n Total score: 0\n", "its phseg has no row"),
    ("wdseg", WORDS.replace(b"-230000 ", b""), r"line 3 of its wdseg is no row of such a table: '\\t   12 "),
    ("syseg", b"\t   12 W_EH_L\n", "line 1 of its syseg is no row of such a table"),
    ("phseg", b"\xff\xfe\n", "line 1 of its phseg is no row of such a table"),
    ("wdseg", WORDS.replace(b"   35 ", b"   36 "), r"its wdseg goes from frame 34 \('WELL'\) to frame 36 \('<sil>'\)"),
    ("wdseg", WORDS.replace(b"   35 ", b"   30 "), r"its wdseg goes from frame 34 \('WELL'\) to frame 30 \('<sil>'\)"),
    ("phseg", PHONES.replace(b"   20 ", b"    2 "), "its phseg has 'W' from frame 12 back to 2"),
    ("syseg", SYLLABLES.replace(b"59", b"30"), r"its syseg goes from frame 34 \('W_EH_L'\) to frame 30"),
]


@pytest.mark.parametrize(("kind", "raw", "why"), REFUSED)
def test_what_is_refused(kind: Kind, raw: bytes, why: str) -> None:
    with pytest.raises(Untreatable, match=why):
        intervals({**TABLES, kind: raw}, DURATION_S)


def test_all_three_tables_must_be_there() -> None:
    with pytest.raises(Untreatable, match="there is no wdseg, syseg of this name"):
        intervals({"phseg": PHONES}, DURATION_S)


def test_only_noise_has_no_intervals() -> None:
    noise = {kind: raw.replace(b"12    34", b"12    33") for kind, raw in TABLES.items()}
    noise["wdseg"] = b"    0   120  -1 ++LAUGHTER++\n"
    noise["phseg"] = b"    0   120  -1 +LAUGHTER+\n"
    with pytest.raises(Untreatable, match="its alignment holds silence and noise only"):
        intervals(noise, DURATION_S)


def test_an_utterance_without_syllables_has_a_table_without_rows() -> None:
    """As where somebody only laughs: the words say why there are none."""
    nothing = b"\t SFrm  EFrm Syllable\n"
    assert segments("syseg", nothing) == []
    assert disorder("syseg", []) == misfit("syseg", [], 1.0) == ""
    laughs = {
        "wdseg": b"    0   120  -1 ++LAUGHTER++\n", "phseg": b"    0   120  -1 +LAUGHTER+\n", "syseg": nothing
    }  # fmt: skip
    with pytest.raises(Untreatable, match="its alignment holds silence and noise only"):
        intervals(laughs, DURATION_S)  # type: ignore[arg-type]
    with pytest.raises(Untreatable, match="its syseg has no row"):
        segments("syseg", b"")


@pytest.mark.parametrize(("first", "fits"), [(0, True), (5, True), (6, False)])
def test_the_first_row_must_start_with_the_sound(first: int, fits: bool) -> None:
    rows = [Segment("A", first, 99)]
    assert misfit("syseg", rows, 1.0) == ""
    for kind in ("wdseg", "phseg"):
        assert misfit(kind, rows, 1.0) == ("" if fits else f"its {kind} starts at 0.06 s, not with the sound")


@pytest.mark.parametrize(("duration_s", "fits"), [(1.15, False), (1.16, True), (1.26, True), (1.27, False)])
def test_the_last_row_must_end_with_the_sound(duration_s: float, fits: bool) -> None:
    for kind in ("wdseg", "phseg"):
        assert (misfit(kind, segments(kind, TABLES[kind]), duration_s) == "") == fits
    if not fits:
        with pytest.raises(Untreatable, match=rf"its wdseg ends at 1\.21 s, but the sound at {duration_s:.3f} s"):
            intervals(TABLES, duration_s)


def test_syllables_may_end_before_the_sound_but_not_after() -> None:
    found = segments("syseg", SYLLABLES)
    assert misfit("syseg", found, 5.0) == ""
    assert misfit("syseg", found, 0.9) == "its syseg ends at 1.02 s, but the sound at 0.900 s"


lengths = st.lists(st.integers(1, 300), min_size=1, max_size=30)


@given(lengths, st.sampled_from(["wdseg", "phseg"]))
def test_a_table_without_holes_gives_a_partition(lengths: list[int], kind: Kind) -> None:
    ends = [sum(lengths[: number + 1]) for number in range(len(lengths))]
    lines = [f"{end - n:6d} {end - 1:5d} {-n:10d} A B C i" for n, end in zip(lengths, ends, strict=True)]
    found = segments(kind, "\n".join(lines).encode())
    assert disorder(kind, found) == ""
    assert misfit(kind, found, ends[-1] / 100) == ""
    assert found[0].start_s == 0
    assert [round((row.end_s - row.start_s) * 100) for row in found] == lengths
    assert all(before.end_s == after.start_s for before, after in pairwise(found))


@given(lengths.filter(lambda lengths: len(lengths) > 1), st.data())
def test_a_lost_row_is_a_hole_for_words_and_none_for_syllables(lengths: list[int], draw: st.DataObject) -> None:
    ends = [sum(lengths[: number + 1]) for number in range(len(lengths))]
    whole = [Segment("A", end - n, end - 1) for n, end in zip(lengths, ends, strict=True)]
    lost = draw.draw(st.integers(0, len(whole) - 1))
    rest = whole[:lost] + whole[lost + 1 :]
    inside = 0 < lost < len(whole) - 1
    assert bool(disorder("wdseg", rest)) == inside
    assert disorder("syseg", rest) == ""
    assert disorder("syseg", [*whole, whole[lost]])


@given(st.binary(max_size=200), st.sampled_from(["wdseg", "phseg", "syseg"]))
def test_bytes_that_are_no_table_are_untreatable(raw: bytes, kind: Kind) -> None:
    try:
        found = segments(kind, raw)
    except Untreatable:
        return
    assert all(row.symbol and row.first >= 0 and row.last >= 0 for row in found)


@pytest.mark.parametrize("kind", ["wdseg", "phseg", "syseg"])
def test_a_number_without_end_is_no_row(kind: Kind) -> None:
    with pytest.raises(Untreatable, match=f"line 1 of its {kind} is no row of such a table"):
        segments(kind, b"9" * 5000 + b" 34 -1 WELL\n")
