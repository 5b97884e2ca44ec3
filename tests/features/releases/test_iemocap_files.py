from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.releases.iemocap_files import (
    UTTERANCE,
    Fault,
    Rating,
    Turn,
    dialogue_of,
    scenario_of,
    speaker_of,
    spoken,
    transcripts,
    turns,
    wearer_of,
)

HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
NAME = "Ses03M_impro08b_F003"
SUMMARY = "[12.3400 - 15.6700]\tSes03M_impro08b_F003\tang\t[2.5000, 3.5000, 3.0000]\n"
RATERS = "C-E2:\tAnger;\t()\nC-E3:\tFrustration; Anger;\t(annoyed)\nA-E4:\tval 3; act 3; dom  ;\t()\n\n"


def parsed(text: str) -> list[Turn | Fault]:
    return list(turns(text.encode("latin-1")))


def test_one_block() -> None:
    (turn,) = parsed(HEADER + SUMMARY + RATERS)
    assert turn == Turn(
        3, "Ses03M_impro08b_F003", 12.34, 15.67, "ang", {"val": "2.5000", "act": "3.5000", "dom": "3.0000"},
        [
            Rating(4, "C", "E2", "Anger;"), Rating(5, "C", "E3", "Frustration; Anger;"),
            Rating(6, "A", "E4", "val 3; act 3; dom  ;"),
        ],
    )  # fmt: skip
    assert isinstance(turn, Turn)
    assert (turn.dialogue, turn.speaker) == ("Ses03M_impro08b", "Ses03F")


@pytest.mark.parametrize(
    ("utterance", "speaker", "wearer", "scenario"),
    [
        ("Ses01F_impro01_M013", "Ses01M", "Ses01F", "improvised"),
        ("Ses03M_impro05a_M012", "Ses03M", "Ses03M", "improvised"),
        ("Ses05M_script01_1b_F003", "Ses05F", "Ses05M", "scripted"),
        ("Ses02F_script03_2_F030", "Ses02F", "Ses02F", "scripted"),
    ],
)
def test_what_an_id_says(utterance: str, speaker: str, wearer: str, scenario: str) -> None:
    assert UTTERANCE.fullmatch(utterance)
    assert (speaker_of(utterance), wearer_of(utterance), scenario_of(utterance)) == (speaker, wearer, scenario)
    assert utterance.startswith(dialogue_of(utterance) + "_")


@pytest.mark.parametrize(
    "name",
    [
        "Ses06F_impro01_F000", "Ses01F_impro01_FXX0", "Ses01F_impro01", "._Ses01F_impro01_F000",
        "Ses01F_impro01c_F000", "Ses01F_script04_1_F000", "Ses01F_impro01_F0000",
    ],
)  # fmt: skip
def test_what_is_no_utterance(name: str) -> None:
    assert UTTERANCE.fullmatch(name) is None


FAULTS = [
    (SUMMARY, Fault("unparsable_summary", 1, "its first line is not the '% [START_TIME - END_TIME] …' header")),
    ("", Fault("unparsable_summary", 1, "its first line is not the")),
    (HEADER + SUMMARY.replace("\tang", " ang"),
     Fault("unparsable_summary", 3, "line 3 is no '[start - end] TURN EMOTION [V, A, D]' line", NAME)),
    (HEADER + "[1.0 - 2.0]\n", Fault("unparsable_summary", 3, "line 3 is no '[start - end]")),
    (HEADER + SUMMARY.replace("ang", "joy"),
     Fault("unknown_emotion", 3, "line 3 has the unknown emotion 'joy' (known: ang,", NAME)),
    (HEADER + SUMMARY.replace("Ses03", "Ses09"),
     Fault("unknown_id", 3, "line 3 has 'Ses09M_impro08b_F003', which is no utterance id of IEMOCAP")),
    (HEADER + SUMMARY.replace("15.6700", "12.3400"),
     Fault("empty_span", 3, "line 3 ends at 12.34 s, not after its start at 12.34 s", NAME)),
]  # fmt: skip


@pytest.mark.parametrize(("text", "fault"), FAULTS)
def test_faults(text: str, fault: Fault) -> None:
    first, *_ = parsed(text)
    assert isinstance(first, Fault)
    assert (first.name, first.line, first.id) == (fault.name, fault.line, fault.id)
    assert fault.problem in first.problem


def test_raters_below_a_fault_are_nobody_elses() -> None:
    fine = SUMMARY + RATERS
    first, second, third = parsed(HEADER + fine + fine.replace("ang", "joy") + fine)
    assert isinstance(second, Fault)
    for turn in (first, third):
        assert isinstance(turn, Turn)
        assert len(turn.ratings) == 3


