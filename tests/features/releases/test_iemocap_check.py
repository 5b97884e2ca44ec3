from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from features.check import Anomaly, Findings
from features.corpora.iemocap import Iemocap
from features.releases.iemocap_check import ANOMALIES, check
from features.releases.iemocap_counts import published
from features.sandbox.traps.iemocap import HARMLESS, TRAPS, expected

COUNTS = expected(seed=0, scale=0.1)
D = "Ses01F_impro01"


@pytest.fixture(scope="module")
def clean(small_sandbox: dict[str, Path]) -> Findings:
    return check(small_sandbox["iemocap"], expected=COUNTS)


@pytest.fixture
def tree(small_sandbox: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_sandbox["iemocap"], tmp_path / "IEMOCAP_full_release"))


def added(findings: Findings, clean: Findings) -> list[Anomaly]:
    return [anomaly for anomaly in findings.anomalies if anomaly not in clean.anomalies]


def differences(findings: Findings) -> dict[str, int]:
    return {count.what: count.difference for count in findings.counts if count.difference}


def test_a_clean_tree_has_only_what_every_copy_has(clean: Findings) -> None:
    assert clean.is_clean
    assert [(a.name, a.where, a.known) for a in clean.anomalies] == [
        ("apple_double", f"Session{number}", True) for number in range(1, 6)
    ]
    assert all(count.expected is not None for count in clean.counts)


PROBLEMS = {  # anomaly -> where, what is said
    "missing_session": ("Session4", "the folder is not there: unpack the release completely"),
    "missing_folder": ("Session1/sentences/ForcedAlignment", "the folder is not there: unpack it completely"),
    "missing_dialogue": ("Session1", "there are 1 dialogues of 2"),
    "incomplete_dialogue": (f"Session1/{D}", "nothing of it is in dialog/transcriptions"),
    "stray_file": (f"EmoEvaluation/{D}_e2_cat.txt", f"'{D}_e2_cat.txt' is named after no dialogue of Session1"),
    "misnamed_file": ("caf\ufffd.txt", "its name is not UTF-8: rename it"),
    "apple_double": ("Session1", "3 files named ._* are ignored"),
    "dangling_link": (f"Session1/sentences/wav/{D}/more.wav", "it is a link to '../gone.wav', where nothing is"),
    "unparsable_summary": (f"{D}.txt:3", "line 3 is no '[start - end] TURN EMOTION [V, A, D]' line: '["),
    "unparsable_rating": (f"{D}.txt:4", "line 4 is no 'C-E1:' or 'A-E1:' line with tabs around the judgement: 'C-E2: "),
    "unknown_category": (f"Session1/{D}_F000", "rater F1 names 'Bliss', which is none of the ten categories"),
    "unreadable_recording": (f"dialog/wav/{D}.wav", "it is no PCM wav file (it ends within its header)"),
    "short_recording": (f"dialog/wav/{D}.wav", " s, but a turn ends at "),
    "unknown_emotion": (f"{D}.txt:3", "line 3 has the unknown emotion 'joy' (known: ang, dis, exc"),
    "unknown_id": (f"{D}.txt:", "has 'Ses09F_impro99_M003', which is no utterance id of IEMOCAP"),
    "foreign_id": ("Session1/dialog/EmoEvaluation/Ses01M_script02_1.txt:", f"{D}_F000 belongs to another dialogue"),
    "second_summary": (f"{D}.txt:", f"utterance {D}_F000 has a second summary line"),
    "second_transcription": (f"transcriptions/{D}.txt", f"utterance {D}_F000 has a second line with another text"),
    "empty_span": (f"{D}.txt:3", "line 3 ends at 1.0 s, not after its start at 1.0 s"),
    "dimension_outside": (f"Session1/{D}_F000", "val is 5.5000, not in [1, 5]"),
    "missing_dimension": (f"Session1/{D}_F000", "rater E3 gives no dom"),
    "majority_differs": (f"Session1/{D}_F000", "the external raters Disgust 3"),
    "summary_without_wav": (f"Session1/{D}_F000", "there is no sentence wav of this name"),
    "summary_without_transcription": (f"Session1/{D}_F000", "no transcription has a line for it"),
    "wav_without_summary": (f"Session1/{D}_F000", "no EmoEvaluation file has a line for it"),
    "transcription_without_summary": (
        f"Session1/{D}_M900", "no EmoEvaluation file has a line for it, and it has no sentence wav",
    ),
    "unreadable_wav": (f"wav/{D}/{D}_F000.wav", "it is no PCM wav file (file does not start with RIFF id)"),
    "truncated_wav": (f"wav/{D}/{D}_F000.wav", "it lacks 956 bytes or more of what its header says"),
    "wav_format": (f"wav/{D}/{D}_F000.wav", "it has 8000 Hz, 1 channels and 16 bits, not 16000 Hz, 1 and 16"),
    "duration_mismatch": (f"wav/{D}/{D}_F000.wav", " s by the summary"),
    "missing_alignment": (f"Session1/{D}_F000", "it has no phseg"),
    "stray_alignment": (f"Session1/{D}_M900", "nothing else is known of this utterance"),
    "unparsable_alignment": (f"{D}_F000.phseg", "line 2 of its phseg is no row of such a table: '\\t    0"),
    "alignment_disorder": (f"{D}_F000.wdseg", "its wdseg goes from frame "),
    "alignment_misfit": (f"{D}_F000.wdseg", "its wdseg ends at "),
}  # fmt: skip

