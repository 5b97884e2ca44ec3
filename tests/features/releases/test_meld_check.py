from __future__ import annotations

import csv
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from features.check import Anomaly, Findings
from features.corpora.meld import Meld
from features.releases.meld_check import ANOMALIES, PUBLISHED
from features.releases.meld_flaws import ABSENT
from features.releases.meld_release import COLUMNS, FOLDERS, clip_key
from features.sandbox.media import write_film
from features.sandbox.traps.meld import HARMLESS, TRAPS, expected
from warehouse.errors import MissingFolder

SPLITS = tuple(FOLDERS)
COUNTS = expected(seed=0, scale=0.1)


@pytest.fixture(scope="module")
def clean(small_sandbox: dict[str, Path]) -> Findings:
    return Meld().check(small_sandbox["meld"], COUNTS)


@pytest.fixture
def tree(small_sandbox: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_sandbox["meld"], tmp_path / "MELD.Raw"))


def added(findings: Findings, clean: Findings) -> list[Anomaly]:
    return [anomaly for anomaly in findings.anomalies if anomaly not in clean.anomalies]


def test_a_clean_tree_has_only_what_every_copy_has(clean: Findings) -> None:
    assert clean.is_clean
    assert [(a.name, a.where, a.problem) for a in clean.anomalies if a.known] == [
        ("clip_without_line", "dev, dia66_utt9", "no line of dev_sent_emo.csv names it"),
        ("apple_double", "dev_splits_complete", "1 file named ._* is ignored"),
        ("older_encoding", "test_sent_emo.csv", "3 of its lines are repaired"),
        ("cut_again", "output_repeated_splits_test", "1 clip is there twice: the one that was cut again is read"),
    ]
    assert all(a.known for a in clean.anomalies)
    found = {count.what: count.found for count in clean.counts}
    assert found["clips cut again, test"] == 1
    assert found["clips, 5.1"] + found["clips, stereo"] == found["clips"]


PROBLEMS = {
    "missing_part": "'dev_splits_complete' is not there (looked 3 folders deep)",
    "malformed_table": "its columns are ['Sr No.', 'Utterance', 'Speaker', 'Emotion', 'Sentiment', 'Dialogue_ID', "
    "'Utterance', 'Season', 'Episode', 'StartTime', 'EndTime'], not ['Sr No.',",
    "malformed_row": "line 2: '10:16.059' is no H:MM:SS,mmm time",
    "duplicate_row": "is a second line for dia",
    "unknown_emotion": "line 2 has the unknown emotion 'joyful'",
    "unknown_sentiment": "line 2 has the unknown sentiment 'good'",
    "broken_text": "its text holds the character U+0081",
    "empty_interval": "its line runs from 60.0 to 60.0 s of the episode",
    "missing_clip": "no such clip in train_splits",
    "unreadable_clip": ".mp4 cannot be decoded as audio (Invalid data found when processing input)",
    "no_sound": ".mp4 cannot be decoded as audio (it has no audio stream)",
    "clip_without_line": "no line of train_sent_emo.csv names it",
    "duration_mismatch": "s, its line 20.0 s",
    "misnamed_file": "its name is not UTF-8: rename it",
    "apple_double": "1 file named ._* is ignored",
    "older_encoding": " of its lines ",
    "cut_again": "2 clips are there twice: the ones that were cut again are read",
    "short_clip": "1 clip is shorter than 0.25 s (first: dia",
    "long_clip": "its clip lasts 31.0",
    "bad_sound": "users reported faulty sound",
    "out_of_step": "users reported that it holds other words",
}


TOLD_ONLY = {"misnamed_file", "bad_sound", "out_of_step", "apple_double", "older_encoding", "cut_again", "short_clip"}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_copies_have_is_not_minded(name: str, tree: Path, clean: Findings) -> None:
    HARMLESS[name](tree)
    assert Meld().check(tree, COUNTS) == clean


@pytest.mark.parametrize("name", HARMLESS)
def test_what_copies_have_changes_no_row(name: str, tree: Path, small_sandbox: dict[str, Path], read_all) -> None:
    def rows(root: Path) -> list[list[dict]]:
        found = read_all(Meld(), root)
        return [[{**row, "path": "", "verbatim": ""} for row in found.utterances], found.labels, found.failures]

    HARMLESS[name](tree)
    assert rows(tree) == rows(small_sandbox["meld"])


