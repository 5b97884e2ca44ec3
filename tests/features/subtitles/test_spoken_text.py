from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.subtitles.spoken_text import (
    _without,
    changes_speaker,
    is_advert,
    is_placed,
    plain,
    repaired,
    spoken_text,
    without_foreign_lines,
)
from features.subtitles.subrip import parse_srt


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{\\an8}<font color="#fff">Look <b>up</b>.</font>', "Look up."),
        ("( clock\nticking )", ""),
        ("[sighs] Oh (to Ann) dear.", "Oh dear."),
        ("♪ la la ♪\nCome on.", "Come on."),
        ("♪ la la\nla la la\nla ♪\nCome on.", "Come on."),
        ("♪ la la\n♪ la\nCome on.", "Come on."),
        ("# la la la #\nWe're # 1.", "We're # 1."),
        ("ACTOR AS EINSTEIN:\nWhat would I see?", "What would I see?"),
        ("DR. O'NEIL: No.", "No."),
        ("MAN:No.", "No."),
        ("- Just me.", "Just me."),
        ("– Just\nme.", "Just me."),
        ("&gt;&gt; Just me.", "Just me."),
        ("[door opens]\n- Who is it?", "Who is it?"),
        ("--and then\n--I left.", "--and then --I left."),
        ("At 10:30, as I said:\nnothing.", "At 10:30, as I said: nothing."),
        ("AT 10:30", "AT 10:30"),
        ("Rock &amp; roll,<br/>l&eacute;ger", "Rock & roll, léger"),
        ("Two\\Nlines", "Two lines"),
        ("- Hello.\n- Hello.", None),
        ("Hello.\n-Hello.", None),
        ("ANN: Hello.\nBOB: Hello.", None),
        ("- Yes. - No.", None),
        (">> Yes. >> No.", None),
        ("Yes.\n>> No.", None),
    ],
)
def test_what_one_speaker_says(text: str, said: str | None) -> None:
    assert spoken_text(text) == said


@given(st.text(alphabet="ab .,?!♪#-–:<>{}[]()&;\n", max_size=40))
def test_any_text_is_one_line_or_two_speakers(text: str) -> None:
    said = spoken_text(text)
    assert said is None or said == " ".join(said.split())


@pytest.mark.parametrize(
    "text",
    [
        "Subtitles by Somebody",
        "English subtitles downloaded from www.example.org",
        "Visit https://example.org",
        "Provided by\nOpenSubtitles",
        "Sync & corrections by Someone",
        "<i>Synced and corrected by someone</i>",
        "- Resync: Someone -",
        "Captioning made possible by Somebody",
        "Transcript by someone",
        "Translated by someone",
        "Advertise your product or brand here",
        "Support us and become VIP member\nto remove all ads",
        "Watch any video online",
    ],
)
def test_adverts(text: str) -> None:
    assert is_advert(text)


@pytest.mark.parametrize(
    "text",
    [
        "We are in sync, by the way.",
        "It was translated by my father.",
        "The captain is by the door.",
        "Watch your step.",
        "He subs for me.",
        "Stand by.",
        "I read the transcripts.",
    ],
)
def test_speech_that_is_no_advert(text: str) -> None:
    assert not is_advert(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("l don't know, l said.", "I don't know, I said."),
        ("lt's late. ls it? ln time. lf so.", "It's late. Is it? In time. If so."),
        ("l'll go, l've said, l’m sure", "I'll go, I've said, I’m sure"),
        ("THlS lS lMPOSSlBLE", "THIS IS IMPOSSIBLE"),
        ("FBl", "FBI"),
        ("Al and Bill will call a 5-l can", "Al and Bill will call a 5-l can"),
        ("l'homme", "l'homme"),
    ],
)
def test_what_a_scanner_read(text: str, meant: str) -> None:
    assert repaired(text, "en") == repaired(text, "") == repaired(text, "en-US") == meant
    assert repaired(text, "fr") == text


def test_repair_leaves_good_english_alone(real: Path) -> None:
    text = (real / "subtitles" / "pbs_nova_sdh_example.srt").read_text()
    assert repaired(text, "en") == text


@pytest.mark.parametrize(
    ("text", "language", "kept"),
    [
        ("跟我来！\nFollow me!", "en", "Follow me!"),
        ("跟我来！\nFollow me!", "zh", "跟我来！"),
        ("跟我来！\nFollow me!", "", "跟我来！\nFollow me!"),
        ("Follow me!\n1962 ...", "en", "Follow me!\n1962 ..."),
        ("<i>Осторожно!</i>", "en", ""),
        ("Follow me, 小明!", "en", "Follow me, 小明!"),
    ],
)
def test_bilingual_lines(text: str, language: str, kept: str) -> None:
    assert without_foreign_lines(text, language) == kept


def test_marks() -> None:
    assert plain("{\\an8}<i>A\u200b</i>&nbsp;&lt;b&gt;\ufeff") == "A <b>"
    assert is_placed("{\\an8\\pos(190,230)}CAFE") and is_placed("{\\p1}m 0 0 l 1 1{\\p0}")
    assert not is_placed("{\\an8}{\\i1}No.")
    assert changes_speaker("[door] - No.") and changes_speaker("ANN:\nNo.") and not changes_speaker("--and so")


def test_the_real_captions_for_the_deaf(real: Path) -> None:
    cues = parse_srt((real / "subtitles" / "pbs_nova_sdh_example.srt").read_text())
    two = [cue.text for cue in cues if spoken_text(cue.text) is None]
    assert two == ["Major funding for NOVA\nis provided\nNARRATOR:\nA hundred years ago,"]
    assert [cue.text for cue in cues if is_advert(cue.text)] == ["Captioning sponsored\nby EXXONMOBIL,"]


BRACKETS = {"<{": r"<[^<>]*>|\{[^}]*\}", "[(": r"\[[^\]]*\]|\([^)]*\)"}


@pytest.mark.parametrize("kinds", BRACKETS)
@given(st.text("<>{}[]()a\n", max_size=12))
def test_brackets_that_are_closed_go_and_others_stay(kinds: str, text: str) -> None:
    assert _without(kinds, " ", text) == re.sub(BRACKETS[kinds], " ", text)


@pytest.mark.parametrize("mark", ["[", "(", "{", "<", "[(", "{<", "{\\pos", "[)"])
def test_brackets_without_end_take_no_longer_than_other_words(mark: str) -> None:
    text = mark * 100_000
    began = time.process_time()
    spoken_text(text)
    is_placed(text)
    assert time.process_time() - began < 2, "it would be minutes"


@pytest.mark.parametrize("n_digits", [20, 599, 600, 5000])
def test_the_number_of_no_character_is_told_as_such(n_digits: int) -> None:
    assert plain(f"so &#{'1' * n_digits}; it is") == "so \ufffd it is"
