from __future__ import annotations

import itertools
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from features import audio
from features.corpora.iemocap import Iemocap
from features.plugin import Interval, RawFile
from features.sandbox.traps.iemocap import HARMLESS
from warehouse.errors import MalformedSource, MissingFolder, Untreatable

HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
BLOCK = """[6.2901 - 8.2357]\t{id}\t{emotion}\t[2.5000, 3.5000, 3.0000]
C-E2:\tAnger;\t()
C-E3:\tFrustration; Anger;\t(annoyed)
C-M1:\tAnger;\t()
A-E3:\tval 2; act 4; dom  4;\t()
A-E4:\tval 3; act 3; dom  ;\t()

"""
WHY = "(Format not recognised)"
DIALOGUE, NAME = "Ses01F_impro01", "Ses01F_impro01_M000"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """One session, one dialogue, one utterance, whose speaker does not wear the markers."""
    session = tmp_path / "Session1"
    for folder in ("dialog/EmoEvaluation", "dialog/transcriptions", f"sentences/wav/{DIALOGUE}"):
        (session / folder).mkdir(parents=True)
    emotions(tmp_path).write_text(HEADER + BLOCK.format(id=NAME, emotion="ang"))
    words(tmp_path).write_text(f"{NAME} [006.2901-008.2357]: Well [LAUGHTER] -- two things: no, and no.\n")
    soundfile.write(wav(tmp_path), np.zeros(31_129, np.int16), 16_000)
    return tmp_path


def emotions(root: Path) -> Path:
    return root / "Session1" / "dialog" / "EmoEvaluation" / f"{DIALOGUE}.txt"


def words(root: Path) -> Path:
    return root / "Session1" / "dialog" / "transcriptions" / f"{DIALOGUE}.txt"


def wav(root: Path, name: str = NAME) -> Path:
    return root / "Session1" / "sentences" / "wav" / DIALOGUE / f"{name}.wav"


ONE = Iemocap(sessions=(1,))


def test_one_utterance_in_full(release: Path, read_all) -> None:
    rows = read_all(ONE, release, "iemocap")
    (row,) = rows.utterances
    assert row["utterance_id"] == f"iemocap-{NAME}"
    assert row["speaker_id"] == "Ses01M"  # the turn's letter, not the wearer's
    assert (row["dialogue_id"], row["turn"], row["session"], row["unit"]) == (DIALOGUE, 0, "1", "Session1")
    assert (row["start_s"], row["end_s"], row["channel"]) == (0.0, 31_129 / 16_000, "mix")
    assert row["verbatim"] == "Well [LAUGHTER] -- two things: no, and no."
    assert row["text"] == "Well -- two things: no, and no."
    assert row["attributes"] == {
        "scenario": "improvised", "marker_wearer": "F", "dialogue_start_s": "6.2901", "dialogue_end_s": "8.2357"
    }  # fmt: skip
    assert [(one["scheme"], one["rater"], one["value"], one["number"]) for one in rows.labels] == [
        ("emotion", "summary", "ang", None),
        ("valence", "summary", "2.5000", 2.5),
        ("activation", "summary", "3.5000", 3.5),
        ("dominance", "summary", "3.0000", 3.0),
        ("emotion", "E2", "Anger", None),
        ("emotion", "E3", "Frustration", None),
        ("emotion", "E3", "Anger", None),
        ("emotion", "M1", "Anger", None),
        ("valence", "E3", "2", 2.0),
        ("activation", "E3", "4", 4.0),
        ("dominance", "E3", "4", 4.0),
        ("valence", "E4", "3", 3.0),
        ("activation", "E4", "3", 3.0),
    ]
    assert not rows.failures


def test_the_miniature_release(small_sandbox: dict[str, Path], read_all) -> None:
    root = small_sandbox["iemocap"]
    rows = read_all(Iemocap(), root)
    assert not rows.failures
    assert {row["session"] for row in rows.utterances} == set("12345")
    speakers = {f"Ses0{number}{letter}" for number in range(1, 6) for letter in "FM"}
    assert {row["speaker_id"] for row in rows.utterances} == speakers
    emotion = {row["utterance_id"]: row["value"] for row in rows.labels
               if (row["scheme"], row["rater"]) == ("emotion", "summary")}  # fmt: skip
    assert {row["utterance_id"] for row in rows.utterances} == set(emotion)
    assert {"ang", "hap", "exc", "neu", "sad"} <= set(emotion.values())
    assert any(row["dialogue_id"] == "Ses03M_impro05a" for row in rows.utterances)
    assert all("[" not in row["text"] and row["text"] for row in rows.utterances)
    for row in rows.utterances:
        start_s, end_s = (float(row["attributes"][f"dialogue_{edge}_s"]) for edge in ("start", "end"))
        assert row["end_s"] == pytest.approx(end_s - start_s, abs=1e-4)
        assert len(audio.decode(root / row["path"])) == round(row["end_s"] * 16_000)


