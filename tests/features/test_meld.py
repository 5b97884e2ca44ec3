from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from features import audio
from features.corpora.meld import Channel, Meld
from features.releases.meld_release import COLUMNS, FOLDERS
from features.sandbox.media import write_film
from warehouse.catalog import build, plugin_key
from warehouse.errors import InvalidField, MalformedSource, MissingFolder

ROW = ["1", "Well, I’m not sure…", "Someone", "neutral", "neutral", "3", "6", "2", "11", "00:16:16,059", "0:16:18,230"]

INVALID = "Invalid data found when processing input"


def write_csv(path: Path, *rows: list[str], header: tuple[str, ...] = COLUMNS) -> None:
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """An utterance and its clip in train, nothing in dev and test."""
    for split, folder in FOLDERS.items():
        (tmp_path / folder).mkdir()
        write_csv(tmp_path / f"{split}_sent_emo.csv", *([ROW] if split == "train" else []))
    write_film(tmp_path / "train_splits" / "dia3_utt6.mp4", np.zeros((48_000, 2), np.float32))
    return tmp_path


def table(root: Path) -> Path:
    return root / "train_sent_emo.csv"


def changed(**cells: str) -> list[str]:
    return [cells.get(name.replace(" ", "_"), cell) for name, cell in zip(COLUMNS, ROW, strict=True)]


def test_one_utterance_in_full(release: Path, read_all) -> None:
    rows = read_all(Meld(channel="1"), release, "meld")
    (row,) = rows.utterances
    assert row["utterance_id"] == "meld-train-dia3_utt6"
    assert (row["text"], row["speaker_id"]) == ("Well, I’m not sure…", "Someone")
    assert (row["dialogue_id"], row["turn"], row["session"], row["split"]) == ("train_dia3", 0, "", "train")
    assert (row["start_s"], row["channel"]) == (0.0, "1")
    assert row["end_s"] == pytest.approx(1.0)
    assert row["attributes"] == {
        "season": "2", "episode": "11", "episode_start_s": "976.059", "episode_end_s": "978.230",
        "n_channels": "2", "flaws": "duration_mismatch",
    }  # fmt: skip
    assert [(one["scheme"], one["rater"], one["value"]) for one in rows.labels] == [
        ("emotion", "summary", "neutral"), ("sentiment", "summary", "neutral")
    ]  # fmt: skip


def test_the_miniature_release(small_sandbox: dict[str, Path], read_all) -> None:
    root = small_sandbox["meld"]
    rows = read_all(Meld(), root)
    assert not rows.failures
    for split in FOLDERS:
        own = {row["utterance_id"] for row in rows.utterances if row["split"] == split}
        found = {row["value"] for row in rows.labels if row["scheme"] == "emotion" and row["utterance_id"] in own}
        assert found == {"neutral", "joy", "surprise", "anger", "sadness", "disgust", "fear"}
    assert not any("\x80" <= char <= "\x9f" for row in rows.utterances for char in row["text"] + row["speaker_id"])
    assert {audio.probe(root / row["path"]).n_channels for row in rows.utterances} == {2, 6}


def test_both_generations_give_the_same_text(release: Path, read_all) -> None:
    newer = read_all(Meld(), release).utterances
    raw = table(release).read_bytes().decode()
    older = raw.replace("’", "\x92").replace("…", "\x85").replace("not sure", "not\xa0 sure").replace("\r\n", "\n")
    table(release).write_bytes(older.encode())
    (row,) = read_all(Meld(), release).utterances
    assert row["verbatim"] != newer[0]["verbatim"]
    assert {key: value for key, value in row.items() if key != "verbatim"} == {
        key: value for key, value in newer[0].items() if key != "verbatim"
    }


def test_clips_that_were_cut_again_are_preferred(small_sandbox: dict[str, Path], read_all) -> None:
    rows = read_all(Meld(), small_sandbox["meld"]).utterances
    (again,) = (row for row in rows if "final_videos_test" in row["path"])
    twin = small_sandbox["meld"] / again["path"].replace("final_videos_test", "")
    assert twin.is_file()
    assert again["end_s"] < audio.probe(twin).duration_s


def test_folders_are_found_by_name(release: Path, read_all) -> None:
    expected = read_all(Meld(), release).utterances
    for split, folder in FOLDERS.items():
        (release / "MELD.Raw" / split).mkdir(parents=True)
        (release / folder).rename(release / "MELD.Raw" / split / folder)
        (release / f"{split}_sent_emo.csv").rename(release / "MELD.Raw" / f"{split}_sent_emo.csv")
    moved = read_all(Meld(), release).utterances
    assert [{**row, "path": ""} for row in moved] == [{**row, "path": ""} for row in expected]


@pytest.mark.parametrize(
    ("channel", "n_channels", "expected"),
    [
        ("mix", 2, "mix"),
        ("mix", 6, "mix"),
        ("centre", 1, "mix"),
        ("centre", 2, "mix"),
        ("centre", 6, "2"),
        ("5", 6, "5"),
    ],
)
def test_the_down_mix_is_a_choice_that_ids_tell_apart(
    release: Path, read_all, channel: Channel, n_channels: int, expected: str
) -> None:
    write_film(release / "train_splits" / "dia3_utt6.mp4", np.zeros((48_000, n_channels), np.float32))
    (row,) = read_all(Meld(channel=channel), release).utterances
    assert (row["channel"], row["attributes"]["n_channels"]) == (expected, str(n_channels))
    assert len(audio.decode(release / row["path"], row["start_s"], row["end_s"], row["channel"]))
    assert plugin_key("corpora.meld", Meld(channel=channel)) != plugin_key("corpora.meld", Meld(channel="0"))


