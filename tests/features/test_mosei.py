from __future__ import annotations

import itertools
import json
import shutil
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile

from features import audio
from features.corpora.mosei import Mosei
from features.releases.mosei_release import COLUMNS
from features.sandbox import mosei as sandbox
from features.sandbox.media import write_wav
from features.sandbox.mosei import AUDIO, LABELS, TRANSCRIPTS, write_csd
from features.sandbox.traps.mosei import TRAPS
from warehouse.errors import MalformedSource, MissingFolder, RoundedLabels
from warehouse.hashing import file_digest
from warehouse.schema import canonical_text, check_id

ID = "-3g5yACwYnA"
"""A video of the train fold whose id begins like an option."""

VALUES = np.array([[1, 0, 0, 2 / 3, 0, 0, 0], [-1 / 3, 1, 0, 0, 0, 0, 1 / 3], [0, 0, 0, 0, 0, 0, 0]], np.float32)
TIMES = np.array([[3.0, 5.0], [-0.25, 1.5], [1.2, 3.3]])


@pytest.fixture(scope="module")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mosei") / sandbox.FOLDER
    sandbox.write(root)
    return root


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """One video of three segments: not in order of time, overlapping, one of them starting before 0."""
    write(tmp_path)
    write_wav(tmp_path / AUDIO / f"{ID}.wav", np.full(6 * 16_000, 0.1), 16_000)
    lines = ["0___-0.25___1.4996___So it _____ begins.", "1___1.2003___3.3___It goes  on.", "2___3.0___5.0___It ends."]
    transcript(tmp_path).parent.mkdir(parents=True)
    transcript(tmp_path).write_text("".join(f"{ID}___{line}\n" for line in lines))
    return tmp_path


def write(root: Path, values: np.ndarray = VALUES, times: np.ndarray = TIMES, **metadata: object) -> None:
    write_csd(root / LABELS, "All Labels", {ID: (values, times)}, metadata)


def transcript(root: Path) -> Path:
    return root / TRANSCRIPTS / f"{ID}.txt"


def test_one_utterance_in_full(release: Path, read_all) -> None:
    rows = read_all(Mosei(), release, "mosei")
    assert not rows.failures
    row = rows.utterances[1]
    assert {key: row[key] for key in ("utterance_id", "unit", "path", "start_s", "end_s", "channel")} == {
        "utterance_id": f"mosei-{ID}-1", "unit": "train", "path": f"{AUDIO}/{ID}.wav", "start_s": 0.0, "end_s": 1.5,
        "channel": "mix",
    }  # fmt: skip
    assert (row["verbatim"], row["text"]) == ("So it _____ begins.", "So it _____ begins.")
    assert (row["dialogue_id"], row["turn"], row["split"], row["speaker_id"]) == (ID, 0, "train", "")
    assert row["attributes"] == {"transcript_line": "0", "labelled_start_s": "-0.250000"}
    own = [one for one in rows.labels if one["utterance_id"] == row["utterance_id"]]
    assert [(one["scheme"], one["value"]) for one in own] == list(
        zip(COLUMNS, ["-0.33333334", "1.0", "0.0", "0.0", "0.0", "0.0", "0.33333334"], strict=True)
    )
    assert own[0]["number"] == float(np.float32(-1 / 3))
    assert {one["rater"] for one in own} == {"summary"}
    check_id("utterance id", row["utterance_id"])


def test_rows_of_the_labels_are_joined_by_time_not_by_number(release: Path, read_all) -> None:
    rows = read_all(Mosei(), release).utterances
    assert [(row["utterance_id"][-1], row["turn"], row["text"]) for row in rows] == [
        ("0", 2, "It ends."), ("1", 0, "So it _____ begins."), ("2", 1, "It goes on.")
    ]  # fmt: skip


def test_the_miniature_release(miniature: Path, read_all) -> None:
    rows = read_all(Mosei(), miniature)
    assert not rows.failures
    plan = {video.name: video for video in sandbox.plan()}
    assert Counter(row["split"] for row in rows.utterances) == {
        split: sum(len(plan[name].order) for name in sandbox.FOLDS[fold])
        for fold, split in (("train", "train"), ("valid", "dev"), ("test", "test"), ("no fold", ""))
    }
    numbers = {(one["utterance_id"], one["scheme"]): one["number"] for one in rows.labels}
    for row in rows.utterances:
        video, place = plan[row["dialogue_id"]], int(row["utterance_id"].rpartition("-")[2])
        line = video.lines[video.order[place]]
        assert row["text"] == canonical_text(line.text)
        assert [numbers[row["utterance_id"], name] for name in COLUMNS] == pytest.approx(list(line.labels or ()))
        wave = audio.decode(miniature / row["path"], row["start_s"], row["end_s"])
        assert np.sqrt(np.mean(wave**2)) > 0.005, "somebody speaks there"
    spans = sorted((row["start_s"], row["end_s"]) for row in rows.utterances if row["dialogue_id"] == "100499")
    assert any(later[0] < earlier[1] for earlier, later in itertools.pairwise(spans))