KNOWN = {
    "misnamed_file", "apple_double", "missing_dimension", "unknown_category", "majority_differs", "duration_mismatch",
}  # fmt: skip
"""Told, but no reason to fail."""


@pytest.mark.parametrize("name", TRAPS)
def test_a_planted_trap_is_found_and_nothing_else(name: str, tree: Path, clean: Findings) -> None:
    TRAPS[name](tree)
    findings = check(tree, expected=COUNTS)
    (anomaly,) = added(findings, clean)
    where, problem = PROBLEMS[name]
    assert anomaly.name == name
    assert where in anomaly.where
    assert problem in anomaly.problem
    assert anomaly.known == (name in KNOWN)
    assert findings.is_clean == (name in KNOWN)
    assert str(tree) not in repr(findings)


def test_every_anomaly_has_its_trap() -> None:
    assert TRAPS.keys() == ANOMALIES.keys() == PROBLEMS.keys()


@pytest.mark.parametrize("name", HARMLESS)
def test_what_copies_have_is_not_minded(name: str, tree: Path, clean: Findings) -> None:
    HARMLESS[name](tree)
    assert check(tree, expected=COUNTS) == clean


COUNTED = {
    "summary_without_wav": {"wav": -1, "wav, session 1": -1},
    "missing_dialogue": {"dialogues": -1, "dialogues, session 1": -1},
    "missing_session": {"dialogues": -2, "dialogues, session 4": -2},
}


@pytest.mark.parametrize("name", COUNTED)
def test_what_a_trap_removes_is_missing_in_the_counts(name: str, tree: Path) -> None:
    TRAPS[name](tree)
    found = differences(check(tree, expected=COUNTS))
    if name == "summary_without_wav":
        assert found == COUNTED[name]
    assert COUNTED[name].items() <= found.items()


# -- what belongs to the same fault is told once --------------------------------------------------------------


@pytest.mark.parametrize("part", ["dialog/EmoEvaluation", "dialog/transcriptions", "dialog/wav", "sentences/wav"])
def test_a_missing_folder_is_told_once(part: str, tree: Path, clean: Findings) -> None:
    shutil.rmtree(tree / "Session1" / part)
    told = [a for a in added(check(tree, expected=COUNTS), clean) if a.name != "apple_double"]
    assert [(a.name, a.where) for a in told] == [("missing_folder", f"Session1/{part}")]


@pytest.mark.parametrize(
    ("path", "part"),
    [
        (f"dialog/EmoEvaluation/{D}.txt", "dialog/EmoEvaluation"),
        (f"dialog/wav/{D}.wav", "dialog/wav"),
        (f"sentences/wav/{D}", "sentences/wav"),
        (f"sentences/ForcedAlignment/{D}", "sentences/ForcedAlignment"),
    ],
)
def test_a_missing_part_of_a_dialogue_is_told_once(path: str, part: str, tree: Path, clean: Findings) -> None:
    gone = tree / "Session1" / path
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    told = [a for a in added(check(tree, expected=COUNTS), clean) if a.name != "apple_double"]
    assert [(a.name, a.where) for a in told] == [("incomplete_dialogue", f"Session1/{D}")]
    assert told[0].problem == f"nothing of it is in {part}"


def test_an_utterance_that_only_was_recorded(tree: Path, clean: Findings) -> None:
    TRAPS["wav_without_summary"](tree)
    TRAPS["summary_without_transcription"](tree)  # which takes what is first now: the second
    said = tree / "Session1" / "dialog" / "transcriptions" / f"{D}.txt"
    lines = said.read_text().splitlines(keepends=True)
    said.write_text("".join(line for line in lines if not line.startswith(f"{D}_F000")))
    problems = {a.where: a.problem for a in added(check(tree, expected=COUNTS), clean)}
    assert problems[f"Session1/{D}_F000"] == "no EmoEvaluation file has a line for it, and it is not transcribed"


