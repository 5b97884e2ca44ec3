from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from features.check import Findings
from features.corpora.mosei import Mosei
from features.releases.mosei_check import ANOMALIES, PUBLISHED
from features.releases.standard_folds import fold_of
from features.sandbox import mosei as sandbox
from features.sandbox.mosei import AUDIO, COLUMNS, LABELS, PLAIN, TRANSCRIPTS, write_csd
from features.sandbox.traps.mosei import HARMLESS, TRAPS, expected
from warehouse.errors import MissingFolder

EVERY_COPY_HAS = {"negative_start", "out_of_order", "overlap", "fold_without_labels", "unlabelled"}
TOLD_ONLY = EVERY_COPY_HAS | {"misaligned_text", "misnamed_file"}


@pytest.fixture(scope="module")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mosei") / sandbox.FOLDER
    sandbox.write(root)
    return root


@pytest.fixture(scope="module")
def clean(miniature: Path) -> Findings:
    return Mosei().check(miniature, expected())


@pytest.fixture
def tree(miniature: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(miniature, tmp_path / sandbox.FOLDER))


def test_a_clean_tree_has_only_what_every_copy_has(clean: Findings) -> None:
    assert clean.is_clean
    assert all(anomaly.known for anomaly in clean.anomalies)
    names = [anomaly.name for anomaly in clean.anomalies]
    assert sorted(names) == sorted(EVERY_COPY_HAS | {"feature_not_finite"}), "COVAREP divides by zero"


PROBLEMS = {
    "misnamed_file": "its name is not UTF-8: rename it",
    "missing_part": "'Audio/Full/WAV_16000' is not there (looked 3 folders deep)",
    "rounded_labels": "labels rounded to classes, with 'happy' where there is no emotion: only CMU_MOSEI_Labels.csd",
    "malformed_csd": "it is no HDF5 file, or was cut off",
    "several_keys": "it has the keys ['All Labels', 'Older Labels']",
    "malformed_metadata": "'dataset name' is no JSON",
    "other_columns": "its columns are ['sentiment', 'happy', 'sad', 'anger', 'surprise', 'disgust', 'calm'], not [",
    "aligned_ids": "CMU_MOSEI_Labels.csd: its ids are of aligned segments, such as '--qXJuDtHPw[0]': give the labels",
    "malformed_video": "it has no readable 'features' and 'intervals'",
    "length_mismatch": "it has 3 features, but 4 intervals",
    "empty_interval": "its times are [0.0999",
    "duplicate_interval": "row 2 has the same times [",
    "negative_start": "a segment starts before 0",
    "out_of_order": "a video's segments are not in order of time: row numbers are no transcript numbers",
    "overlap": "segments of a video overlap",
    "label_not_finite": "'happy' is nan",
    "label_out_of_range": "'fear' is -1.0",
    "label_no_third": "'sentiment' is 0.5",
    "feature_not_finite": "1 values of 1 video (first: 03X1FwF6udc) are NaN or infinite",
    "fold_without_labels": "a video of the standard folds has no labels",
    "unlabelled": "sound or a transcript of a video without labels",
    "missing_transcript": "there is no Transcript/Segmented/Combined/03X1FwF6udc.txt",
    "malformed_transcript": "line 5 is not 03X1FwF6udc___number___start___end___text",
    "segment_without_text": "s; 92.9% of the segments of 'train' find their text",
    "ambiguous_text": "2 lines span [",
    "misaligned_text": "users reported that the transcript's times are wrong",
    "missing_sound": "there is no Audio/Full/WAV_16000/03X1FwF6udc.wav",
    "unreadable_sound": "03X1FwF6udc.wav cannot be decoded as audio (Format not recognised)",
    "other_rate": "03X1FwF6udc.wav is sampled at 8000 Hz, not 16000",
    "past_end": "s passes the end of the sound at",
}


@pytest.mark.parametrize("name", TRAPS)
def test_a_planted_trap_is_found_and_nothing_else(name: str, tree: Path, clean: Findings) -> None:
    TRAPS[name](tree)
    findings = Mosei().check(tree, expected())
    (anomaly,) = (anomaly for anomaly in findings.anomalies if anomaly not in clean.anomalies)
    assert anomaly.name == name
    assert PROBLEMS[name] in anomaly.problem
    assert anomaly.known == (name in TOLD_ONLY)
    assert str(tree) not in repr(findings)


def test_every_anomaly_has_its_trap() -> None:
    assert TRAPS.keys() == ANOMALIES.keys() == PROBLEMS.keys()


@pytest.mark.parametrize("name", ["negative_start", "out_of_order", "fold_without_labels", "duplicate_interval"])
def test_what_every_copy_has_is_counted(name: str, tree: Path) -> None:
    TRAPS[name](tree)
    assert any(count.difference for count in Mosei().check(tree, expected()).counts)