def test_the_centre_of_a_real_surround_clip_is_not_its_mean(release: Path, real: Path, read_all) -> None:
    clip = release / "train_splits" / "dia3_utt6.mp4"
    shutil.copyfile(real / "movie_like" / "big_buck_bunny_small_5.1ch_aac48k.mp4", clip)
    waves = []
    for channel in ("mix", "centre"):
        (row,) = read_all(Meld(channel=channel), release).utterances
        waves.append(audio.decode(clip, row["start_s"], row["end_s"], row["channel"]))
    assert len(waves[0]) == len(waves[1])
    assert np.abs(waves[0] - waves[1]).max() > 0.001


def test_a_channel_that_a_clip_lacks_is_a_failure(release: Path, read_all) -> None:
    (failure,) = read_all(Meld(channel="2"), release).failures
    assert failure["reason"] == "train_splits/dia3_utt6.mp4 has 2 channels, so none of index 2"
    with pytest.raises(InvalidField, match="'channel' is 'left': input should be 'mix', 'centre'"):
        build("features.corpora", "meld", {"channel": "left"}, "the test")


def test_other_clips_are_passed_over(release: Path, read_all) -> None:
    clips = release / "train_splits"
    shutil.copy(clips / "dia3_utt6.mp4", clips / "dia66_utt9.mp4")
    (clips / "._dia3_utt6.mp4").write_bytes(b"\x00\x05\x16\x07")
    (clips / "notes.txt").write_text("")
    rows = read_all(Meld(), release)
    assert (len(rows.utterances), rows.failures) == (1, [])


def test_turns_close_the_gaps_of_utterance_ids(release: Path, read_all) -> None:
    write_csv(table(release), changed(Utterance_ID="9"), changed(Utterance_ID="6"), changed(Utterance_ID="7"))
    clips = release / "train_splits"
    for number in (7, 9):
        shutil.copy(clips / "dia3_utt6.mp4", clips / f"dia3_utt{number}.mp4")
    rows = read_all(Meld(), release).utterances
    assert {row["utterance_id"][-1]: row["turn"] for row in rows} == {"6": 0, "7": 1, "9": 2}


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
def test_an_unnamed_index_and_a_byte_order_mark_are_accepted(release: Path, read_all, name: str) -> None:
    expected = read_all(Meld(), release)
    write_csv(table(release), ["0", *ROW], header=(name, *COLUMNS))
    table(release).write_bytes(b"\xef\xbb\xbf" + table(release).read_bytes())
    assert read_all(Meld(), release) == expected


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "there is no clip dia3_utt6.mp4 in train_splits"),
        (b"no moov", f"train_splits/dia3_utt6.mp4 cannot be decoded as audio ({INVALID})"),
    ],
)
def test_lines_without_a_clip_are_failures(release: Path, read_all, content: bytes | None, reason: str) -> None:
    clip = release / "train_splits" / "dia3_utt6.mp4"
    clip.unlink()
    if content is not None:
        clip.write_bytes(content)
    rows = read_all(Meld(), release)
    assert rows.failures == [
        {"input_id": "", "utterance_id": "c-train-dia3_utt6", "step": "corpora.meld", "reason": reason}
    ]
    assert not rows.utterances
    assert not rows.labels


@pytest.mark.parametrize("missing", ["dev_splits_complete", "test_sent_emo.csv"])
def test_missing_parts_are_named(release: Path, missing: str) -> None:
    path = release / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(MissingFolder, match=f"'{missing}' of MELD is not at .*: unpack MELD.Raw"):
        Meld().units(release)
    with pytest.raises(MissingFolder, match=r"MELD is not at"):
        Meld().units(release / "nowhere")


BROKEN = [
    ([changed(Emotion="joyful")], "line 2 has the unknown emotion 'joyful'"),
    ([changed(Sentiment="good")], "line 2 has the unknown sentiment 'good'"),
    ([changed(StartTime="16:16.059")], "line 2: '16:16.059' is no H:MM:SS,mmm time"),
    ([changed(Dialogue_ID="three")], "line 2: invalid literal for int"),
    ([ROW, ROW], "line 3 is a second line for dia3_utt6"),
    ([ROW[:-1]], "line 2 has not 11 cells"),
]


@pytest.mark.parametrize(("rows", "problem"), BROKEN)
def test_malformed_tables_are_refused(release: Path, read_all, rows: list[list[str]], problem: str) -> None:
    write_csv(table(release), *rows)
    with pytest.raises(MalformedSource, match=f"train_sent_emo.csv: {problem}"):
        read_all(Meld(), release)


def test_other_columns_and_encodings_are_refused(release: Path, read_all) -> None:
    write_csv(table(release), header=(*COLUMNS[:-1], "End"))
    with pytest.raises(MalformedSource, match=r"its columns are .*'End'"):
        read_all(Meld(), release)
    table(release).write_bytes(b"Sr No.,Utterance\n1,\xff\n")
    with pytest.raises(MalformedSource, match=r"it is not UTF-8 \(invalid start byte at byte 19\)"):
        read_all(Meld(), release)