def test_turns_follow_time(small_sandbox: dict[str, Path], read_all) -> None:
    rows = read_all(Iemocap(), small_sandbox["iemocap"]).utterances
    for dialogue in {row["dialogue_id"] for row in rows}:
        own = sorted((row for row in rows if row["dialogue_id"] == dialogue), key=lambda row: row["turn"])
        assert [row["turn"] for row in own] == list(range(len(own)))
        starts = [float(row["attributes"]["dialogue_start_s"]) for row in own]
        assert starts == sorted(starts)


def test_the_three_external_raters_explain_the_summary(small_sandbox: dict[str, Path], read_all) -> None:
    names = {"ang": "Anger", "hap": "Happiness", "exc": "Excited", "neu": "Neutral state", "sad": "Sadness"}
    votes: dict[str, Counter] = {}
    labels = [row for row in read_all(Iemocap(), small_sandbox["iemocap"]).labels if row["scheme"] == "emotion"]
    for row in labels:
        if row["rater"].startswith("E"):
            votes.setdefault(row["utterance_id"], Counter())[row["value"]] += 1
    for row in labels:
        if row["rater"] == "summary" and row["value"] in names:
            assert votes[row["utterance_id"]][names[row["value"]]] >= 2


def test_apple_double_files_and_lower_folders_are_passed_over(release: Path, read_all) -> None:
    emotions(release).with_name(f"._{DIALOGUE}.txt").write_bytes(b"\x00\x05\x16\x07")
    wav(release).with_name(f"._{NAME}.wav").write_bytes(b"\x00\x05\x16\x07")
    (emotions(release).parent / "Categorical").mkdir()
    (emotions(release).parent / "Categorical" / f"{DIALOGUE}_e2_cat.txt").write_text("none of this form\n")
    emotions(release).with_name("Ses01F_impro09.txt").symlink_to(release / "nowhere.txt")
    rows = read_all(ONE, release)
    assert len(rows.utterances) == 1
    assert not rows.failures


@pytest.mark.parametrize(
    "dialogue", ["Ses03M_impro05a", "Ses03M_impro05b", "Ses03M_impro08a", "Ses03M_impro08b", "Ses05M_script01_1b"]
)
def test_dialogues_with_a_suffix(release: Path, read_all, dialogue: str) -> None:
    name = f"{dialogue}_F003"
    emotions(release).write_text(HEADER + BLOCK.format(id=name, emotion="hap"))
    words(release).write_text(f"{name} [006.2901-008.2357]: Yes.\n")
    wav(release).rename(wav(release, name))
    (row,) = read_all(ONE, release).utterances
    assert row["dialogue_id"] == dialogue
    assert row["speaker_id"] == f"{dialogue[:5]}F"
    assert row["attributes"]["scenario"] == ("improvised" if "impro" in dialogue else "scripted")


def test_crlf_and_lines_without_an_id(release: Path, read_all) -> None:
    expected = read_all(ONE, release)
    other = "M: Hm.\nSes01F_impro01_MXX0 [001.0000-002.0000]: Oh.\n"
    for path, more in ((emotions(release), ""), (words(release), other)):
        path.write_bytes((path.read_text() + more).replace("\n", "\r\n").encode())
    assert read_all(ONE, release) == expected


def test_bytes_of_an_old_code_page_in_comments(release: Path, read_all) -> None:
    emotions(release).write_bytes(emotions(release).read_bytes().replace(b"annoyed", b"f\xe2ch\xe9e\x85"))
    assert len(read_all(ONE, release).labels) == 13


def test_only_tags_is_an_empty_text(release: Path, read_all) -> None:
    words(release).write_text(f"{NAME} [006.2901-008.2357]: [LAUGHTER]\n")
    (row,) = read_all(ONE, release).utterances
    assert (row["text"], row["verbatim"]) == ("", "[LAUGHTER]")


def test_a_missing_session_says_what_to_do(release: Path) -> None:
    with pytest.raises(MissingFolder, match=r"Session2 of IEMOCAP is not at .*Session2: put the whole release"):
        Iemocap().units(release)
    assert list(ONE.units(release)) == ["Session1"]


def test_a_missing_part_of_a_session(release: Path) -> None:
    shutil.rmtree(words(release).parent)
    with pytest.raises(MissingFolder, match=r"a part of IEMOCAP is not at .*transcriptions: unpack the release"):
        ONE.units(release)


def fail_wav_missing(root: Path) -> None:
    wav(root).unlink()