@pytest.mark.parametrize("name", TRAPS)
def test_a_planted_trap_is_found_and_nothing_else(name: str, tree: Path, clean: Findings) -> None:
    TRAPS[name](tree)
    findings = Meld().check(tree, COUNTS)
    (anomaly,) = added(findings, clean)
    assert anomaly.name == name
    assert PROBLEMS[name] in anomaly.problem
    assert anomaly.known == (name in TOLD_ONLY)
    assert str(tree) not in repr(findings)


def test_every_anomaly_has_its_trap() -> None:
    assert TRAPS.keys() == ANOMALIES.keys() == PROBLEMS.keys()


def test_what_a_trap_removes_is_missing_in_the_counts(tree: Path) -> None:
    TRAPS["missing_clip"](tree)
    findings = Meld().check(tree, COUNTS)
    assert {count.what: count.difference for count in findings.counts if count.difference} == {
        "clips": -1, "clips, train": -1
    }  # fmt: skip


@pytest.mark.parametrize("content", [None, b"no moov"])
def test_the_clips_that_every_copy_lacks_are_known(tree: Path, clean: Findings, content: bytes | None) -> None:
    TRAPS["out_of_step"](tree)  # renames a line and its clip
    clip = tree / "train_splits" / "dia241_utt5.mp4"
    table = tree / "train_sent_emo.csv"
    table.write_bytes(table.read_bytes().replace(b",241,5,", b",125,3,"))
    clip.unlink()
    if content is not None:
        clip.with_name("dia125_utt3.mp4").write_bytes(content)
    (anomaly,) = added(Meld().check(tree, COUNTS), clean)
    assert (anomaly.name, anomaly.known) == ("missing_clip" if content is None else "unreadable_clip", True)


def test_times_that_are_no_interval_are_told_without_clips_too(tree: Path) -> None:
    TRAPS["empty_interval"](tree)
    for folder in FOLDERS.values():
        shutil.rmtree(tree / folder)
    names = Counter(anomaly.name for anomaly in Meld().check(tree, COUNTS).anomalies)
    assert names == {"missing_part": 3, "empty_interval": 1, "older_encoding": 1}


def test_only_clips_of_test_were_cut_again(tree: Path, clean: Findings) -> None:
    clip = next(path for path in sorted((tree / "train_splits").iterdir()) if path.name.startswith("dia"))
    shutil.copy(clip, clip.with_name(f"final_videos_test{clip.name}"))
    (anomaly,) = added(Meld().check(tree, COUNTS), clean)
    assert (anomaly.name, anomaly.where, anomaly.known) == ("cut_again", "train_splits", False)


def test_without_csv_files_nothing_is_said_of_clips(tree: Path) -> None:
    for split in SPLITS:
        (tree / f"{split}_sent_emo.csv").unlink()
    findings = Meld().check(tree, COUNTS)
    assert [(a.name, a.where) for a in findings.anomalies] == [
        ("missing_part", f"{split}_sent_emo.csv") for split in SPLITS
    ]
    assert {count.found for count in findings.counts} == {0}
    with pytest.raises(MissingFolder, match="MELD is not at"):
        Meld().check(tree / "nowhere")


def test_findings_become_json(clean: Findings) -> None:
    assert json.loads(json.dumps(clean.as_json()))["clean"] is True


# -- the published size ----------------------------------------------------------------------------------------


def full_size_rows(split: str) -> Iterator[list[str]]:
    """Rows of our own with the published counts of a split: clips of one second, one after the other."""
    n_rows, n_dialogues, n_speakers = (PUBLISHED[f"{what}, {split}"] for what in ("rows", "dialogues", "speakers"))
    emotions = [
        emotion
        for emotion in ("neutral", "joy", "surprise", "anger", "sadness", "disgust", "fear")
        for _ in range(PUBLISHED[f"{emotion}, {split}"])
    ]
    assert len(emotions) == n_rows
    first = {"train": 0, "dev": 40, "test": 204}[split]  # so that the three share speakers: 304 in all
    numbers: Counter[int] = Counter()
    for position, emotion in enumerate(emotions):
        dialogue = position % n_dialogues
        dialogue += split == "train" and dialogue >= 60  # train has no dialogue 60
        number = numbers[dialogue]
        numbers[dialogue] += 1
        sentiment = {"neutral": "neutral", "joy": "positive"}.get(emotion, "negative")
        speaker = f"Speaker\xa0{first + position % n_speakers}’s  friend"
        start, end = (
            f"{s // 3600:0{1 + s % 2}d}:{s // 60 % 60:02d}:{s % 60:02d},500" for s in (position, position + 1)
        )
        yield [str(position), f"Line {position}…", speaker, emotion, sentiment, str(dialogue), str(number), "1", "1",
               start, end]  # fmt: skip


