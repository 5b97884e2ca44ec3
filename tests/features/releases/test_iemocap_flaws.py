from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from features.releases.iemocap_files import Rating, Turn
from features.releases.iemocap_flaws import Flaw, contradiction, of_recording, of_table, of_turn, of_wav

ROWS = b"\t SFrm  EFrm    SegAScr Word\n\t    0     9  -1 <s>\n\t   10    99  -1 SO\n"


def turn(emotion: str = "ang", votes: dict[str, str] | None = None, val: str = "2.5000", **rated: str) -> Turn:
    categories = [Rating(4, "C", rater, names) for rater, names in (votes or {}).items()]
    attributes = [Rating(5, "A", rater, judgement) for rater, judgement in rated.items()]
    means = {"val": val, "act": "3.0000", "dom": "3.0000"}
    return Turn(3, "Ses01F_impro01_F000", 1.0, 2.0, emotion, means, categories + attributes)


def wav(path: Path, n_frames: int = 16_000, n_channels: int = 1, hz: int = 16_000, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, np.zeros((n_frames, n_channels)), hz, subtype=subtype)
    return path


# -- turns -----------------------------------------------------------------------------------------------------


def test_a_turn_without_ratings_has_no_flaw() -> None:
    assert list(of_turn(turn())) == []


@pytest.mark.parametrize("val", ["1.0000", "5.0000"])
def test_the_ends_of_the_scale_are_on_it(val: str) -> None:
    assert list(of_turn(turn(val=val, E3="val 1; act 5; dom  1;"))) == []


@pytest.mark.parametrize(
    ("val", "rated", "known"),
    [
        ("5.5000", "val 5; act 3; dom  3;", False),
        ("5.5000", "val 6; act 3; dom  3;", True),
        ("0.5000", "val  ; act 3; dom  3;", True),
        ("0.5000", "val 1; act 3; dom  ;", False),
    ],
)
def test_a_mean_off_the_scale_is_known_where_its_raters_explain_it(val: str, rated: str, known: bool) -> None:
    flaws = [flaw for flaw in of_turn(turn(val=val, E3=rated, E4="val 5; act 3; dom  3;")) if "outside" in flaw.name]
    assert flaws == [Flaw("dimension_outside", f"val is {val}, not in [1, 5]", known)]


def test_an_empty_dimension_is_told_of_each_rater() -> None:
    flaws = list(of_turn(turn(E3="val 2; act 3; dom  ;", M1="val 2; act ; dom  ;")))
    assert flaws == [
        Flaw("missing_dimension", "rater E3 gives no dom", True),
        Flaw("missing_dimension", "rater M1 gives no act", True),
        Flaw("missing_dimension", "rater M1 gives no dom", True),
    ]


def test_a_category_that_is_none_of_the_ten_is_told_and_kept() -> None:
    votes = {"E2": "Anger; Bliss;", "E3": "Neutral state; Anger;", "M1": "anger;"}
    problem = "rater {} names '{}', which is none of the ten categories"
    assert list(of_turn(turn("ang", votes))) == [
        Flaw("unknown_category", problem.format("E2", "Bliss"), True),
        Flaw("unknown_category", problem.format("M1", "anger"), True),
    ]


VOTES = {
    "two of three": ("Anger;|Anger;|Fear;", {"ang"}),
    "all differ": ("Anger;|Sadness;|Fear;", {"xxx"}),
    "a tie": ("Anger; Sadness;|Anger;|Sadness;", {"ang", "sad", "xxx"}),
    "named after a state": ("Neutral state;|Neutral state;|Other;", {"neu"}),
    "said twice by one": ("Anger; Anger;|Sadness;|Fear;", {"xxx"}),
    "stray semicolons": ("; Anger;|Anger; ;|", {"ang"}),
    "four raters": ("Excited;|Excited;|Happiness;|Surprise;", {"exc"}),
}


@pytest.mark.parametrize("case", VOTES)
def test_what_the_external_raters_allow_the_summary_to_say(case: str) -> None:
    lines, allowed = VOTES[case]
    votes = {f"E{number}": line for number, line in enumerate(lines.split("|"), start=1)}
    actor = {"F1": "Disgust; Frustration;"}  # who is not asked
    for emotion in ("ang", "hap", "exc", "sad", "neu", "fru", "sur", "fea", "dis", "oth", "xxx"):
        assert (contradiction(turn(emotion, votes | actor)) == "") == (emotion in allowed)


def test_a_contradiction_is_told_and_no_reason_to_fail() -> None:
    votes = {"E2": "Anger;", "E3": "Sadness; Anger;", "E4": "Sadness;", "M1": "Neutral state;"}
    problem = "the summary says neu, the external raters Anger 2, Sadness 2"
    assert list(of_turn(turn("neu", votes))) == [Flaw("majority_differs", problem, True)]


def test_without_external_raters_nothing_is_contradicted() -> None:
    assert contradiction(turn("ang", {"M1": "Sadness;"})) == ""