def test_a_rare_miss_of_text_is_known(tmp_path: Path) -> None:
    """One in a hundred is what good copies have; one in ninety-nine is not."""
    for n_segments, known in ((100, True), (99, False)):
        root = tmp_path / str(n_segments)
        starts_s = np.arange(n_segments, dtype=float)
        times = np.stack([starts_s, starts_s + 0.5], axis=1)
        folder = root / TRANSCRIPTS
        folder.mkdir(parents=True)
        write_csd(root / LABELS, "All Labels", {PLAIN: (np.zeros((n_segments, 7)), times)}, {})
        lines = [f"{PLAIN}___{n}___{start_s}___{end_s}___t\n" for n, (start_s, end_s) in enumerate(times[1:])]
        (folder / f"{PLAIN}.txt").write_text("".join(lines))
        (anomaly,) = (one for one in Mosei().check(root).anomalies if one.name == "segment_without_text")
        assert anomaly.known == known


@pytest.mark.parametrize("name", HARMLESS)
def test_what_copies_have_is_not_minded(name: str, tree: Path, clean: Findings) -> None:
    HARMLESS[name](tree)
    assert Mosei().check(tree, expected()) == clean


@pytest.mark.parametrize("name", HARMLESS)
def test_what_copies_have_changes_no_row(name: str, tree: Path, miniature: Path, read_all) -> None:
    HARMLESS[name](tree)
    assert read_all(Mosei(), tree) == read_all(Mosei(), miniature)


def test_a_transcript_without_lines_has_no_text_for_any_segment(tree: Path, clean: Findings) -> None:
    (tree / TRANSCRIPTS / f"{PLAIN}.txt").write_bytes(b"\n")
    told = [one for one in Mosei().check(tree, expected()).anomalies if one not in clean.anomalies]
    assert [(one.name, one.where) for one in told] == [
        ("segment_without_text", f"{PLAIN}, row {row}") for row in range(4)
    ]


def test_a_line_without_words_is_no_text(tree: Path, clean: Findings) -> None:
    path = tree / TRANSCRIPTS / f"{PLAIN}.txt"
    first, *rest = path.read_text().splitlines(keepends=True)
    path.write_text("".join(["___".join([*first.split("___", 4)[:4], " \n"]), *rest]))
    (anomaly,) = (one for one in Mosei().check(tree, expected()).anomalies if one not in clean.anomalies)
    assert (anomaly.name, anomaly.where) == ("segment_without_text", f"{PLAIN}, row 0")
    assert "the line that spans [0.100, " in anomaly.problem and " s has no words; 92.9%" in anomaly.problem


def test_other_numbers_of_columns_are_told_once(tree: Path) -> None:
    write_csd(tree / LABELS, "All Labels", {name: (np.zeros((1, 6)), np.array([[0.0, 1.0]])) for name in "ab"}, {})
    (anomaly,) = (one for one in Mosei().check(tree).anomalies if one.name == "other_columns")
    assert anomaly.problem == "not 7 labels per segment in 2 videos (first: a)"


def test_a_transcript_in_another_encoding_is_told_once(tree: Path, clean: Findings) -> None:
    (tree / TRANSCRIPTS / f"{PLAIN}.txt").write_bytes(b"\xff\xfe")
    (anomaly,) = (one for one in Mosei().check(tree, expected()).anomalies if one not in clean.anomalies)
    assert (anomaly.name, anomaly.where) == ("malformed_transcript", f"{PLAIN}.txt")


def test_the_table_of_classes_beside_the_labels_is_told(tree: Path, clean: Findings) -> None:
    labels = (tree / LABELS).read_bytes()
    TRAPS["rounded_labels"](tree)
    (tree / LABELS).write_bytes(labels)
    findings = Mosei().check(tree, expected())
    assert findings.is_clean
    assert [one.name for one in findings.anomalies if one not in clean.anomalies] == ["rounded_labels"]


def test_an_empty_folder_is_told_part_by_part(tmp_path: Path) -> None:
    findings = Mosei().check(tmp_path)
    assert [one.where for one in findings.anomalies] == [
        LABELS, "Audio/Full/WAV_16000", "Transcript/Segmented/Combined"
    ]  # fmt: skip
    with pytest.raises(MissingFolder, match="CMU-MOSEI is not at"):
        Mosei().check(tmp_path / "nowhere")


# -- the published size ----------------------------------------------------------------------------------------