@pytest.mark.parametrize("text", [RATERS, "\n", "C-E2 Anger\n" + RATERS])
def test_what_stands_before_the_first_summary_is_passed_over(text: str) -> None:
    assert parsed(HEADER + text) == []


def test_line_ends_and_code_pages_do_not_matter() -> None:
    text = HEADER + SUMMARY + RATERS.replace("annoyed", "fâchée\x85")
    expected = parsed(text)
    assert list(turns(text.encode())) == expected
    assert parsed(text.replace("\n", "\r\n")) == expected


def test_a_byte_order_mark_is_passed_over() -> None:
    marked = ("\ufeff" + HEADER + SUMMARY).encode()
    assert list(turns(marked)) == parsed(HEADER + SUMMARY)
    assert list(transcripts(f"\ufeff{NAME} [012.3400-015.6700]: Yes.".encode())) == [(NAME, "Yes.")]


@pytest.mark.parametrize("line", ["C-E2: Anger;", "C-E2:Anger;\t()", "A-E4", "C-e2:\tAnger;\t()"])
def test_a_rater_s_line_of_another_form_is_told_and_not_dropped(line: str) -> None:
    fault, turn = parsed(HEADER + SUMMARY + f"{line}\n" + RATERS)
    problem = f"line 4 is no 'C-E1:' or 'A-E1:' line with tabs around the judgement: {line!r}"
    assert fault == Fault("unparsable_rating", 4, problem, NAME)
    assert isinstance(turn, Turn) and len(turn.ratings) == 3


@given(st.text(), st.binary())
def test_any_bytes_are_answered(text: str, raw: bytes) -> None:
    for content in (raw, text.encode(errors="ignore"), HEADER.encode() + raw):
        assert all(isinstance(one, (Turn, Fault)) for one in turns(content))
        assert all(UTTERANCE.fullmatch(name) for name, _ in transcripts(content))


def test_transcripts() -> None:
    said = (
        "Ses03M_impro08b_F003 [012.3400-015.6700]: Well -- two things]: this: and that. [LAUGHTER]\r\n"
        "Ses03M_impro08b_M000 [016.0000-017.0000]:No blank.\r\n"
        "Ses03M_impro08b_M001 [016.0000-017.0000]: \r\n"
        " Ses03M_impro08b_M003\t[016.0000 - 017.0000] : Tabs and blanks.\r\n"
        "Ses03M_impro08b_FXX0 [018.0000-019.0000]: Never cut out.\r\n"
        "Ses03M_impro08b_M002 no times: here\r\n"
        "M: Hm.\r\nF: [LAUGHTER]\r\n\r\n"
    )
    assert list(transcripts(said.encode())) == [
        ("Ses03M_impro08b_F003", "Well -- two things]: this: and that. [LAUGHTER]"),
        ("Ses03M_impro08b_M000", "No blank."),
        ("Ses03M_impro08b_M001", ""),
        ("Ses03M_impro08b_M003", "Tabs and blanks."),
    ]


@pytest.mark.parametrize(
    ("judgement", "names"),
    [
        ("Anger;", ["Anger"]),
        ("Frustration; Anger;", ["Frustration", "Anger"]),
        ("; ;Anger; ;", ["Anger"]),
        ("Neutral state", ["Neutral state"]),
        ("", []),
    ],
)
def test_categories(judgement: str, names: list[str]) -> None:
    assert Rating(1, "C", "E1", judgement).names == names


@pytest.mark.parametrize(
    ("judgement", "numbers"),
    [
        ("val 2; act 4; dom  4;", {"val": "2", "act": "4", "dom": "4"}),
        ("val 2; act 4; dom  ;", {"val": "2", "act": "4"}),
        ("act 4.5; val 1;", {"act": "4.5", "val": "1"}),
        ("", {}),
    ],
)
def test_attributes(judgement: str, numbers: dict[str, str]) -> None:
    assert Rating(1, "A", "E1", judgement).numbers == numbers


@pytest.mark.parametrize(("rater", "external"), [("E2", True), ("E12", True), ("F1", False), ("M1", False)])
def test_who_is_external(rater: str, external: bool) -> None:
    assert Rating(1, "C", rater, "").is_external == external


def test_tags_are_taken_out_and_nothing_else() -> None:
    assert spoken("[LAUGHTER]").strip() == ""
    assert spoken("a, b -- c [BREATHING] d").split() == ["a,", "b", "--", "c", "d"]