def fail_wav_corrupt(root: Path) -> None:
    wav(root).write_bytes(b"RIFF but nothing more")


def fail_no_words(root: Path) -> None:
    words(root).write_text("\n")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (fail_wav_missing, "there is no sentence wav of this name"),
        (fail_wav_corrupt, f"Session1/sentences/wav/{DIALOGUE}/{NAME}.wav cannot be decoded as audio {WHY}"),
        (fail_no_words, "no transcription has a line for it"),
    ],
)
def test_what_cannot_be_an_utterance_is_a_failure(release: Path, read_all, spoil, reason: str) -> None:
    spoil(release)
    rows = read_all(ONE, release)
    assert rows.failures == [{"input_id": "", "utterance_id": f"c-{NAME}", "step": "corpora.iemocap", "reason": reason}]
    assert not rows.utterances
    assert not rows.labels


def test_a_wav_that_nobody_judged_is_a_failure(release: Path, read_all) -> None:
    shutil.copy(wav(release), wav(release, f"{DIALOGUE}_M001"))
    rows = read_all(ONE, release)
    assert [row["reason"] for row in rows.failures] == ["no EmoEvaluation file has a line for it"]
    assert len(rows.utterances) == 1


BROKEN = [
    (BLOCK.format(id=NAME, emotion="ang"), "its first line is not the"),
    (HEADER + "[6.2901 - 8.2357]\tno tabs", r"line 3 is no '\[start - end\] TURN EMOTION \[V, A, D\]' line"),
    (HEADER + BLOCK.format(id=NAME, emotion="joy"), r"line 3 has the unknown emotion 'joy' \(known: ang, dis,"),
    (HEADER + BLOCK.format(id="Ses09F_x", emotion="ang"), "line 3 has 'Ses09F_x', which is no utterance id"),
    (HEADER + BLOCK.format(id=NAME, emotion="ang").replace("8.2357", "6.2901"), "line 3 ends at 6.2901 s, not after"),
    (HEADER + BLOCK.format(id=NAME, emotion="ang").replace("C-E2:\t", "C-E2 "), "line 4 is no 'C-E1:' or 'A-E1:' line"),
    (HEADER + 2 * BLOCK.format(id=NAME, emotion="ang"), f"utterance {NAME} has a second summary line"),
]


@pytest.mark.parametrize(("text", "problem"), BROKEN)
def test_malformed_evaluations_are_refused(release: Path, read_all, text: str, problem: str) -> None:
    emotions(release).write_text(text)
    with pytest.raises(MalformedSource, match=f"{DIALOGUE}.txt: {problem}"):
        read_all(ONE, release)


def test_a_file_of_no_dialogue_is_not_swallowed(release: Path, read_all) -> None:
    emotions(release).with_name(f"{DIALOGUE}_e2_cat.txt").write_text(f"{NAME} :Anger; ()\n")
    with pytest.raises(MalformedSource, match=r"_e2_cat.txt: it is named after no dialogue of Session1: move it away"):
        read_all(ONE, release)


def test_two_transcripts_of_one_utterance_are_refused(release: Path, read_all) -> None:
    words(release).write_text(2 * words(release).read_text())
    assert len(read_all(ONE, release).utterances) == 1  # the same twice says nothing new
    words(release).write_text(words(release).read_text() + f"{NAME} [006.2901-008.2357]: Other.\n")
    with pytest.raises(MalformedSource, match=f"{DIALOGUE}.txt: utterance {NAME} has a second line with another text"):
        read_all(ONE, release)