def write_labels(root: Path, intervals: Mapping[str, np.ndarray]) -> None:
    """Labels of our own for these segments: every value a third."""
    choose = np.random.default_rng(0)
    videos = {name: (choose.integers(0, 10, (len(times), 7)) / 3, times) for name, times in intervals.items()}
    write_csd(root / LABELS, "All Labels", videos, {"dimension names": list(COLUMNS)})


def full_size() -> dict[str, np.ndarray]:
    """Segments of one second, as many per fold as published, with the published numbers of odd ones."""
    unlabelled = {"7l3BNtSE0xc", "dZFV0lyedX4"}
    names = {"no fold": [f"own-{number:06d}_" for number in range(PUBLISHED["videos, no fold"])]}
    for name, fold in fold_of("cmu_mosei").items():
        if name not in unlabelled:
            names.setdefault(fold, []).append(name)
    intervals = {}
    for fold, videos in names.items():
        n_segments = PUBLISHED[f"segments, {fold}"]
        for position, name in enumerate(videos):
            n = len(range(position, n_segments, len(videos)))
            starts_s = np.arange(n) * 0.75
            intervals[name] = np.stack([starts_s, starts_s + 1.0], axis=1)
    several = [name for name, times in intervals.items() if len(times) > 1]
    for name in several[: PUBLISHED["videos out of order"]]:
        intervals[name] = intervals[name][::-1]
    for name in several[-PUBLISHED["segments that start before 0"] :]:
        intervals[name][0, 0] = -0.4
    for name in several[-PUBLISHED["segments over 30 s"] :]:
        intervals[name][-1, 1] += 60
    return intervals


def test_the_published_counts_are_those_of_the_public_lists(real: Path) -> None:
    lists = json.loads((real / "expected_counts.json").read_text())["mosei"]
    segments, folds = dict(lists["label_segments"]), lists["fold_videos"]
    assert PUBLISHED["segments"] == segments.pop("total")
    assert {"train", "valid", "test", "no fold"} == {fold.replace("_", " ") for fold in segments}
    assert all(PUBLISHED[f"segments, {fold.replace('_', ' ')}"] == n for fold, n in segments.items())
    assert PUBLISHED["videos"] == lists["label_videos"]
    n_without = lists["test_videos_without_labels"]
    assert PUBLISHED["videos of the folds without labels"] == n_without
    labelled = {"train": folds["train"], "valid": folds["valid"], "test": folds["test"] - n_without}
    assert all(PUBLISHED[f"videos, {fold}"] == n for fold, n in labelled.items())
    assert PUBLISHED["videos, no fold"] == lists["label_videos"] - sum(labelled.values())
    assert PUBLISHED["segments that start before 0"] == lists["negative_start_segments"]
    assert PUBLISHED["videos out of order"] == lists["videos_with_unsorted_segments"]


def without_media(findings: Findings) -> Counter[str]:
    names = Counter(anomaly.name for anomaly in findings.anomalies)
    assert names.pop("missing_part") == 2, "there is neither sound nor text"
    return names


@pytest.mark.slow
def test_the_published_counts_are_met_by_labels_of_the_published_size(tmp_path: Path) -> None:
    write_labels(tmp_path, full_size())
    findings = Mosei().check(tmp_path)
    assert not [count for count in findings.counts if count.difference]
    found = {count.what: count.found for count in findings.counts}
    assert [found[f"segments{part}"] for part in ("", ", train", ", valid", ", test", ", no fold")] == [
        23_259, 16_327, 1_871, 4_662, 399
    ]  # fmt: skip
    assert without_media(findings) == Counter([*EVERY_COPY_HAS - {"unlabelled"}, "misaligned_text"])


@pytest.mark.slow
def test_the_published_counts_are_those_of_the_public_segments(real: Path, tmp_path: Path) -> None:
    """The times of the public table of classes are good, though its labels are not."""
    rows: dict[str, list[tuple[float, float]]] = {}
    with (real / "mosei" / "CMU_MOSEI_Labels.s3prl.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            rows.setdefault(row["file"], []).append((float(row["start"]), float(row["end"])))
    write_labels(tmp_path, {name: np.array(times) for name, times in rows.items()})
    findings = Mosei().check(tmp_path)
    assert not [count for count in findings.counts if count.difference]
    assert without_media(findings) == Counter([*EVERY_COPY_HAS - {"unlabelled"}, "misaligned_text"])


def test_the_public_table_of_classes_is_told(real: Path) -> None:
    findings = Mosei().check(real / "mosei")
    assert not findings.is_clean
    assert findings.anomalies[0].name == "rounded_labels"
    assert findings.anomalies[0].where == "CMU_MOSEI_Labels.s3prl.csv"


def test_audio_of_the_miniature_is_where_the_check_looks(miniature: Path) -> None:
    assert len(list((miniature / AUDIO).iterdir())) == len(sandbox.plan())