def test_the_same_seed_gives_the_same_bytes(miniature: Path, tmp_path: Path) -> None:
    sandbox.write(tmp_path / "again")

    def contents(root: Path) -> dict[str, str]:
        return {path.relative_to(root).as_posix(): file_digest(path) for path in root.rglob("*") if path.is_file()}

    assert contents(tmp_path / "again") == contents(miniature)


@pytest.mark.parametrize(
    ("rule", "kept"), [("clip", {"0", "1", "2"}), ("drop_segment", {"0", "2"}), ("drop_video", set())]
)
def test_what_becomes_of_a_start_before_0_is_a_choice(release: Path, read_all, rule: str, kept: set[str]) -> None:
    rows = read_all(Mosei(negative_start=rule), release)
    assert {row["utterance_id"][-1] for row in rows.utterances} == kept
    assert not rows.failures, "what the rule leaves out did not fail"
    assert [row["turn"] for row in rows.utterances if row["utterance_id"].endswith("-0")] == [2] * ("0" in kept)


def test_columns_in_another_order_are_read_as_stated(release: Path, read_all) -> None:
    expected = read_all(Mosei(), release)
    write(release, VALUES[:, ::-1], **{"dimension names": list(COLUMNS[::-1])})
    found = read_all(Mosei(), release)

    def labels(rows) -> set[tuple[str, str, str]]:
        return {(one["utterance_id"], one["scheme"], one["value"]) for one in rows.labels}

    assert labels(found) == labels(expected)


def test_a_video_that_users_reported_is_marked(miniature: Path, tmp_path: Path, read_all) -> None:
    root = Path(shutil.copytree(miniature, tmp_path / "tree"))
    TRAPS["misaligned_text"](root)
    marked = [row for row in read_all(Mosei(), root).utterances if row["attributes"].get("flaws") == "misaligned_text"]
    assert {row["dialogue_id"] for row in marked} == {"hh04W3xXa5s"}


def reasons(rows) -> dict[str, str]:
    assert {row["step"] for row in rows.failures} <= {"corpora.mosei"}
    return {row["utterance_id"]: row["reason"] for row in rows.failures}


def test_a_video_without_a_part_fails_segment_by_segment(release: Path, read_all) -> None:
    transcript(release).unlink()
    reason = f"there is no transcript Transcript/Segmented/Combined/{ID}.txt"
    assert reasons(read_all(Mosei(), release)) == {f"c-{ID}-{row}": reason for row in range(3)}


def test_a_video_whose_transcript_cannot_be_read_fails(release: Path, read_all) -> None:
    transcript(release).write_bytes(b"\xff")
    reason = f"{TRANSCRIPTS}/{ID}.txt: it is not UTF-8 (invalid start byte at byte 0)"
    assert set(reasons(read_all(Mosei(), release)).values()) == {reason}


def test_a_video_without_readable_sound_fails(release: Path, read_all) -> None:
    wav = release / AUDIO / f"{ID}.wav"
    wav.write_bytes(b"RIFF")
    found = reasons(read_all(Mosei(), release))
    assert found[f"c-{ID}-0"] == f"{AUDIO}/{ID}.wav cannot be decoded as audio (Format not recognised)"
    wav.unlink()
    assert reasons(read_all(Mosei(), release))[f"c-{ID}-0"] == f"there is no sound Audio/Full/WAV_16000/{ID}.wav"


def test_a_video_whose_labels_cannot_be_read_fails(release: Path, read_all) -> None:
    write(release, VALUES[:, :6])
    assert reasons(read_all(Mosei(), release))[f"c-{ID}-2"] == "it has 6 labels per segment, not 7"
    write(release, VALUES[:2])
    assert reasons(read_all(Mosei(), release)) == {
        f"c-{ID}": "its labels cannot be read: it has 2 features, but 3 intervals"
    }