def test_judgements_are_verbatim_and_none_is_made_up(release: Path, read_all) -> None:
    block = BLOCK.format(id=NAME, emotion="xxx").replace("Frustration; Anger;", "; Other;  Neutral state; ; Other;")
    block = block.replace("val 3; act 3; dom  ;", "val ; act 2.5; dom  ;").rstrip("\n")
    emotions(release).write_text(HEADER + block + "\nC-F1:\t;\t()\nA-F1:\tval 1; act 5; dom  5;\t()\n\n")
    labels = [(row["rater"], row["value"]) for row in read_all(ONE, release).labels]
    assert [pair for pair in labels if pair[0] in ("E3", "E4", "F1")] == [
        ("E3", "Other"), ("E3", "Neutral state"), ("E3", "2"), ("E3", "4"), ("E3", "4"), ("E4", "2.5"),
        ("F1", "1"), ("F1", "5"), ("F1", "5"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", HARMLESS)
def test_what_public_copies_have_changes_no_row(
    name: str, small_sandbox: dict[str, Path], tmp_path: Path, read_all
) -> None:
    root = Path(shutil.copytree(small_sandbox["iemocap"] / "Session1", tmp_path / "Session1")).parent
    before = read_all(ONE, root)
    HARMLESS[name](root)
    assert read_all(ONE, root) == before


# -- the audio of dialogues ------------------------------------------------------------------------------------

DIALOGUES = Iemocap(sessions=(1,), audio="dialogue")


def recording(root: Path, duration_s: float) -> Path:
    path = root / "Session1" / "dialog" / "wav" / f"{DIALOGUE}.wav"
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, np.zeros((round(duration_s * 16_000), 2), np.int16), 16_000)
    return path


def test_the_span_of_the_dialogue_is_heard_where_that_is_asked_for(release: Path, read_all) -> None:
    recording(release, 8.2)  # a little shorter than the turn says: within the tolerance
    shutil.rmtree(wav(release).parents[1])
    rows = read_all(DIALOGUES, release)
    (row,) = rows.utterances
    assert row["path"] == f"Session1/dialog/wav/{DIALOGUE}.wav"
    assert (row["start_s"], row["end_s"], row["channel"]) == (6.2901, 8.2357, "mix")
    assert not rows.failures


@pytest.mark.parametrize(
    ("duration_s", "reason"),
    [
        (8.0, "it ends at 8.2357 s, after the recording of its dialogue, 8 s long"),
        (None, f"there is no recording of the dialogue {DIALOGUE}"),
    ],
)
def test_a_dialogue_that_is_too_short_or_missing(
    duration_s: float | None, reason: str, release: Path, read_all
) -> None:
    path = recording(release, duration_s or 1.0)
    if duration_s is None:
        path.unlink()
    rows = read_all(DIALOGUES, release)
    assert [row["reason"] for row in rows.failures] == [reason]
    assert not rows.utterances


def test_both_audios_sound_alike(small_sandbox: dict[str, Path], read_all) -> None:
    root = small_sandbox["iemocap"]
    sentences, dialogues = (read_all(reader, root).utterances for reader in (ONE, DIALOGUES))
    assert len(sentences) == len(dialogues)
    for one, other in zip(sentences, dialogues, strict=True):
        assert {key for key in one if one[key] != other[key]} == {
            "recording_id", "path", "start_s", "end_s", "audio_id"
        }  # fmt: skip
        heard = audio.decode(root / other["path"], other["start_s"], other["end_s"])
        assert np.corrcoef(heard, audio.decode(root / one["path"]))[0, 1] > 0.98


# -- the alignment that is shipped -----------------------------------------------------------------------------


def shipped(reader: Iemocap, root: Path) -> dict[str, list[Interval] | Untreatable]:
    units = {unit: {p: RawFile(p, 0, "0" * 64) for p in paths} for unit, paths in reader.units(root).items()}
    return {name: found for unit, own in units.items() for name, found in reader.intervals(root, unit, own, "c")}


@pytest.mark.parametrize("audio_of", ["sentence", "dialogue"])
def test_every_utterance_of_the_miniature_has_its_intervals(audio_of: str, small_sandbox, read_all) -> None:
    root, reader = small_sandbox["iemocap"], Iemocap(audio=audio_of)  # type: ignore[arg-type]
    found = shipped(reader, root)
    rows = {row["utterance_id"]: row for row in read_all(reader, root).utterances}
    assert found.keys() == rows.keys()
    for name, intervals in found.items():
        assert not isinstance(intervals, Untreatable)
        assert list(dict.fromkeys(one.tier for one in intervals)) == ["word", "phone", "syllable"]
        words = [one.symbol for one in intervals if one.tier == "word"]
        assert words == [word.strip(".,!?").upper() for word in rows[name]["text"].split()]
        duration_s = rows[name]["end_s"] - rows[name]["start_s"]
        for tier in ("word", "phone", "syllable"):
            own = [one for one in intervals if one.tier == tier]
            assert all(0 <= one.start_s < one.end_s <= duration_s + 0.05 for one in own)
            assert all(before.end_s <= after.start_s for before, after in itertools.pairwise(own))
        phones = "_".join(one.symbol for one in intervals if one.tier == "phone")
        assert "_".join(one.symbol for one in intervals if one.tier == "syllable") == phones


def test_an_utterance_without_alignment_says_why(release: Path) -> None:
    (reason,) = shipped(ONE, release).values()
    assert str(reason) == "there is no wdseg, phseg, syseg of this name"


def test_the_files_of_the_alignment_belong_to_their_unit(release: Path) -> None:
    path = release / "Session1" / "sentences" / "ForcedAlignment" / DIALOGUE / f"{NAME}.wdseg"
    path.parent.mkdir(parents=True)
    for name in (path.name, f"._{path.name}"):
        path.with_name(name).write_text("")
    assert [one for one in ONE.units(release)["Session1"] if "Forced" in one] == [path.relative_to(release).as_posix()]
