from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.releases.opus_xml import Sentence
from features.subtitles import spoken_text
from features.subtitles.subtitle_lines import (
    ADVERT_WORDS,
    COUNTED,
    Fate,
    _repeats,
    evaluation_lines,
    fates_of,
    judged,
    judged_sentences,
)
from features.subtitles.subtitle_lines import judged_bytes as from_bytes
from warehouse.errors import MalformedSource, MissingFolder

ADVERTS = (
    "Visit www.example.org", "https://example.org", "OpenSubtitles recommends", "as seen on ADDIC7ED", "Podnapisi",
    "from Subscene", "YTS.MX", "SubtitleSeeker", "TVsubtitles", "Subtitles by a friend", "Captioning sponsored by X",
    "resync by me", "Subs downloaded from here", "Transcribed by a friend", "- Sync and corrections", "Resync: me",
    "Advertise your product or brand here", "Support us and become a VIP member", "to remove all ads",
    "Watch any video online", "Watch more films online",
)  # fmt: skip


@pytest.mark.parametrize("line", ADVERTS)
def test_no_advert_is_overlooked_for_want_of_a_word(line: str) -> None:
    assert spoken_text.is_advert(line), "what this test rests on"
    assert judged(line) == (Fate.ADVERT, "")
    assert judged(line.upper())[0] == judged(line.lower())[0] == Fate.ADVERT


@settings(max_examples=300)
@given(st.lists(st.sampled_from(["sync", "by", "Subtitles", "www.", "-", "watch", "the", "online", "it", ":", "and"])))
def test_the_short_way_says_what_the_long_way_says(words: list[str]) -> None:
    line = " ".join(words)
    assert (judged(line)[0] == Fate.ADVERT) == spoken_text.is_advert(line)


def test_each_pattern_of_adverts_has_its_word() -> None:
    """A pattern that comes later needs a word here, and an example above."""
    assert len(spoken_text.ADVERTS) == 6
    assert all(word == word.casefold() for word in ADVERT_WORDS)


@pytest.mark.parametrize(
    ("line", "fate", "text"),
    [
        ("- Yes,  of course.", Fate.KEPT, "Yes, of course."),
        ("<i>Come on!</i>", Fate.KEPT, "Come on!"),
        ("MAN: Come on!", Fate.KEPT, "Come on!"),
        ("- Is it you? - No.", Fate.TWO_SPEAKERS, ""),
        ("♪ La la la ♪", Fate.NOTHING_SAID, ""),
        ("[door slams]", Fate.NOTHING_SAID, ""),
        ("", Fate.NOTHING_SAID, ""),
    ],
)
def test_what_is_said_is_kept(line: str, fate: Fate, text: str) -> None:
    assert judged(line) == (fate, text)


def test_lines_that_are_evaluated_on_are_left_out_whatever_their_marks(tmp_path: Path) -> None:
    (tmp_path / "meld.txt").write_text("I’m NOT sure…\n...\n\nSo", encoding="utf-8")
    lines = evaluation_lines(tmp_path, ["meld.txt"])
    assert lines == {"I'M NOT SURE", "SO"}
    assert judged("- i'm not sure?!", lines)[0] == Fate.EVALUATION
    assert judged("I'm not so sure.", lines)[0] == judged("...?", lines)[0] == Fate.KEPT
    (tmp_path / "meld.txt").write_bytes("Not\u2028so\r\nfast\x85 now\n".encode())
    assert evaluation_lines(tmp_path, ["meld.txt"]) == {"NOT SO", "FAST NOW"}, "lines as in a Moses text"
    (tmp_path / "meld.txt").write_bytes(b"caf\xe9")
    with pytest.raises(MalformedSource, match=r"meld\.txt: it is not UTF-8 \(unexpected end of data at byte 3\)"):
        evaluation_lines(tmp_path, ["meld.txt"])
    with pytest.raises(MissingFolder, match=r"the list of evaluation lines 'a\.txt' is not at .*relative to the"):
        evaluation_lines(tmp_path, ["a.txt"])


def test_bytes_that_are_no_text_are_told() -> None:
    assert from_bytes("- Né.".encode()) == (Fate.KEPT, "- Né.", "Né.")
    assert from_bytes(b"N\xe9.") == (Fate.NOT_UTF8, "", "")


def test_the_first_of_equal_words_is_kept() -> None:
    lines = ["Yes.", "- Yes.", "[yes]", "No.", "Yes", "<b>No.</b>"]
    fates = fates_of(judged(line) for line in lines)
    assert [Fate(fate).name for fate in fates] == ["KEPT", "DUPLICATE", "NOTHING_SAID", "KEPT", "KEPT", "DUPLICATE"]
    assert COUNTED.keys() == set(Fate)


def test_the_sentences_of_a_document_that_are_aligned_are_judged() -> None:
    found = [Sentence("1", "Well , no .", True), Sentence("2", "- Yes.", False), Sentence("3", "[sighs]", False)]
    assert [(s.id, fate, said) for s, fate, said in judged_sentences(found, None)] == [
        ("1", Fate.KEPT, "Well, no."), ("2", Fate.KEPT, "Yes."), ("3", Fate.NOTHING_SAID, "")
    ]  # fmt: skip
    assert [fate for _, fate, _ in judged_sentences(found, {"2"}, frozenset({"YES"}))] == [
        Fate.NOT_ALIGNED, Fate.EVALUATION, Fate.NOT_ALIGNED
    ]  # fmt: skip


def test_no_line_has_no_fate() -> None:
    assert fates_of([]).tolist() == []


@given(st.lists(st.integers(0, 40) | st.integers(0, 2**64 - 1)))
def test_repeats_are_those_that_stood_before(values: list[int]) -> None:
    found = _repeats(np.array(values, np.uint64)).tolist()
    assert found == [value in values[:at] for at, value in enumerate(values)]
