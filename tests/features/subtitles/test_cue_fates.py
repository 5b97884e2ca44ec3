from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.subtitles.cue_fates import (
    FLAWS,
    LEFT_OUT,
    Fate,
    Rules,
    by_text,
    by_time,
    ends_sentence,
    is_rolling,
    n_rolling,
)
from features.subtitles.cues import BROKEN, NO_END, NO_TIMES, Cue

PAPER = Rules(min_duration_s=1.5, min_words=2, merge_gap_s=0.0, merge_max_s=30.0)
ALL = Rules(min_duration_s=0.0, min_words=1, merge_gap_s=0.0, merge_max_s=30.0)


def cues_of(*cues: tuple[float, float, str] | tuple[float, float, str, str]) -> list[Cue]:
    return [Cue(n, (cue[0], cue[1]), *cue[2:]) for n, cue in enumerate(cues)]


def fates(cues: Sequence[Cue], rules: Rules = PAPER, language: str = "en", duration_s: float = 100.0) -> list[Fate]:
    return by_time(by_text(cues, language), duration_s, rules)


def ends(found: Sequence[Fate]) -> list[str]:
    """What became of each cue, in a word."""
    return [fate.flaw or fate.left_out or fate.text for fate in found]


@pytest.mark.parametrize(
    ("cue", "end"),
    [
        ((1, 2.5, "Long enough words"), "Long enough words"),
        ((1, 2.499, "Long enough words"), "short"),
        ((1, 3, "Word."), "few words"),
        ((1, 3, "[laughs] Word."), "few words"),
        ((1, 3, "- You?\n- Me."), "two speakers"),
        ((1, 3, "<v Ann>You?</v> <v Bob>Me.</v>"), "two speakers"),
        ((1, 3, "[door closes]"), "no speech"),
        ((1, 3, "♪ la la la ♪"), "no speech"),
        ((1, 3, ""), "empty"),
        ((1, 3, "<i> </i>"), "empty"),
        ((1, 3, "{\\pos(1,2)}A café"), "placed"),
        ((1, 3, "Subtitles by nobody"), "advert"),
        ((1, 1, "Hidden from all"), "hidden"),
        ((1, 3, "Осторожно, Эмо!"), "foreign"),
        ((1, 3, "跟我来！\nFollow me now!"), "Follow me now!"),
        ((1, 3, "l think so."), "I think so."),
        ((3, 1, "Words go back"), "reversed_times"),
        ((-1, 1, "Words before it"), "outside"),
        ((99, 100.06, "Words behind it"), "outside"),
        ((98, 100.05, "Words at the end"), "Words at the end"),
        ((200, 202, "Subtitles by nobody"), "advert"),
    ],
)
def test_what_becomes_of_a_cue(cue: tuple[float, float, str], end: str) -> None:
    (fate,) = fates(cues_of(cue))
    assert ends([fate]) == [end]
    assert end in LEFT_OUT or end in FLAWS or fate.is_utterance


@pytest.mark.parametrize(
    ("problem", "flaw"),
    [(NO_TIMES, "missing_times"), (NO_END, "missing_end"), ("has times that cannot be read ('x')", "malformed_times")],
)
def test_a_cue_without_times_is_a_failure(problem: str, flaw: str) -> None:
    (fate,) = fates([Cue(3, None, "A", problem=problem)])
    assert (fate.problem, fate.flaw) == (f"cue 3 {problem}", flaw)


@pytest.mark.parametrize(
    ("cue", "sentence"),
    [
        ((5, 4, "A"), "cue 0 ends at 4 s, not after its start at 5 s"),
        ((-1, 4, "A"), "cue 0 [-1, 4] s starts before the soundtrack"),
        ((99, 101, "A"), "cue 0 [99, 101] s passes the end of the soundtrack at 100.000 s"),
    ],
)
def test_times_that_are_no_span_are_failures(cue: tuple[float, float, str], sentence: str) -> None:
    assert [fate.problem for fate in fates(cues_of(cue))] == [sentence]


def test_cues_of_speech_that_overlap_are_left_out() -> None:
    one = (0, 4, "One goes on.")
    found = fates(cues_of(one, (1, 2, "Two is inside."), (3, 5, "Three too."), (4.96, 7, "Four not.")))
    assert ends(found) == ["overlap", "overlap", "overlap", "Four not."]
    found = fates(cues_of(one, (1, 2, "[a door]"), (2, 3, "Subtitles by nobody"), (4, 4, "Hidden.")))
    assert ends(found) == ["One goes on.", "no speech", "advert", "hidden"], "over what is no speech one may speak"
    found = fates(cues_of(one, (1, 3, "- And two?\n- And three.")))
    assert ends(found) == ["overlap", "two speakers"]


def test_a_cue_that_is_there_twice_is_there_once() -> None:
    found = fates(cues_of((0, 2, "Once is enough."), (0, 2, "Once is enough.")))
    assert ends(found) == ["Once is enough.", "repeat"]


ROLLING = [
    (0, 3, "one two"), (3, 3.01, "one two"), (3.01, 6, "one two\n<c>three four</c>"), (6, 6.01, "three four"),
    (6.01, 9, "three four\nfive six"), (12, 14, "five six"),
]  # fmt: skip


def test_rolling_captions_give_each_line_once() -> None:
    cues = cues_of(*ROLLING)
    assert is_rolling(cues) and n_rolling(cues) == 4
    found = fates(cues)
    assert ends(found) == ["one two", "repeat", "three four", "repeat", "five six", "five six"]
    assert found[2].cue.text == "one two\n<c>three four</c>", "verbatim is verbatim"
    assert [fate.cue.times_s for fate in found if fate.is_utterance] == [(0, 3), (3.01, 6), (6.01, 9), (12, 14)]