# -- wavs ------------------------------------------------------------------------------------------------------


def test_a_wav_as_it_should_be(tmp_path: Path) -> None:
    assert of_wav(wav(tmp_path / "a.wav"), turn()) == (1.0, [])
    assert of_wav(wav(tmp_path / "a.wav", 17_600), turn()) == (1.1, [])


@pytest.mark.parametrize(
    ("n_channels", "rate_hz", "subtype", "form"),
    [
        (2, 16_000, "PCM_16", "16000 Hz, 2 channels and 16 bits"),
        (1, 16_000, "PCM_24", "16000 Hz, 1 channels and 24 bits"),
        (1, 16_000, "PCM_U8", "16000 Hz, 1 channels and 8 bits"),
        (1, 48_000, "PCM_16", "48000 Hz, 1 channels and 16 bits"),
    ],
)
def test_wavs_of_another_form(n_channels: int, rate_hz: int, subtype: str, form: str, tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", rate_hz, n_channels, rate_hz, subtype)
    assert of_wav(path, turn()) == (1.0, [Flaw("wav_format", f"it has {form}, not 16000 Hz, 1 and 16")])


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "it ends within its header"),
        (b"ID3 of an mp3", "file does not start with RIFF id"),
        (b"RIFF\x04\0\0\0WAVE", "fmt chunk and/or data chunk missing"),
    ],
)
def test_what_is_no_wav(raw: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(raw)
    assert of_wav(tmp_path / "a.wav", turn()) == (None, [Flaw("unreadable_wav", f"it is no PCM wav file ({why})")])


def test_a_header_without_a_rate_is_unreadable(tmp_path: Path) -> None:
    raw = wav(tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(raw[:24] + bytes(8) + raw[32:])
    problem = "it is no PCM wav file (its rate is 0 Hz)"
    assert of_wav(tmp_path / "a.wav", turn()) == (None, [Flaw("unreadable_wav", problem)])


@pytest.mark.parametrize(("n_frames", "problem"), [(32_000, ""), (31_200, ""), (31_100, "1.944")])
def test_a_recording_holds_its_turns(n_frames: int, problem: str, tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", n_frames, 2)
    told = f"it lasts {problem} s, but a turn ends at 2.000 s"
    assert list(of_recording(path, 2.0)) == ([Flaw("short_recording", told)] if problem else [])


def test_a_recording_is_as_long_as_its_bytes(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", 48_000, 2)
    path.write_bytes(path.read_bytes()[: 44 + 64_000])
    assert list(of_recording(path, 2.0)) == [Flaw("short_recording", "it lasts 1.000 s, but a turn ends at 2.000 s")]
    path.write_bytes(b"")
    problem = "it is no PCM wav file (it ends within its header)"
    assert list(of_recording(path, 2.0)) == [Flaw("unreadable_recording", problem)]


def test_a_wav_of_floats_is_no_pcm(tmp_path: Path) -> None:
    _, (flaw,) = of_wav(wav(tmp_path / "a.wav", subtype="FLOAT"), turn())
    assert flaw == Flaw("unreadable_wav", "it is no PCM wav file (unknown format: 3)")


def test_a_wav_that_was_cut_off_still_says_how_long_it_was(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav")
    path.write_bytes(path.read_bytes()[:-4044])
    assert of_wav(path, turn()) == (1.0, [Flaw("truncated_wav", "it lacks 4000 bytes or more of what its header says")])


@pytest.mark.parametrize("n_frames", [14_000, 18_000])
def test_a_wav_of_another_length_than_its_span(n_frames: int, tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", n_frames)
    problem = f"it lasts {n_frames / 16_000:.3f} s, but 1.000 s by the summary"
    assert of_wav(path, turn())[1] == [Flaw("duration_mismatch", problem, known=True)]
    assert of_wav(path, None)[1] == []


# -- alignment tables ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "duration_s", "flaws"),
    [
        (ROWS, 1.04, []),
        (ROWS, None, []),
        (ROWS, 1.2, [Flaw("alignment_misfit", "its wdseg ends at 1.00 s, but the sound at 1.200 s")]),
        (ROWS.replace(b"10 ", b"12 "), 1.0,
         [Flaw("alignment_disorder", "its wdseg goes from frame 9 ('<s>') to frame 12 ('SO')")]),
        (ROWS.replace(b"\t   10", b"\tten"), 1.0,
         [Flaw("unparsable_alignment", "line 3 of its wdseg is no row of such a table: '\\tten    99  -1 SO'")]),
        (b"", 1.0, [Flaw("unparsable_alignment", "its wdseg has no row")]),
        (ROWS.replace(b"\t    0     9  -1 <s>\n", b""), 1.0,
         [Flaw("alignment_misfit", "its wdseg starts at 0.10 s, not with the sound")]),
    ],
)  # fmt: skip
def test_tables(raw: bytes, duration_s: float | None, flaws: list[Flaw]) -> None:
    assert list(of_table("wdseg", raw, duration_s)) == flaws