def test_an_utterance_that_only_was_judged(tree: Path, clean: Findings) -> None:
    TRAPS["summary_without_transcription"](tree)
    TRAPS["summary_without_wav"](tree)
    (anomaly,) = added(check(tree, expected=COUNTS), clean)
    assert anomaly.name == "summary_without_wav"
    assert anomaly.problem == "there is no sentence wav of this name, and it is not transcribed"


# -- more of the same anomalies --------------------------------------------------------------------------------


def changed(tree: Path, old: str, new: str, path: str = f"dialog/EmoEvaluation/{D}.txt") -> None:
    file = tree / "Session1" / path
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_a_file_without_header(tree: Path, clean: Findings) -> None:
    changed(tree, "% [START", "[START")
    first, *_ = added(check(tree, expected=COUNTS), clean)
    assert first.name == "unparsable_summary"
    assert first.problem == "its first line is not the '% [START_TIME - END_TIME] …' header it must have"


def test_what_is_not_transcribed_is_missing_in_no_count_of_tags(tree: Path) -> None:
    TRAPS["summary_without_transcription"](tree)
    assert differences(check(tree, expected=COUNTS)) == {"four classes, [BREATHING]": -1}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (f"dialog/EmoEvaluation/{D}.txt", "incomplete_dialogue"),
        (f"sentences/wav/{D}/{D}_F000.wav", "summary_without_wav"),
        (f"sentences/ForcedAlignment/{D}/{D}_F000.wdseg", "missing_alignment"),
    ],
)
def test_a_link_to_nowhere_is_a_file_that_is_not_there(path: str, name: str, tree: Path, clean: Findings) -> None:
    (tree / "Session1" / path).unlink()
    (tree / "Session1" / path).symlink_to(tree / "nowhere")
    link, missing = sorted(added(check(tree, expected=COUNTS), clean), key=lambda a: a.name == name)
    assert (missing.name, link.name, link.where) == (name, "dangling_link", f"Session1/{path}")


@pytest.mark.parametrize("folder", ["Session1", "Session1/dialog", "Session1/sentences/wav"])
def test_a_folder_that_is_a_link_to_nowhere_is_named(folder: str, tree: Path, clean: Findings) -> None:
    shutil.rmtree(tree / folder)
    (tree / folder).symlink_to("nowhere")
    links = [a for a in added(check(tree, expected=COUNTS), clean) if a.name == "dangling_link"]
    assert [(a.where, a.problem) for a in links] == [(folder, "it is a link to 'nowhere', where nothing is")]


def test_a_wav_that_is_named_after_no_utterance(tree: Path, clean: Findings) -> None:
    folder = tree / "Session1" / "sentences" / "wav" / D
    shutil.copy(folder / f"{D}_F000.wav", folder / "copy.wav")
    (anomaly,) = added(check(tree, expected=COUNTS), clean)
    assert (anomaly.name, anomaly.problem) == ("unknown_id", "'copy' is no utterance id of IEMOCAP")


def test_a_wav_in_the_folder_of_another_dialogue(tree: Path, clean: Findings) -> None:
    folder = tree / "Session1" / "sentences" / "wav"
    (folder / D / f"{D}_F000.wav").rename(folder / "Ses01M_script02_1" / f"{D}_F000.wav")
    (anomaly,) = added(check(tree, expected=COUNTS), clean)
    assert (anomaly.name, anomaly.problem) == ("foreign_id", f"utterance {D}_F000 belongs to another dialogue")


@pytest.mark.parametrize("path", [f"dialog/transcriptions/{D} copy.txt", "dialog/wav/Ses02F_impro01.wav"])
def test_a_file_of_no_dialogue_of_the_session(path: str, tree: Path, clean: Findings) -> None:
    (tree / "Session1" / path).write_bytes(b"")
    (anomaly,) = added(check(tree, expected=COUNTS), clean)
    assert (anomaly.name, anomaly.where) == ("stray_file", f"Session1/{path}")


# -- the published counts --------------------------------------------------------------------------------------


def test_the_sandbox_is_not_the_release(small_sandbox: dict[str, Path], clean: Findings) -> None:
    findings = Iemocap().check(small_sandbox["iemocap"])
    assert not findings.is_clean
    assert {count.what: count.expected for count in findings.counts} == published()
    assert {a.name for a in findings.anomalies} == {"missing_dialogue", "apple_double"}
    assert "there are 2 dialogues of 28" in [a.problem for a in findings.anomalies]


def test_a_partial_release_is_checked_against_its_own_sessions(tree: Path) -> None:
    shutil.rmtree(tree / "Session5")
    reader = Iemocap(sessions=(1, 3))
    findings = reader.check(tree)
    assert {count.what for count in findings.counts} == published((1, 3)).keys()
    own = {what: n for what, n in COUNTS.items() if what in published((1, 3))}
    assert reader.check(tree, own).is_clean