def test_the_published_counts_are_those_of_the_public_files(real: Path) -> None:
    lists = json.loads((real / "expected_counts.json").read_text())["meld"]
    rebuilt = {f"rows, {split}": n for split, n in lists["rows"].items()} | {"rows": sum(lists["rows"].values())}
    rebuilt |= {f"dialogues, {split}": n for split, n in lists["dialogues"].items()}
    rebuilt |= {f"{emotion}, {split}": n for split, own in lists["emotion"].items() for emotion, n in own.items()}
    speakers = dict(lists["speakers"])
    rebuilt["speakers"] = speakers.pop("union")
    rebuilt |= {f"speakers, {split}": n for split, n in speakers.items()}
    absent = [name.split("/") for name in lists["missing_or_corrupt"]]
    assert {(split, clip_key(f"{name}.mp4")) for split, name in absent} == {(s, (d, u)) for s, d, u in ABSENT}
    n_absent = Counter(split for split, _ in absent)
    rebuilt |= {f"clips, {split}": n - n_absent[split] for split, n in lists["rows"].items()}
    rebuilt["clips"] = lists["usable_clips"]
    assert rebuilt == PUBLISHED
    four = ("neutral", "joy", "anger", "sadness")
    rows = {split: sum(PUBLISHED[f"{emotion}, {split}"] for emotion in four) for split in SPLITS}
    assert rows | {"total": sum(rows.values())} == lists["four_class_rows"]
    assert sum(lists["channels"].values()) == PUBLISHED["clips"]


@pytest.fixture(scope="module")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All CSV files at their published size; test in the older encoding."""
    root = tmp_path_factory.mktemp("MELD")
    for split in SPLITS:
        with open(root / f"{split}_sent_emo.csv", "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([COLUMNS, *full_size_rows(split)])
    older = root / "test_sent_emo.csv"
    text = older.read_bytes().decode().replace("’", "\x92").replace("…", "\x85").replace("\r\n", "\n")
    older.write_bytes(text.encode())
    return root


def test_the_published_counts_are_met_by_tables_of_the_published_size(full_size: Path) -> None:
    findings = Meld().check(full_size)
    differing = {count.what for count in findings.counts if count.difference}
    assert differing == {"clips", "clips, train", "clips, dev", "clips, test"}, "there are none"
    assert {count.what: count.found for count in findings.counts}["rows"] == 13_708
    names = Counter(anomaly.name for anomaly in findings.anomalies)
    assert names == {"missing_part": 3, "older_encoding": 1}
    told = {anomaly.name: anomaly.problem for anomaly in findings.anomalies}
    assert told["older_encoding"] == "2610 of its lines are repaired"


@pytest.mark.slow
def test_a_tree_of_the_published_size_is_clean(full_size: Path, tmp_path: Path, read_all) -> None:
    """One clip of a second under 13,706 names; the two that nobody has are missing here too."""
    shutil.copytree(full_size, tmp_path, dirs_exist_ok=True)
    template = tmp_path / "template.mp4"
    write_film(template, np.zeros((48_000, 2), np.float32))
    for split, folder in FOLDERS.items():
        (tmp_path / folder).mkdir()
        for row in full_size_rows(split):
            name = f"dia{row[5]}_utt{row[6]}"
            if (split, name) not in (("train", "dia125_utt3"), ("dev", "dia110_utt7")):
                os.link(template, tmp_path / folder / f"{name}.mp4")
    findings = Meld().check(tmp_path)
    assert not [count for count in findings.counts if count.difference]
    assert Counter(a.name for a in findings.anomalies) == {
        "missing_clip": 2, "bad_sound": 6, "out_of_step": 12, "older_encoding": 1
    }  # fmt: skip
    assert findings.is_clean
    rows = read_all(Meld(), tmp_path)
    assert (len(rows.utterances), len(rows.failures)) == (13_706, 2)