def test_rolling_captions_that_overlap_end_where_the_next_line_comes() -> None:
    cues = cues_of((0, 5, "one two"), (3, 8, "one two\nthree four"), (6, 9, "three four\nfive six"))
    assert [(fate.cue.times_s, fate.text) for fate in fates(cues)] == [
        ((0, 3), "one two"), ((3, 6), "three four"), ((6, 9), "five six"),
    ]  # fmt: skip


def test_a_word_said_twice_rolls_nothing() -> None:
    cues = cues_of((0, 2, "Not now!"), (2, 4, "Not now!"), *((n, n + 2.0, f"Words {n}.") for n in range(4, 40, 2)))
    assert not is_rolling(cues)
    assert ends(fates(cues))[:2] == ["Not now!", "Not now!"]


def merged(*cues: tuple[float, float, str] | tuple[float, float, str, str], gap_s: float = 0.3) -> list[str]:
    return ends(fates(cues_of(*cues), Rules(1.5, 2, gap_s, 30.0)))


def test_sentences_that_go_on_are_merged() -> None:
    cues = cues_of((0, 1, "This is"), (1, 2, "a long,"), (2.2, 3, "long sentence."), (3, 5, "And another."))
    first, *others = fates(cues, Rules(1.5, 2, 0.3, 30.0))
    assert (first.text, first.cue.times_s, first.members) == ("This is a long, long sentence.", (0, 3), (0, 1, 2))
    assert first.cue.text == "This is\na long,\nlong sentence."
    assert ends(others) == ["merged", "merged", "And another."]
    assert ends(fates(cues)) == ["short", "short", "short", "And another."]


@pytest.mark.parametrize(
    ("cues", "found"),
    [
        ([(0, 2, "This goes on"), (2.3, 4, "too late.")], ["This goes on", "too late."]),
        ([(0, 2, "This goes on"), (2.299, 4, "in time.")], ["This goes on in time.", "merged"]),
        ([(0, 2, "This goes on"), (2, 4, "- with another.")], ["This goes on", "with another."]),
        ([(0, 2, "This goes on"), (2, 4, "ANN: With another.")], ["This goes on", "With another."]),
        ([(0, 2, "This goes on", "Ann"), (2, 4, "with another.", "Bob")], ["This goes on", "with another."]),
        ([(0, 2, "This goes on", "Ann"), (2, 4, "with her.", "Ann")], ["This goes on with her.", "merged"]),
        ([(0, 2, "This goes on"), (2, 2.1, "[a door]"), (2.1, 4, "and on.")],
         ["This goes on and on.", "no speech", "merged"]),
        ([(0, 2, "This goes on"), (2, 2.1, "- A?\n- B."), (2.1, 4, "and on.")],
         ["This goes on", "two speakers", "and on."]),
    ],
)  # fmt: skip
def test_what_may_be_merged(cues: list[tuple[float, float, str]], found: list[str]) -> None:
    assert merged(*cues) == found


def test_the_end_of_a_sentence() -> None:
    assert all(map(ends_sentence, ["No.", "No?", "No!”", "No…", "(No.)", "不。"]))
    assert not any(map(ends_sentence, ["No", "No,", "No –", ""]))


@given(
    st.lists(
        st.tuples(
            st.integers(0, 50),
            st.integers(-1, 5),
            st.sampled_from(["Some words", "- A\n- B", "[x]", "Go on.", "", "♪"]),
        )
    ),
    st.sampled_from([PAPER, ALL, Rules(0.0, 1, 1.0, 30.0)]),
)
def test_every_cue_has_one_fate_and_no_two_utterances_overlap(cues: list[tuple[int, int, str]], rules: Rules) -> None:
    cues = sorted(cues)
    found = fates(cues_of(*((start, start + n, text) for start, n, text in cues)), rules)
    assert [fate.cue.number for fate in found] == list(range(len(cues)))
    assert all(bool(fate.problem) == bool(fate.flaw) for fate in found)
    assert {fate.left_out for fate in found} <= {"", *LEFT_OUT} and {fate.flaw for fate in found} <= {"", *FLAWS}
    spans = sorted(fate.cue.times_s for fate in found if fate.is_utterance and fate.cue.times_s)
    assert all(one[1] <= two[0] for one, two in pairwise(spans))
    in_utterances = [number for fate in found if fate.is_utterance for number in fate.members]
    assert len(in_utterances) == len(set(in_utterances))


def test_captions_that_never_end_a_sentence_are_not_merged_for_ever() -> None:
    cues = cues_of(*((2.0 * n, 2.0 * n + 2, f"and so on {n}") for n in range(45)))
    spans = [fate.cue.times_s for fate in fates(cues, Rules(1.5, 2, 0.3, 30.0)) if fate.is_utterance]
    assert spans == [(0, 30), (30, 60), (60, 90)]
    short = [fate.cue.times_s for fate in fates(cues, Rules(1.5, 2, 0.3, 1.0)) if fate.is_utterance]
    assert short == [cue.times_s for cue in cues], "a cue that is longer by itself stays"


def test_letters_that_cannot_be_decoded_are_a_failure_of_their_cue() -> None:
    fate, _ = fates([Cue(0, None, "Voil\ufffd", problem=BROKEN), *cues_of((3, 5, "Some words."))])
    assert (fate.flaw, fate.problem) == ("broken_text", "cue 0 has letters that cannot be decoded")