@pytest.mark.parametrize(
    ("interval", "label", "reason"),
    [
        ((3.0, 5.002), 0.0, "no line of the transcript spans [3.000, 5.002] s"),
        ((3.0, 3.0), 0.0, "its times [3.000, 3.000] s are no span"),
        ((-2.0, -1.0), 0.0, "its times [0.000, -1.000] s are no span"),
        ((np.nan, 5.0), 0.0, "its times [nan, 5.000] s are no span"),
        ((3.0, 6.06), 0.0, "[3.000, 6.060] s passes the end of the video's sound at 6.000 s"),
        ((3.0, 5.0), np.nan, "its label 'fear' is nan"),
        ((3.0, 5.0), -np.inf, "its label 'fear' is -inf"),
    ],
)
def test_a_segment_that_cannot_be_one_fails(
    release: Path, read_all, interval: tuple[float, float], label: float, reason: str
) -> None:
    values, times = VALUES.copy(), TIMES.copy()
    times[0], values[0, 6] = interval, label
    write(release, values, times)
    rows = read_all(Mosei(), release)
    assert reasons(rows) == {f"c-{ID}-0": reason}
    assert len(rows.utterances) == 2


def test_lines_of_the_same_times_fail_unless_they_say_the_same(release: Path, read_all) -> None:
    text = transcript(release).read_text()
    transcript(release).write_text(text + f"{ID}___3___3.0___5.0___It ends.\n")
    assert not read_all(Mosei(), release).failures
    transcript(release).write_text(text + f"{ID}___3___3.0___5.0___Or not.\n")
    found = reasons(read_all(Mosei(), release))
    assert found == {f"c-{ID}-0": "2 different lines of the transcript span [3.000, 5.000] s"}


def test_the_tolerance_is_a_field(release: Path, read_all) -> None:
    rows = read_all(Mosei(tolerance_s=0.0001), release)
    assert [row["utterance_id"] for row in rows.utterances] == [f"c-{ID}-0"]


def test_missing_parts_are_named(release: Path) -> None:
    for part in (TRANSCRIPTS, AUDIO):
        shutil.rmtree(release / part)
        with pytest.raises(MissingFolder, match=f"'{part.removeprefix('Raw/')}' of CMU-MOSEI is not at"):
            Mosei().units(release)
    (release / LABELS).unlink()
    with pytest.raises(MissingFolder, match=r"'CMU_MOSEI_Labels.csd' of CMU-MOSEI is not at .*looked 3 folders deep"):
        Mosei().units(release)
    with pytest.raises(MissingFolder, match="CMU-MOSEI is not at"):
        Mosei().units(release / "nowhere")


def test_labels_that_were_saved_after_aligning_are_refused(miniature: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(miniature, tmp_path / "tree"))
    TRAPS["aligned_ids"](root)
    with pytest.raises(MalformedSource, match=r"CMU_MOSEI_Labels.csd: its ids are of aligned segments, such as '-"):
        Mosei().units(root)


def test_another_name_of_the_labels(release: Path, read_all) -> None:
    (release / LABELS).rename(release / "All Labels.csd")
    assert len(read_all(Mosei(labels="All Labels.csd"), release).utterances) == 3


def test_files_that_are_no_labels_are_refused(release: Path, read_all) -> None:
    write(release, **{"dimension names": [*COLUMNS[:-1], "calm"]})
    with pytest.raises(MalformedSource, match=r"CMU_MOSEI_Labels.csd: its columns are .*'calm'"):
        read_all(Mosei(), release)
    with h5py.File(release / LABELS, "w") as stream:
        stream["All Labels"] = json.dumps({})
    with pytest.raises(MalformedSource, match=r"its first key is 'All Labels', which has no group 'data'"):
        Mosei().units(release)


def test_the_public_table_of_classes_is_refused_with_the_reason(real: Path) -> None:
    with pytest.raises(RoundedLabels, match=r"CMU_MOSEI_Labels.s3prl.csv holds .* rounded to classes: its 'label6'"):
        Mosei().units(real / "mosei")


def test_beside_the_labels_the_table_of_classes_harms_nothing(release: Path, read_all) -> None:
    expected = read_all(Mosei(), release)
    (release / "CMU_MOSEI_Labels.csv").write_text(",file,index,start,end,label2a,label2b,label6,label7,split\n")
    assert read_all(Mosei(), release) == expected
    (release / LABELS).unlink()
    with pytest.raises(RoundedLabels, match=r"arg max, which makes every segment without emotion 'happy'"):
        Mosei().units(release)


def test_wavs_of_the_sandbox_are_as_published(miniature: Path) -> None:
    for path in (miniature / AUDIO).iterdir():
        found = soundfile.info(path)
        assert (found.samplerate, found.channels, found.subtype) == (16_000, 1, "PCM_16")
